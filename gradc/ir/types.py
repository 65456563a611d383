"""The types of values: a dtype and a static shape, written `f32[3, 4]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from gradc.ir.errors import ParseError

NAMES = {
    "bool": np.dtype(np.bool_),
    **{f"i{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"f{bits}": np.dtype(f"float{bits}") for bits in (32, 64)},
}
"""Every dtype of the IR by its short name."""

ALIGNMENT = 64
"""Where workspace, and every value in it, begins: a cache line, and the widest vector, in bytes."""


def round_up(size: int, multiple: int = ALIGNMENT) -> int:
    """The smallest multiple that is not below `size`."""
    return -(-size // multiple) * multiple


SHORT = {dtype: name for name, dtype in NAMES.items()}

BOOL, I64, F32, F64 = NAMES["bool"], NAMES["i64"], NAMES["f32"], NAMES["f64"]


@dataclass(frozen=True, eq=False)
class Type:
    """A dtype (native byte order) and a shape. Dimensions are ints here and nowhere else assumed to be."""

    dtype: np.dtype
    shape: tuple[int, ...] = ()

    def __eq__(self, other: object) -> bool:
        if self is other:  # as most are: nodes share what they are given
            return True
        return type(other) is Type and self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.dtype, self.shape))

    def __str__(self) -> str:
        return f"{SHORT[self.dtype]}[{', '.join(map(str, self.shape))}]"

    __repr__ = __str__

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_bool(self) -> bool:
        return self.dtype.kind == "b"

    def with_shape(self, shape: tuple[int, ...]) -> Type:
        return Type(self.dtype, tuple(shape))

    def with_dtype(self, dtype: np.dtype) -> Type:
        return Type(np.dtype(dtype), self.shape)

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Row-major strides in elements."""
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.append(step)
            step *= size
        return tuple(reversed(strides))


@lru_cache(maxsize=4096)
def parse_type(text: str) -> Type:
    """`"f32[3, 4]"` as a `Type`."""
    match = re.fullmatch(r"\s*(\w+)\s*\[([\d\s,]*)\]\s*", text)
    if match is None or match[1] not in NAMES:
        raise ParseError(
            f"{text!r} is not a type", hint='a dtype and a shape, as in "f32[64, 10]" or "i64[]"'
        )
    return Type(NAMES[match[1]], tuple(int(n) for n in match[2].split(",") if n.strip()))


def type_of(array: object) -> Type:
    """The type of a NumPy array or scalar."""
    array = np.asarray(array)
    return Type(array.dtype.newbyteorder("="), array.shape)
