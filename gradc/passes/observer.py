"""What is known of the pipeline without its passes: the names of its stages, and who may watch it."""

from __future__ import annotations

from typing import Protocol

from gradc.ir.graph import Graph, Node

STAGE_NAMES = ("grad", "optimized", "fused", "planned")
"""The stages after the gradient is there, in order; what leads to them: `gradc.passes.pipeline.STAGES`."""


class Observer(Protocol):
    """Is told of every pass (its name, the graph it gave, the seconds it took) and every rule that fires."""

    def stage(self, name: str, graph: Graph, seconds: float) -> None: ...
    def rule(self, name: str, node: Node) -> None: ...
