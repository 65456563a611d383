"""An unrolled network that grows: first call, tracing alone, and the memory that compiling takes."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.groups.first import fill
from benchmarks.groups.workloads import Workload
from benchmarks.peers import UnavailableError
from benchmarks.rows import Goal, Row, Table
from benchmarks.team import SideError

SIDES = ("gradc", "JAX 0.10.2", "JAX 0.4.31", "torch.compile")
COMPILED = "torch.compile"
MOST_FOR_TORCH = 100
"""Layers that torch.compile is asked for: for 1000 it takes minutes."""


def measure(bench: Bench) -> list[Table]:
    """Tanh nets of 10, 100 and 1000 layers, 32 wide, batches of 16."""
    bench.rest()
    first = Table(
        "deep",
        "First call of an unrolled tanh net, width 32, batch 16",
        "As the first calls: in a new process, cold.",
        "ms",
        SIDES,
    )
    growth = Table(
        "compile memory",
        "Memory that compiling takes",
        "How much larger the process is at its peak in that first call than before it.",
        "MB",
        SIDES,
    )
    tracing = Table(
        "tracing",
        "Tracing alone of that net",
        "Until gradc's `traced` graph, or JAX's jaxpr, of the value is there; then also with the "
        "gradient in it.",
        "ms",
        ("gradc", "JAX 0.10.2", "JAX 0.4.31"),
    )
    for layers in (10, 100) if bench.quick else (10, 100, 1000):
        if not bench.wanted(f"{layers} layers"):
            continue
        workload = Workload(f"{layers} layers", "tanh_net", {"layers": layers, "width": 32, "batch": 16})
        row = Row(workload.name)
        if layers == 1000:
            row.must = Goal(times=8)
        sides = [side for side in SIDES if side != COMPILED or (layers <= MOST_FOR_TORCH and not bench.quick)]
        fill(bench, row, tuple(sides), workload, times=3 if layers == 10 else 1)
        if COMPILED not in sides:
            row.missing[COMPILED] = "left out: it takes minutes"
        first.rows.append(row)
        memory = Row(workload.name, missing=dict(row.missing))
        memory.numbers = {side: {"peak": max(n, 1.0)} for side, n in row.details.get("bytes", {}).items()}
        if layers == 1000:
            memory.must = Goal(times=4)
        growth.rows.append(memory)
        tracing.rows += traced(bench, workload, tracing.sides)
    return [first, tracing, growth]


def traced(bench: Bench, workload: Workload, sides: tuple[str, ...]) -> list[Row]:
    """Rows for the value, and for the value and gradient."""
    rows = [Row(f"{workload.name}, {what}") for what in ("value", "value and gradient")]
    if workload.parameters["layers"] == 1000:
        rows[0].must = Goal(times=4)
    for side in sides:
        try:
            with bench.fresh(side) as process:
                seconds = process.ask("trace", family=workload.family, parameters=workload.parameters)
        except (UnavailableError, SideError) as error:
            for row in rows:
                row.missing[side] = str(error)
            continue
        for row, (what, each) in zip(rows, seconds.items(), strict=True):
            row.numbers[side] = {what: each}
    return rows
