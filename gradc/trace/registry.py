"""The tables of functions, filled by `gradc.trace.functions`."""

from __future__ import annotations

from typing import Any

FUNCTIONS: dict[Any, Any] = {}
"""NumPy's or SciPy's function (the object itself) to ours."""

SCIPY: dict[str, Any] = {}
"""For functions of `scipy.special`, by name, what makes ours of theirs: SciPy is never imported here."""

_UNKNOWN_LENGTH = "np.where(mask, x, 0), or np.sum(x, where=mask): the length of the result must be known"

INSTEAD: dict[str, str] = {
    **dict.fromkeys(("np.nonzero", "np.flatnonzero", "np.argwhere"), "np.where(mask, a, b)"),
    **dict.fromkeys(("np.compress", "np.extract", "np.unique"), _UNKNOWN_LENGTH),
    **dict.fromkeys(("np.piecewise", "np.choose"), "np.where or np.select"),
    **dict.fromkeys(("np.insert", "np.delete", "np.block"), "np.concatenate of slices"),
    "np.apply_along_axis": "the same on the whole array, with axis=",
    **dict.fromkeys(
        ("np.zeros", "np.ones", "np.empty", "np.eye", "np.identity", "np.tri", "np.indices"),
        "sizes that are Python ints, or come from a shape, as in np.zeros(len(x))",
    ),
    "np.view": "x.astype(dtype), which converts the numbers: gradc does not look at their bits",
    "np.fromiter": "np.array of a list",
    "np.arange": "np.arange of Python ints, such as a length, times a traced step",
}
"""What to write instead of a function that is not supported, such as `np.linalg.svd`."""
