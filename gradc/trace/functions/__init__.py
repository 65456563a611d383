"""NumPy's and SciPy's functions as compositions of ops: importing this package fills the table."""

from gradc.trace.functions import ufuncs

__all__ = ["ufuncs"]
