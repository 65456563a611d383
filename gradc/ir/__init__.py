"""The intermediate representation: types, graph, op table, text, verifier, evaluator."""

from gradc.ir import ops
from gradc.ir.errors import (
    ArgumentError,
    DomainError,
    GradcError,
    IndexOutOfBoundsError,
    LinearAlgebraError,
    OperandError,
    ParseError,
    ShapeError,
    Source,
    TraceError,
    VerifyError,
)
from gradc.ir.evaluate import evaluate
from gradc.ir.graph import Builder, Graph, Node, Place, Value, constant, emit, emit_node, inline, zeros
from gradc.ir.op import OPS, Op
from gradc.ir.parse import parse
from gradc.ir.types import Type, parse_type, type_of
from gradc.ir.verify import verify

__all__ = [
    "OPS",
    "ArgumentError",
    "Builder",
    "DomainError",
    "GradcError",
    "Graph",
    "IndexOutOfBoundsError",
    "LinearAlgebraError",
    "Node",
    "Op",
    "OperandError",
    "ParseError",
    "Place",
    "ShapeError",
    "Source",
    "TraceError",
    "Type",
    "Value",
    "VerifyError",
    "constant",
    "emit",
    "emit_node",
    "evaluate",
    "inline",
    "ops",
    "parse",
    "parse_type",
    "type_of",
    "verify",
    "zeros",
]
