"""What is not traced, and what to write instead: for the error at the user's line and docs/coverage.md."""

from __future__ import annotations


def _names(text: str, prefix: str = "np.") -> list[str]:
    return [prefix + name for name in text.split()]


UNKNOWN_LENGTH = "np.where(mask, x, 0), or np.sum(x, where=mask): the length of the result must be known"
"""Instead of functions whose result has a shape that depends on the elements."""

_OUTSIDE = "return the array, and do that outside of the compiled function"
_LAYOUT = "x.shape and x.dtype: how an array lies in memory is not part of what is compiled"
_COMPLEX = "the real and the imaginary part in arrays of their own"
_FOURIER = (
    "products with np.cos(a) and np.sin(a), where a = 2 * np.pi * np.outer(k, t) / n, for the real and the "
    "imaginary part"
)

_POLYNOMIAL = "np.polynomial.polynomial."

REFUSED: dict[str, str] = {
    **dict.fromkeys(_names("nonzero flatnonzero argwhere"), "np.where(mask, a, b)"),
    "ndarray.nonzero": "np.where(mask, a, b)",
    **dict.fromkeys(
        _names("unique unique_all unique_counts unique_inverse unique_values"),
        "np.sort(x), in which equal elements stand together: the length of the result must be known",
    ),
    **dict.fromkeys(
        _names("union1d intersect1d setdiff1d setxor1d"),
        "np.isin(x, y), a mask: the length of the result must be known",
    ),
    "np.trim_zeros": UNKNOWN_LENGTH,
    "np.polymul": "np.convolve(p, q), which keeps leading zeros",
    "np.polydiv": "the steps of the division: how long the rest is depends on the coefficients",
    "np.roots": "Newton's steps, x = x - np.polyval(p, x) / np.polyval(np.polyder(p), x)",
    "np.poly1d": "np.polyval(coefficients, x)",
    "np.frompyfunc": "np.vectorize(f), or f on the whole array",
    "np.packbits": "bits.reshape(-1, 8) @ (1 << np.arange(7, -1, -1)), cast to np.uint8",
    "np.unpackbits": "(x[..., None] >> np.arange(7, -1, -1)) & 1",
    "np.sort_complex": _COMPLEX,
    **dict.fromkeys(_names("isfortran shares_memory may_share_memory nested_iters"), _LAYOUT),
    **dict.fromkeys(_names("flags strides base data ctypes setflags", "ndarray."), _LAYOUT),
    **dict.fromkeys(
        _names("view getfield setfield byteswap", "ndarray."),
        "x.astype(dtype), which converts the numbers: gradc does not look at their bits",
    ),
    "ndarray.resize": "np.resize(x, shape)",
    "ndarray.itemset": "x[i] = value",
    **dict.fromkeys(_names("tobytes tofile dump dumps to_device", "ndarray."), _OUTSIDE),
    **dict.fromkeys(
        _names("array2string array_repr array_str save savez savez_compressed savetxt"), _OUTSIDE
    ),
    **dict.fromkeys(
        _names("format_float_positional format_float_scientific base_repr binary_repr"), _OUTSIDE
    ),
    **dict.fromkeys(_names("asmatrix bmat matrix"), "arrays: a @ b is the product of matrices"),
    "np.asarray_chkfinite": "np.asarray(x); np.isfinite(x) tells which elements are finite",
    **dict.fromkeys(
        _names("datetime_as_string datetime_data busday_count busday_offset is_busday isnat"),
        "numbers, such as days since a date, computed outside",
    ),
    "np.from_dlpack": "np.asarray(x)",
    **dict.fromkeys(
        _names("nditer broadcast"),
        "the arrays themselves, which broadcast; np.ndindex(x.shape) gives indices",
    ),
    **dict.fromkeys(
        _names("eig eigvals", "np.linalg."),
        "np.linalg.eigh or np.linalg.eigvalsh of a symmetric matrix, whose eigenvalues are real",
    ),
    **dict.fromkeys(
        _names("lambertw wofz", "scipy.special."), "real functions: gradc compiles no complex numbers"
    ),
    **dict.fromkeys(
        _names("sqrtm logm signm funm fractional_matrix_power", "scipy.linalg."),
        "(v * f(w)) @ v.T with w, v = np.linalg.eigh(a), for a symmetric matrix",
    ),
    **dict.fromkeys(
        _names("eig eigvals schur qz hessenberg", "scipy.linalg."),
        "scipy.linalg.eigh or scipy.linalg.eigvalsh of a symmetric matrix, whose eigenvalues are real",
    ),
    "np.lib.stride_tricks.as_strided": (
        "np.lib.stride_tricks.sliding_window_view(x, sizes, axis=axes)[::step], or slices and x.reshape"
    ),
    **dict.fromkeys(_names("polyadd polysub", _POLYNOMIAL), "p + q, padded to one length"),
    **dict.fromkeys(_names("polymul polymulx polypow", _POLYNOMIAL), "np.convolve(p, q), which keeps zeros"),
    **dict.fromkeys(_names("polyfromroots polyline", _POLYNOMIAL), "np.poly(roots)[::-1]"),
    _POLYNOMIAL + "polydiv": "the steps of the division, as a loop",
    _POLYNOMIAL + "polyroots": "Newton's steps for one root at a time",
    _POLYNOMIAL + "polyfit": "np.polyfit(x, y, degree)[::-1]",
    "ndarray.__array__": (
        "functions of np on the array itself; x.astype(np.float32) casts; np.array([x, y]) works in the "
        "traced function and its helpers"
    ),
    "ndarray.__bool__": (
        "np.where(condition, a, b) chooses by element, gradc.cond(condition, f, g, *operands) runs one of "
        "two functions"
    ),
    "ndarray.__float__": "leave out float(...); x.astype(np.float32) casts",
    "ndarray.__int__": "x.astype(np.int64)",
    "ndarray.__complex__": "real arrays",
    "ndarray.__index__": (
        "take the length from a shape, as in range(len(x)), or pass the number as a Python int"
    ),
    "ndarray.__hash__": "a Python int or str as a key",
    "ndarray.__contains__": "np.any(x == value)",
    **dict.fromkeys(_names("fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2", "np.fft."), _FOURIER),
    **dict.fromkeys(_names("irfft2 rfftn irfftn hfft ihfft", "np.fft."), _FOURIER),
}
"""Functions, methods and classes that take arrays but no traced ones."""

