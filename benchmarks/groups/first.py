"""First calls, each in a new process: tracing, compiling and one run; disk caches empty, and filled."""

from __future__ import annotations

import re
import shutil
import statistics
from typing import Any

from benchmarks.bench import Bench
from benchmarks.groups.workloads import WORKLOADS, Workload, chosen
from benchmarks.peers import UnavailableError
from benchmarks.rows import OURS, Goal, Row, Table
from benchmarks.team import SideError

TIMES = 3
"""A first call can be measured once in a process."""
LINE = re.compile(r"^(?P<stage>\S[^\n]*?)\s+(?P<ms>[\d.]+) ms\b", re.MULTILINE)
"""What GRADC_DEBUG=1 tells of a stage of compiling."""


def first_calls(
    bench: Bench, side: str, times: int, request: dict[str, Any], warm: bool = False
) -> list[Any]:
    """Seconds and bytes of first calls in so many processes.

    `warm`: all share a cache on disk, and one process has filled it before.
    """
    results = []
    for i in range(times + warm):
        cache = bench.scratch / "first"
        if not warm or i == 0:
            shutil.rmtree(cache, ignore_errors=True)
        with bench.fresh(side, {"GRADC_CACHE_DIR": str(cache)}) as process:
            results.append(process.ask("first", **request))
    return results[warm:]


def fill(bench: Bench, row: Row, sides: tuple[str, ...], workload: Workload, times: int) -> None:
    """The medians of the sides' first calls."""
    request = {"family": workload.family, "parameters": workload.parameters}
    for side in sides:
        try:
            results = first_calls(bench, side, times, request)
        except (UnavailableError, SideError) as error:
            row.missing[side] = str(error)
            continue
        row.numbers[side] = {"cold": statistics.median(r["seconds"] for r in results)}
        row.details.setdefault("bytes", {})[side] = statistics.median(r["bytes"] for r in results)


def measure(bench: Bench) -> list[Table]:
    """Cold, and with the cache of the process before."""
    bench.rest()
    times = 1 if bench.quick else TIMES
    sides = ("gradc", "JAX 0.10.2", "JAX 0.4.31")
    cold = Table(
        "first",
        "First call, cold",
        "Tracing, compiling and one run in a new process, caches on disk empty; the library has been "
        "imported and has compiled `x + 1` before. All sides compile the same text; medians of "
        "processes.",
        "ms",
        sides,
    )
    warm = Table(
        "warm",
        "First call in a second process",
        "The same when a process before has left its cache on disk.",
        "ms",
        ("gradc", "cold"),
    )
    for workload in chosen(bench, WORKLOADS):
        aim = Goal(times=2)
        if workload.family == "mlp":
            aim = Goal(most=0.1, text="≤ 100 ms")
        row = Row(workload.name, must=Goal(times=1 / 0.75, text="≤ 0.75 of JAX"), aim=aim)
        fill(bench, row, sides, workload, times)
        cold.rows.append(row)
        again = Row(
            workload.name,
            must=Goal(times=4, text="≤ 1/4 of cold"),
            aim=Goal(most=0.01, text="≤ 10 ms"),
        )
        request = {"family": workload.family, "parameters": workload.parameters}
        if row.ours is not None:
            results = first_calls(bench, OURS, times, request, warm=True)
            again.numbers[OURS] = {"warm": statistics.median(r["seconds"] for r in results)}
            again.numbers["cold"] = {"cold": row.ours}
        warm.rows.append(again)
    return [cold, warm]


def stages(bench: Bench) -> list[Table]:
    """Where the time of compiling goes, as GRADC_DEBUG=1 tells it."""
    bench.rest()
    table = Table(
        "stages",
        "Where gradc's compile time goes",
        "Stages as `GRADC_DEBUG=1` prints them, summed by name, in one cold first call; `rest` is what "
        "no stage accounts for, the first run included.",
        "ms",
        (),
    )
    names: list[str] = []
    for workload in chosen(bench, WORKLOADS):
        row = Row(workload.name)
        try:
            shutil.rmtree(bench.scratch / "first", ignore_errors=True)
            environment = {"GRADC_DEBUG": "1", "GRADC_CACHE_DIR": str(bench.scratch / "first")}
            with bench.fresh(OURS, environment) as process:
                before = len(process.log)
                request = {"family": workload.family, "parameters": workload.parameters}
                seconds = process.ask("first", **request)["seconds"]
                spent = summed(process.log[before:])
        except (UnavailableError, SideError) as error:
            row.missing[OURS] = str(error)
        else:
            spent = {**spent, "rest": seconds - sum(spent.values()), "all": seconds}
            names += [name for name in spent if name not in names]
            row.numbers = {name: {"": t} for name, t in spent.items()}
        table.rows.append(row)
    last = [name for name in ("rest", "all") if name in names]
    table.sides = (*[name for name in names if name not in last], *last)
    return [table]


def summed(log: str) -> dict[str, float]:
    """Seconds by stage."""
    spent: dict[str, float] = {}
    for found in LINE.finditer(log):
        name = found["stage"].strip()
        spent[name] = spent.get(name, 0.0) + float(found["ms"]) / 1e3
    return spent
