"""The op table, by family: importing this package fills `gradc.ir.op.OPS`."""

from gradc.ir.ops import (
    control,
    elementwise,
    factor,
    index,
    linalg,
    order,
    reduce,
    shape,
    special,
    spectral,
    windows,
)

__all__ = [
    "control",
    "elementwise",
    "factor",
    "index",
    "linalg",
    "order",
    "reduce",
    "shape",
    "special",
    "spectral",
    "windows",
]
