"""What a call costs: three numbers, handed over in several ways, and a network whose work is next to none."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.groups.workloads import SIDES
from benchmarks.peers import UnavailableError
from benchmarks.rows import OURS, Goal, Row, Table
from benchmarks.team import SideError, rounds

WAYS = {"positional": (12, 60), "keywords": (5, 20), "dict": (5, 20), "dataclass": (5, 20)}
OVERHEAD = "MLP of six layers 4 wide, batch 2"
TINY = {"sizes": (4, 4, 4, 4, 4, 4, 2), "batch": 2, "activation": "tanh"}
"""Twelve arrays of parameters."""


def measure(bench: Bench) -> list[Table]:
    """Sigmoid neurons, and the share of a small step that is no kernel's."""
    table = Table(
        "calls",
        "A call: value and gradient of a sigmoid neuron",
        "gradc is called with Python's floats, PyTorch with tensors, JAX with either, waited for. NumPy "
        "computes the value alone.",
        "us",
        SIDES,
    )
    for way, (must, aim) in WAYS.items():
        name = f"three parameters, {way}"
        if not bench.wanted(name):
            continue
        row = Row(name, must=Goal(times=must), aim=Goal(times=aim), aside=("NumPy",))
        bench.compare(row, SIDES, kind="call", way=way)
        row.floor = bench.ceilings.empty_call
        table.rows.append(row)
    return [table, overhead(bench)] if bench.wanted(OVERHEAD) else [table]


def overhead(bench: Bench) -> Table:
    """A call of an MLP from Python, less the native function called from a loop in C."""
    table = Table(
        "overhead",
        "Time outside of kernels: an MLP with 12 parameter arrays",
        "A call from Python, and the function at `f.lower(...).address` called from a loop in C with "
        "the same arrays, on one thread; the difference is what gradc adds. For the others the whole "
        "call.",
        "us",
        ("gradc", "gradc, whole call", "gradc, native function", *SIDES[1:]),
    )
    row = Row(
        OVERHEAD,
        must=Goal(most=3e-6, text="≤ 3 µs"),
        aim=Goal(most=1e-6, text="≤ 1 µs"),
        aside=("gradc, whole call", "gradc, native function", "NumPy"),
    )
    bench.compare(row, SIDES[1:], family="mlp", parameters=TINY)
    try:
        process = bench.process(OURS)
        forms = process.ask("prepare", kind="overhead", family="mlp", parameters=TINY)["forms"]
        measured = rounds([(OURS, process, form) for form in forms], bench.rounds, bench.turn)[OURS]
    except (UnavailableError, SideError) as error:
        row.missing[OURS] = str(error)
    else:
        row.numbers["gradc"] = {"outside": measured["call"] - measured["native"]}
        row.numbers["gradc, whole call"] = {"call": measured["call"]}
        row.numbers["gradc, native function"] = {"native": measured["native"]}
    table.rows.append(row)
    return table