_SIZES = "sizes that are Python ints, or come from a shape, as in np.zeros(len(x))"

STATIC: dict[str, str] = {
    **dict.fromkeys(_names("zeros ones empty eye identity tri indices"), _SIZES),
    **dict.fromkeys(_names("bartlett blackman hamming hanning kaiser"), _SIZES),
    **dict.fromkeys(_names("tril_indices triu_indices diag_indices mask_indices broadcast_shapes"), _SIZES),
    "np.arange": "np.arange of Python ints, such as a length, times a traced step",
}
"""Functions of sizes: they make arrays while the function is traced."""

LIBRARY = frozenset(
    [
        *_names("angle apply_over_axes iscomplex isreal logspace poly polyadd polyder polyint polysub"),
        *_names("real_if_close row_stack common_type iterable ix_"),
        *_names("diag_indices_from tril_indices_from triu_indices_from"),
        *_names("cross matmul matrix_norm trace vector_norm", "np.linalg."),
        *_names("fftshift ifftshift", "np.fft."),
        *_names("polyval polyval2d polyval3d polygrid2d polygrid3d polyvalfromroots", _POLYNOMIAL),
        *_names("polyder polyint polyvander polyvander2d polyvander3d", _POLYNOMIAL),
    ]
)
"""What is traced by its own code, NumPy's, because all that it calls is compiled."""

_DEFAULT = (
    "functions that docs/coverage.md lists as compiled, or compute it outside and pass it as an argument"
)


_MODULES = {
    "np.ma.": "np.where(mask, a, b), and where=mask of np.sum, np.mean, np.max and their like",
    "np.strings.": "numbers: gradc computes with no text",
    "np.lib.scimath.": "the functions of np of that name, whose results are real",
    "np.testing.": "the check outside, on what the compiled function returns",
}
"""Instead of anything in a module."""


def instead(name: str) -> str:
    """What to write instead of a function or method that is not traced, such as `np.linalg.svd`."""
    module = next((text for prefix, text in _MODULES.items() if name.startswith(prefix)), _DEFAULT)
    return REFUSED.get(name) or STATIC.get(name) or module
