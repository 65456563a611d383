"""gradc compiles plain NumPy functions, and their gradients, to native code that can be read at every stage.

import numpy as np, gradc

@gradc.compile
def loss(params, X, y):
    return np.mean((X @ params["w"] + params["b"] - y) ** 2)

value, gradient = loss.value_and_grad(params, X, y)
print(loss.dump(params, X, y, stage="grad"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradc import ir
from gradc.api import backend as _backend
from gradc.api.batching import vmap
from gradc.api.check import GradientError, check_grad
from gradc.api.compiled import Compiled, compile
from gradc.api.jacobian import hessian, jacobian
from gradc.api.transforms import grad, hvp, jvp, value_and_grad, vjp
from gradc.inspect import debug as _debug
from gradc.ir.errors import (
    ArgumentError,
    DomainError,
    GradcError,
    IndexOutOfBoundsError,
    LinearAlgebraError,
    OperandError,
    ParseError,
    ShapeError,
    TraceError,
    VerifyError,
)
from gradc.trace.control import cond, stop_gradient
from gradc.trace.steering import checkpoint, custom_gradient

if TYPE_CHECKING:
    from gradc.train import optim
    from gradc.train.fit import FitResult, fit

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Compiled",
    "DomainError",
    "FitResult",
    "GradcError",
    "GradientError",
    "IndexOutOfBoundsError",
    "LinearAlgebraError",
    "OperandError",
    "ParseError",
    "ShapeError",
    "TraceError",
    "VerifyError",
    "check_grad",
    "checkpoint",
    "compile",
    "cond",
    "custom_gradient",
    "fit",
    "grad",
    "hessian",
    "hvp",
    "ir",
    "jacobian",
    "jvp",
    "optim",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]

_backend.observe = _debug.observer

_LAZY = {
    "FitResult": ("gradc.train.fit", "FitResult"),
    "fit": ("gradc.train.fit", "fit"),
    "optim": ("gradc.train.optim", None),
}
"""What is imported when it is first used: a module, or something in it."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gradc' has no attribute {name!r}")
    path, attribute = _LAZY[name]
    module = importlib.import_module(path)
    value = globals()[name] = module if attribute is None else getattr(module, attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
