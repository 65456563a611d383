"""What gradients cost: value and gradient, and Hessian times vector, beside the value alone, all gradc's."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.groups.workloads import Workload, chosen
from benchmarks.rows import Row, Table

PROGRAMS = [
    Workload("logistic regression 569×30, f64", "logistic", {"rows": 569, "columns": 30}),
    Workload("MLP 784-256-128-10 relu, batch 128", "mlp", {"sizes": (784, 256, 128, 10), "batch": 128}),
    Workload("Rosenbrock, 1M f64", "rosenbrock", {"size": 1_000_000}),
    Workload("elementwise chain, five of 100,000", "chain", {"size": 100_000}),
    Workload(
        "layer norm, attention, GELU MLP, 8×64×128",
        "transformer",
        {"batch": 8, "length": 64, "width": 128, "heads": 4},
    ),
    Workload("recurrence 32 wide, 20 steps, f64", "recurrence", {"width": 32, "steps": 20}),
    Workload("sort and cumsum of 10,000, f64", "ordered", {"size": 10_000}),
]
CAPTION = (
    "gradc's value, its gradient, and a Hessian times a vector. By the count of operations a gradient "
    "costs two to three values, and a Hessian-vector product, the tangent of a gradient, two to three "
    "gradients."
)


def measure(bench: Bench) -> list[Table]:
    """Times of the three."""
    forms = ("value", "value and gradient", "Hessian × vector")
    table = Table("transforms", "What gradients cost", CAPTION, "us", forms)
    for workload in chosen(bench, PROGRAMS):
        row = Row(workload.name)
        bench.compare(
            row, ["gradc"], kind="transforms", family=workload.family, parameters=workload.parameters
        )
        times = row.numbers.pop("gradc", {})
        row.numbers = {form: {form: seconds} for form, seconds in times.items()}
        table.rows.append(row)
    return [table]
