"""The benchmarks run: processes answer, sides are held against each other, floors count the work there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradc
from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.bench import Bench, check
from benchmarks.floors import Ceilings
from benchmarks.groups.workloads import VARIANTS, WORKLOADS
from benchmarks.peers import PEERS, Peer, UnavailableError
from benchmarks.programs import plain
from benchmarks.rows import Goal, Row, Table
from benchmarks.sides.side import flat
from benchmarks.sides.work import work
from benchmarks.team import Process, SideError

SMALL = {
    "neuron": {},
    "logistic": {"rows": 7, "columns": 3},
    "mlp": {"sizes": (5, 4, 3), "batch": 2},
    "residual": {"blocks": 2, "width": 3, "batch": 2},
    "tanh_net": {"layers": 3, "width": 4, "batch": 2},
    "rosenbrock": {"size": 9},
    "cross_entropy": {"rows": 3, "classes": 4},
    "chain": {"size": 5},
    "transformer": {"batch": 2, "length": 3, "width": 4, "heads": 2},
    "recurrence": {"width": 3, "steps": 2},
    "ordered": {"size": 6},
}
RATES = {"read": 1e10, "copy": 1e10}
CORE = {
    "operations": {"float32": 2e11, "float64": 1e11},
    "bytes": {"L1": {"size": 1 << 14, **RATES}, "memory": {"size": 1 << 28, **RATES}},
}
CEILINGS = Ceilings({"empty call": 2e-8, "one core": CORE, "all cores": CORE})


@pytest.fixture
def bench():
    with Bench(sides=("gradc", "NumPy"), rounds=2, turn=0.001, quick=True) as bench:
        yield bench


def test_sides_take_turns(bench: Bench):
    row = Row("a small program", aside=("NumPy",))
    bench.compare(row, PEERS, family="mlp", parameters=SMALL["mlp"])
    assert set(row.numbers) == {"gradc", "NumPy"}
    assert set(row.numbers["gradc"]) == {"all threads", "one thread"}
    assert all(t > 0 for forms in row.numbers.values() for t in forms.values())
    assert row.missing["torch.compile"] == "left out" and row.peer is None


def test_training_agrees_with_numpy_by_hand(bench: Bench):
    row = Row("training")
    sizes = {"sizes": (6, 5, 4, 3), "batch": 32, "rows": 64, "epochs": 2}
    bench.compare(row, ["gradc", "NumPy"], tolerance=2e-2, kind="training", **sizes)
    assert not row.missing and row.peer == "NumPy"


def test_an_error_of_a_side_stands_in_its_row_and_the_process_lives(bench: Bench):
    row = bench.compare(Row("nothing"), ["gradc"], family="no such family", parameters={})
    assert "no such family" in row.missing["gradc"]
    bench.compare(row, ["gradc"], kind="call", way="dict")
    assert row.ours is not None and row.ours > 0


def test_a_process_that_cannot_start_says_why():
    with pytest.raises(SideError, match="no_such_module"):
        Process(Peer("nobody", "no_such_module"), Path())


def test_peers_that_cannot_be_there(tmp_path: Path):
    with pytest.raises(UnavailableError, match="no-such-program"):
        Peer("x", "in_torch", "x", needs="no-such-program").python(tmp_path)
    with pytest.raises(UnavailableError, match=r"above 3\.4"):
        Peer("x", "in_jax", "x", newest_python=(3, 4)).python(tmp_path)


def test_what_differs_is_not_timed():
    x = np.array([1.0, -2.0])
    check([x * (1 + 1e-6)], [x, x], 1e-3)
    for wrong in (x * 1.01, np.array([1.0, np.nan]), x[:1]):
        with pytest.raises(SideError):
            check([wrong], [x], 1e-3)


@pytest.mark.parametrize("family", plain.FAMILIES)
def test_every_program_has_a_floor(family: str):
    given = plain.program(family, SMALL[family])
    assert np.isfinite(given.make(np)(*given.arguments))
    counted = work(gradc.compile(given.make(np), wrt=given.wrt).lower(*given.arguments))
    arrays = [np.asarray(x) for x in flat(given.arguments)]
    assert counted["read"] == sum(x.nbytes for x in arrays)
    assert CEILINGS.floor(counted) > CEILINGS.empty_call


def test_products_are_counted():
    given = plain.program("mlp", SMALL["mlp"])
    counted = work(gradc.compile(given.make(np)).lower(*given.arguments))
    # Forward and the gradients of the weights; of the hidden layer also that of its input.
    assert counted["products"] == {"float32": 2 * 2 * (2 * 5 * 4 + 3 * 4 * 3)}
    loss = given.arguments[0][0][0].dtype.itemsize
    assert counted["written"] == loss + sum(x.nbytes for x in flat(given.arguments[0]))


def test_a_floor_is_what_takes_longest():
    nothing = {"products": {}, "steps": {}, "read": 0, "written": 0}
    assert CEILINGS.floor(nothing) == 2e-8
    assert CEILINGS.floor({**nothing, "products": {"float32": 2e11}}) == pytest.approx(1)
    assert CEILINGS.floor({**nothing, "steps": {"float64": 1e11}}) == pytest.approx(2)
    assert CEILINGS.floor({**nothing, "read": 1e10, "written": 1e10}) == pytest.approx(2)


def test_workloads_are_parameters_of_families():
    for workload in (*WORKLOADS, *VARIANTS):
        assert workload.family in plain.FAMILIES
        json.dumps(workload.parameters)


def test_rows_say_what_was_reached():
    row = Row("x", {"gradc": {"a": 2.0, "b": 1.0}, "peer": {"a": 7.0, "b": 6.0}, "NumPy": {"": 0.1}})
    row.aside, row.must, row.aim, row.floor = ("NumPy",), Goal(times=2), Goal(floor=1.3), 1.0
    assert (row.peer, row.ratio, row.verdict) == ("peer", 3.0, "reached")
    row.numbers["peer"]["b"] = 1.0
    assert row.verdict == "missed, behind peer"
    row.floor = 1.9
    assert row.verdict == "aim, behind peer"
    row.numbers = {}
    row.missing = {"gradc": "broken"}
    assert row.verdict == "broken" and row.ratio is None


def test_results_survive_their_file():
    row = Row("x", {"gradc": {"": 1.0}, "peer": {"": 2.0}}, {"other": "why"}, Goal(times=1.5))
    table = Table("t", "A title", "A caption.", "us", ("gradc", "peer"), [row])
    results = report.Results(tables={"t": table})
    written = json.loads(results.to_json())
    assert written["tables"]["t"]["rows"][0]["ratio"] == 2.0
    assert Table.from_json(written["tables"]["t"]) == table
    assert "other is not available: why" in report.text(table)
    assert "| x |" in report.markdown(table)


def test_rows_that_are_measured_again_replace_the_old_ones():
    def table(*rows: Row) -> Table:
        return Table("t", "A title", "A caption.", "us", ("gradc",), list(rows))

    results = report.Results()
    results.add(table(Row("x"), Row("y")))
    again = Row("y", floor=1.0)
    results.add(table(again), whole=False)
    assert results.tables["t"].rows == [Row("x"), again]
    results.add(table(again))
    assert results.tables["t"].rows == [again]


def test_results_that_are_kept_are_those_that_are_shown():
    if not report.RESULTS.exists():
        pytest.skip("nothing has been measured")
    results = report.Results.read()
    readme = report.README.read_text("utf-8")
    assert report.with_figures(readme, report.figures(results)) == readme
    assert report.PAGE.read_text("utf-8") == report.page(results)
    for table in results.tables.values():
        assert all(row.floor is None or row.floor > 0 for row in table.rows)


@pytest.mark.long
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    command = ["benchmarks", "--quick", "--no-write", "--sides", "gradc", "NumPy", "--", "calls", "memory"]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 0
    printed = capsys.readouterr().out
    assert "three parameters, dataclass" in printed and "multiply-add" in printed
