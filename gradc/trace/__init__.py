"""Tracing: from a plain NumPy function to a graph."""

from gradc.trace.arguments import Effects
from gradc.trace.control import cond, stop_gradient
from gradc.trace.core import Input, Static, Traced, apply_graph, lift, rebuild, subtrace, trace
from gradc.trace.state import NeedStatic, is_tracing
from gradc.trace.tracer import Tracer

__all__ = [
    "Effects",
    "Input",
    "NeedStatic",
    "Static",
    "Traced",
    "Tracer",
    "apply_graph",
    "cond",
    "is_tracing",
    "lift",
    "rebuild",
    "stop_gradient",
    "subtrace",
    "trace",
]
