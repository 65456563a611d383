"""Compiling does not collect garbage, and leaves the collector as it was."""

from __future__ import annotations

import gc

import pytest

import gradc
from gradc.api import backend
from gradc.passes import pipeline


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def run(*args, **kwargs):
        seen.append(gc.isenabled())
        raise ValueError("stop")

    monkeypatch.setattr(pipeline, "run", run)
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        graph = gradc.ir.parse("graph f(x: f64[3]) -> (f64[3]) {\n  y: f64[3] = sin(x)\n  return y\n}")
        with pytest.raises(ValueError, match="stop"):
            backend.run_stages(graph, backend.Options(), "planned")
        assert seen == [False] and gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
