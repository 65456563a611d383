"""Loss and gradient of programs that people train, in steady state; other sizes of them; their workspace."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.bench import Bench
from benchmarks.peers import UnavailableError
from benchmarks.rows import OURS, Goal, Row, Table
from benchmarks.team import SideError

SIDES = ("gradc", "JAX 0.10.2", "JAX 0.4.31", "PyTorch 2.13", "torch.compile", "NumPy")


class Workload(NamedTuple):
    """A program of a family, and what is asked of it."""

    name: str
    family: str
    parameters: dict[str, Any]
    must: Goal | None = None
    aim: Goal | None = None


def asked(must: float, aim: float) -> tuple[Goal, Goal]:
    return Goal(times=must), Goal(times=aim)


BIG = {"sizes": (784, 1024, 1024, 10), "batch": 512}
WORKLOADS = [
    Workload("logistic regression 569×30, f64", "logistic", {"rows": 569, "columns": 30}, *asked(3.5, 5)),
    Workload(
        "MLP 64-32-10 tanh, batch 32",
        "mlp",
        {"sizes": (64, 32, 10), "batch": 32, "activation": "tanh"},
        *asked(2.5, 4),
    ),
    Workload(
        "residual tanh net, 8 × 64, batch 64",
        "residual",
        {"blocks": 8, "width": 64, "batch": 64},
        *asked(1.7, 3),
    ),
    Workload(
        "MLP 784-256-128-10 relu, batch 128",
        "mlp",
        {"sizes": (784, 256, 128, 10), "batch": 128},
        *asked(1.1, 1.2),
    ),
    Workload("MLP 784-1024-1024-10 relu, batch 512", "mlp", BIG, *asked(1, 1.05)),
    Workload("Rosenbrock, 1M f64", "rosenbrock", {"size": 1_000_000}, *asked(1, 1.2)),
    Workload(
        "softmax cross-entropy 4096×1000",
        "cross_entropy",
        {"rows": 4096, "classes": 1000},
        Goal(times=1.5),
        Goal(floor=1.3),
    ),
    Workload("elementwise chain, five of 1M", "chain", {"size": 1_000_000}, *asked(1.5, 3)),
    Workload(
        "layer norm, attention, GELU MLP, 8×64×128",
        "transformer",
        {"batch": 8, "length": 64, "width": 128, "heads": 4},
        *asked(1.3, 2),
    ),
]
VARIANTS = [
    Workload("logistic regression 5000×200, f64", "logistic", {"rows": 5000, "columns": 200}),
    Workload("logistic regression 569×30, f32", "logistic", {"rows": 569, "columns": 30, "dtype": "float32"}),
    Workload("MLP 20-16-16-2 tanh, batch 8, f64", "mlp",
             {"sizes": (20, 16, 16, 2), "batch": 8, "activation": "tanh", "dtype": "float64"}),
    Workload("MLP 784-300-100-10 relu, batch 50", "mlp", {"sizes": (784, 300, 100, 10), "batch": 50}),
    Workload("MLP 300-500-500-500-7 tanh, batch 200", "mlp",
             {"sizes": (300, 500, 500, 500, 7), "batch": 200, "activation": "tanh"}),
    Workload("MLP 784-512-10 relu, batch 256, f64", "mlp",
             {"sizes": (784, 512, 10), "batch": 256, "dtype": "float64"}),
    Workload("residual tanh net, 4 × 100, batch 17", "residual", {"blocks": 4, "width": 100, "batch": 17}),
    Workload("residual tanh net, 20 × 32, batch 256, f64", "residual",
             {"blocks": 20, "width": 32, "batch": 256, "dtype": "float64"}),
    Workload("Rosenbrock, 1000 f64", "rosenbrock", {"size": 1000}),
    Workload("Rosenbrock, 3M f32", "rosenbrock", {"size": 3_000_000, "dtype": "float32"}),
    Workload("softmax cross-entropy 128×10", "cross_entropy", {"rows": 128, "classes": 10}),
    Workload("softmax cross-entropy 500×3000, f64", "cross_entropy",
             {"rows": 500, "classes": 3000, "dtype": "float64"}),
    Workload("elementwise chain, five of 10,000, f64", "chain", {"size": 10_000, "dtype": "float64"}),
    Workload("transformer block 2×50×96, 6 heads", "transformer",
             {"batch": 2, "length": 50, "width": 96, "heads": 6}),
]  # fmt: skip
TRAINING = "digits training step, Adam"
DIGITS = {"sizes": (64, 64, 32, 10), "batch": 32, "rows": 1440, "epochs": 4}


def measure(bench: Bench) -> list[Table]:
    """The workloads, with a training step."""
    table = Table(
        "workloads",
        "Loss and gradient, steady state",
        "Medians of rounds in turns, compiling excluded; every side uses all processors, gradc one as "
        "well. Of a peer the best counts: arguments on the device or NumPy arrays, the NumPy text or "
        "the library's own functions. NumPy computes the loss alone (the training step is written out "
        "by hand), and is no peer.",
        "us",
        SIDES,
    )
    table.rows = [steady(bench, workload, SIDES) for workload in chosen(bench, WORKLOADS)]
    if bench.wanted(TRAINING):
        table.rows.append(training_step(bench))
    return [table]


def variants(bench: Bench) -> list[Table]:
    """Other sizes and dtypes, beside JAX."""
    sides = ("gradc", "JAX 0.10.2", "JAX 0.4.31")
    table = Table(
        "variants", "The same kinds of programs in other sizes", "Measured as the workloads are.", "us", sides
    )
    table.rows = [steady(bench, workload, sides) for workload in chosen(bench, VARIANTS)]
    return [table]


def chosen(bench: Bench, workloads: list[Workload]) -> list[Workload]:
    """Those that are wanted."""
    return [workload for workload in workloads if bench.wanted(workload.name)]


def steady(bench: Bench, workload: Workload, sides: tuple[str, ...]) -> Row:
    """The row of a program."""
    row = Row(workload.name, must=workload.must, aim=workload.aim, aside=("NumPy",))
    bench.compare(row, sides, family=workload.family, parameters=workload.parameters)
    return with_floor(bench, row, workload)


def with_floor(bench: Bench, row: Row, workload: Workload) -> Row:
    """The row with the least time that the program can take."""
    try:
        work = bench.process(OURS).ask("work", family=workload.family, parameters=workload.parameters)
    except (UnavailableError, SideError) as error:
        row.missing.setdefault(OURS, str(error))
        return row
    row.details["work"] = work
    row.floor = bench.ceilings.floor(work)
    return row


def training_step(bench: Bench) -> Row:
    """One step of Adam inside of a run; its floor is that of the loss's gradient, without Adam."""
    row = Row(TRAINING, must=Goal(times=2), aim=Goal(floor=1.3))
    bench.compare(row, SIDES, tolerance=2e-2, kind="training", **DIGITS)
    program = {"sizes": DIGITS["sizes"], "batch": DIGITS["batch"]}
    return with_floor(bench, row, Workload(row.name, "mlp", program))


def memory(bench: Bench) -> list[Table]:
    """Planned bytes beside JAX's temporaries."""
    sides = ("gradc", "JAX 0.10.2", "JAX 0.4.31")
    table = Table(
        "memory",
        "Workspace",
        "Bytes besides arguments and results: `f.lower(...).memory`, and the temporaries that JAX's "
        "`compiled.memory_analysis()` tells.",
        "KB",
        sides,
    )
    for workload in chosen(bench, WORKLOADS):
        row = Row(workload.name, must=Goal(times=1, text="≤ JAX"), aim=Goal(times=1.001, text="less"))
        for side in sides:
            try:
                row.numbers[side] = bench.process(side).ask(
                    "memory", family=workload.family, parameters=workload.parameters
                )
            except (UnavailableError, SideError) as error:
                row.missing[side] = str(error)
        table.rows.append(row)
    return [table]
