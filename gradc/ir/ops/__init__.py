"""The op table, by family: importing this package fills `gradc.ir.op.OPS`."""

from gradc.ir.ops import control, elementwise, index, linalg, order, reduce, shape, windows

__all__ = ["control", "elementwise", "index", "linalg", "order", "reduce", "shape", "windows"]
