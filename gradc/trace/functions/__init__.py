"""NumPy's and SciPy's functions as compositions of ops: importing this package fills the table."""

from gradc.trace.functions import (
    einsum,
    indexing,
    joining,
    ordering,
    products,
    reductions,
    running,
    selection,
    shapes,
    signals,
    special,
    statistics,
    ufuncs,
    writers,
    writing,
)

__all__ = [
    "einsum",
    "indexing",
    "joining",
    "ordering",
    "products",
    "reductions",
    "running",
    "selection",
    "shapes",
    "signals",
    "special",
    "statistics",
    "ufuncs",
    "writers",
    "writing",
]
