"""gradc beside its peers: `make bench`, or `python -m benchmarks [group ...]`.

Each peer runs in a process, and where needed in a virtual environment, of its own; they take turns. Tables
are printed, and written to benchmarks/results.json, docs/benchmarks.md and README. A peer that is not there
is a row that says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench, machine, now
from benchmarks.groups import calls, deep, first, imports, transforms, workloads
from benchmarks.peers import FOLDER, PEERS
from benchmarks.rows import Table

GROUPS: dict[str, Callable[[Bench], list[Table]]] = {
    "workloads": workloads.measure,
    "memory": workloads.memory,
    "variants": workloads.variants,
    "calls": calls.measure,
    "first": first.measure,
    "deep": deep.measure,
    "imports": imports.measure,
    "stages": first.stages,
    "transforms": transforms.measure,
}
"""What can be measured, each a list of tables."""


def main() -> int:
    """Run what is asked for; the exit status says whether gradc itself could be measured everywhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help=f"some of {', '.join(GROUPS)}; all unless told")
    parser.add_argument("--quick", action="store_true", help="few short rounds, nothing that takes minutes")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains this")
    parser.add_argument("--sides", nargs="+", metavar="SIDE", help=f"some of {', '.join(PEERS)}")
    parser.add_argument("--peers", type=Path, default=FOLDER, metavar="FOLDER", help="peers' environments")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--report", action="store_true", help="measure nothing, write what is known anew")
    options = parser.parse_args()
    groups = options.groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}")
    if unknown := set(options.sides or ()) - set(PEERS):
        parser.error(f"no side is called {', '.join(sorted(unknown))}")
    results = report.Results.read()
    if options.report:
        report.write(results)
        return 0
    results.machine = machine()
    complete = True
    with Bench(options.peers.resolve(), options.sides or tuple(PEERS)) as bench:
        bench.only = options.only
        if options.quick:
            bench.quick, bench.rounds, bench.turn = True, 3, 0.01
        for group in groups:
            start = time.perf_counter()
            for table in GROUPS[group](bench):
                table.when = now()
                shares = [row.details.get("disturbed", 0.0) for row in table.rows]
                table.disturbed = max(shares, default=0.0)
                if table.rows:
                    print(f"\n{report.text(table)}", flush=True)
                    results.add(table, whole=not options.only)
                complete &= all("gradc" not in row.missing for row in table.rows)
            print(f"({group}: {time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
        results.versions |= bench.versions
        results.ceilings = bench.ceilings.measured
    print(f"\nThe machine's ceilings:\n{report.ceilings_text(results.ceilings)}")
    if not options.no_write:
        for path in report.write(results):
            print(f"wrote {path}", file=sys.stderr)
    return int(not complete)


if __name__ == "__main__":
    sys.exit(main())
