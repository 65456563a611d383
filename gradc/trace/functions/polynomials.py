"""Polynomials by their coefficients, the highest power first: values, and fits to points."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.lift import any_traced, operand, traced
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Tracer:
    """Horner's rule."""
    coefficients, v = operand(p), operand(x)
    result = FUNCTIONS[np.zeros_like](v)
    for i in range(len(coefficients)):
        result = result * v + coefficients[i]
    return result


@implements(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The polynomial of a degree with the least squares of the distances, by `np.linalg.lstsq`.

    The columns of powers are scaled to length 1, as NumPy does. With `cov`, the covariances too.
    """
    if any_traced(deg):
        fail("the degree of np.polyfit must be known when the function is traced", "a Python int")
    at, values = [traced(v) + 0.0 for v in (x, y)]
    degrees = np.atleast_1d(deg)
    if degrees.size > 1 or degrees.dtype.kind not in "iu" or degrees[0] < 0:
        fail("np.polyfit takes one degree, an int that is not negative", None, ShapeError)
    if at.ndim != 1 or not at.size or values.ndim not in (1, 2) or len(values) != len(at):
        fail(f"np.polyfit of {at.shape} points and {values.shape} values", None, ShapeError)
    order = int(degrees[0]) + 1
    rcond = len(at) * np.finfo(at.dtype).eps if rcond is None else rcond
    left, right = FUNCTIONS[np.vander](at, order), values
    if w is not None:
        weights = traced(w) + 0.0
        if weights.shape != at.shape:
            fail(f"np.polyfit of {at.shape} points and {weights.shape} weights", None, ShapeError)
        left = left * weights[:, None]
        right = right * (weights[:, None] if right.ndim == 2 else weights)
    scale = FUNCTIONS[np.sqrt](FUNCTIONS[np.sum](left * left, 0))
    left = left / scale
    found, residuals, rank, singular = FUNCTIONS[np.linalg.lstsq](left, right, rcond)
    found = (found.T / scale).T
    if full:
        return found, residuals, rank, singular, rcond
    if not cov:
        return found
    base = FUNCTIONS[np.linalg.inv](left.T @ left) / FUNCTIONS[np.outer](scale, scale)
    factor: Any = 1
    if cov != "unscaled":
        if len(at) <= order:
            fail(
                "the number of data points must exceed order to scale the covariance matrix", None, ShapeError
            )
        factor = residuals / (len(at) - order)
    return found, base * factor if values.ndim == 1 else base[:, :, None] * factor
