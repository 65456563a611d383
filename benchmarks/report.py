"""Results as text, as a page of Markdown, as JSON, and as the block of figures in README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, Table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results.json"
PAGE = ROOT / "docs/benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
UNITS = {"us": (1e-6, "µs"), "ms": (1e-3, "ms"), "s": (1.0, "s"), "KB": (1024.0, "KB"), "MB": (2.0**20, "MB")}
DISTURBED = 0.03
"""The share of the machine that others may use without being mentioned."""
IN_README = ("workloads", "calls", "first", "deep", "imports")
ONE = "one thread"


@dataclass
class Results:
    """Everything that is known of one machine."""

    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    ceilings: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def add(self, table: Table, whole: bool = True) -> None:
        """A table in place of the one before; if it is not whole, its rows in place of theirs."""
        if not whole and table.name in self.tables:
            rows = {row.name: row for row in (*self.tables[table.name].rows, *table.rows)}
            table.rows = list(rows.values())
        self.tables[table.name] = table

    def to_json(self) -> str:
        """As text."""
        tables = {name: table.to_json() for name, table in self.tables.items()}
        fields = {**vars(self), "tables": tables}
        return json.dumps(finite(fields), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path = RESULTS) -> Results:
        """Those of a file; none if there is no file."""
        if not path.exists():
            return cls()
        fields = json.loads(path.read_text("utf-8"))
        return cls(**{**fields, "tables": {n: Table.from_json(t) for n, t in fields["tables"].items()}})


def finite(value: Any) -> Any:
    """A tree in which a ratio to nothing is None: JSON has no infinity."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and value == float("inf") else value


def digits(number: float | None) -> str:
    """Three of them."""
    if number is None:
        return ""
    if number == 0:
        return "0"
    if number == float("inf"):
        return "∞"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 1e-2 else f"{number:.1g}"


def cells(table: Table, goals: bool) -> list[list[str]]:
    """The table's heading and rows. `goals` shows what was asked for, and one-thread times."""
    scale, _ = UNITS[table.unit]
    sides = [side for side in table.sides if any(side in row.numbers for row in table.rows)]
    compared = any(row.ratio is not None for row in table.rows)
    floors = any(row.floor is not None for row in table.rows)
    one = goals and any(ONE in forms for row in table.rows for forms in row.numbers.values())
    asked = goals and any(row.must for row in table.rows)

    def number(row: Row, side: str) -> str:
        found = row.number(side)
        return digits(None if found is None else found / scale)

    lines = []
    for row in table.rows:
        line = [row.name]
        for side in sides:
            line.append(number(row, side))
            if one and side == sides[0]:
                single = row.numbers.get(side, {}).get(ONE)
                line.append(digits(None if single is None else single / scale))
        if floors:
            line.append(digits(None if row.floor is None else row.floor / scale))
        if compared:
            line += [digits(row.ratio), row.peer or ""] if goals else [digits(row.ratio)]
        if asked:
            line += [str(row.must or ""), str(row.aim or ""), row.verdict]
        lines.append(line)
    heading = ["", *sides]
    if one:
        heading.insert(2, ONE)
    heading += ["floor"] * floors + (["ratio", "to"] if goals else ["ratio"]) * compared
    heading += ["must", "aim", ""] * asked
    return [heading, *lines]


def text(table: Table) -> str:
    """For a terminal."""
    lines = cells(table, goals=True)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = []
    for name, *numbers in lines:
        right = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        rows.append("  ".join([name.ljust(widths[0]), *right]))
    _, unit = UNITS[table.unit]
    return "\n".join([f"{table.title} ({unit})", *[row.rstrip() for row in rows], *remarks(table)])


def markdown(table: Table, goals: bool = True) -> str:
    """For a page."""
    heading, *lines = cells(table, goals)
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in (heading, rule, *lines))


def remarks(table: Table) -> list[str]:
    """Why numbers are missing, and whether others used the machine."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for side, reason in row.missing.items():
            if reason != "left out":
                reasons.setdefault((side, reason), []).append(row.name)
    lines = []
    for (side, reason), names in reasons.items():
        where = "" if len(names) == len(table.rows) else f" for {', '.join(names)}"
        lines.append(f"{side} is not available{where}: {reason}")
    if table.disturbed > DISTURBED:
        lines.append(f"Other programs used {table.disturbed:.0%} of the machine meanwhile.")
    return lines


def ceilings_text(measured: Mapping[str, Any]) -> str:
    """The machine's ceilings as a table in Markdown."""
    levels = list(measured["one core"]["bytes"])
    lines = [
        "| | multiply-add f32 | f64 | " + " | ".join(f"{level} read | copy" for level in levels) + " |",
        "|---|" + "---:|" * (2 + 2 * len(levels)),
    ]
    for cores in ("one core", "all cores"):
        found = measured[cores]
        numbers = [found["operations"]["float32"], found["operations"]["float64"]]
        for level in levels:
            numbers += [found["bytes"][level]["read"], found["bytes"][level]["copy"]]
        lines.append(f"| {cores} | " + " | ".join(f"{n / 1e9:.0f}" for n in numbers) + " |")
    return "\n".join(lines)


def machine_text(results: Results) -> str:
    """The machine in a sentence."""
    m = results.machine
    return f"{m['cpu']}, {m['cores']} cores, {' '.join(m['features'])}; {m['system']}, Python {m['python']}"


def page(results: Results) -> str:
    """docs/benchmarks.md."""
    versions = {
        f"{name} {v}" for info in results.versions.values() for name, v in info.items() if name[0].isupper()
    }
    parts = [
        "# Benchmarks",
        "Written by `make bench`: gradc beside its peers, each in a process of its own, in alternating "
        "rounds. The ratio is the best peer's number by gradc's: above 1, gradc is the faster one. A "
        "floor is the least time that the operations and bytes of a program take at the ceilings of "
        "this machine; `must` and `aim` are the goals of the project.",
        f"{machine_text(results)}; {', '.join(sorted(versions))}.",
    ]
    if results.ceilings:
        parts += [
            "## The machine's ceilings",
            "10⁹ operations (two for a multiply-add) and 10⁹ bytes a second (a copy reads and writes). A "
            f"call of a C function that does nothing takes {1e9 * results.ceilings['empty call']:.0f} ns.",
            ceilings_text(results.ceilings),
        ]
    for table in results.tables.values():
        _, unit = UNITS[table.unit]
        parts += [f"## {table.title}", f"{table.caption} In {unit}; measured {table.when}.", markdown(table)]
        if said := remarks(table):
            parts.append("\n".join(f"- {line}" for line in said))
    return "\n\n".join(parts) + "\n"


def figures(results: Results) -> str:
    """The block of README, without its marks."""
    parts = [
        f"From `make bench` on {machine_text(results)}. The ratio is to the best peer; NumPy "
        "computes the loss alone (but trains, by hand), and is none."
    ]
    for name in IN_README:
        if name in results.tables:
            table = results.tables[name]
            parts += [f"{table.title}, {UNITS[table.unit][1]}:", markdown(table, goals=False)]
    return "\n\n".join(parts)


def with_figures(readme: str, block: str) -> str:
    """README with the block between its marks; as it is if it has none."""
    if BEGIN not in readme or END not in readme:
        return readme
    before, rest = readme.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END, 1)[1]}"


def write(results: Results, root: Path = ROOT) -> list[Path]:
    """The files that show the results."""
    files = {RESULTS: results.to_json(), PAGE: page(results)}
    files[README] = with_figures(README.read_text("utf-8"), figures(results))
    written = []
    for path, content in files.items():
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, "utf-8")
        written.append(target)
    return written
