"""The public API: compiled functions and functions of functions."""
