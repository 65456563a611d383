"""Every edge of a graph with its value and gradient, from a real run."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc


def neuron(w: Any, x: Any, b: Any) -> Any:
    z = w * x + b
    return 1 / (1 + np.exp(-z))


def test_a_neuron() -> None:
    rows = gradc.compile(neuron).edges(2.0, 3.0, -5.0)
    by_name = {row.name: row for row in rows}
    y = neuron(2.0, 3.0, -5.0)
    slope = y * (1 - y)
    assert [row.name for row in rows[:3]] == ["w", "x", "b"]
    assert by_name["z"].value == 1.0 and by_name["z"].line == "z = w * x + b"
    np.testing.assert_allclose(
        [by_name[n].gradient for n in ("w", "x", "b", "z")], [3 * slope, 2 * slope, slope, slope]
    )
    np.testing.assert_allclose(rows[-1].value, y)
    assert rows[-1].gradient == 1.0 and rows[-1].line == "return 1 / (1 + np.exp(-z))"
    name, line, value, gradient = rows[0]
    assert (name, line, value) == ("w", "", 2.0) and gradient is not None


def test_names_are_those_of_the_dump() -> None:
    f = gradc.compile(lambda x: np.sum(np.sin(x) * x))
    x = np.arange(3.0)
    text = f.dump(x, stage="traced")
    for row in f.edges(x)[1:]:
        assert f"  {row.name}: " in text


def test_no_gradient_where_there_is_none() -> None:
    def f(x: Any, n: Any, unused: Any) -> Any:
        order = np.argsort(n) if False else n + 1
        return np.sum(x) + np.sum(order) * 0.5

    rows = {row.name: row for row in gradc.compile(f).edges(np.ones(2), np.arange(2), np.ones(3))}
    assert list(rows["x"].gradient) == [1, 1]
    assert rows["n"].gradient is None and rows["unused"].gradient is None
    assert rows["order"].gradient is None and list(rows["order"].value) == [1, 2]


def test_a_function_without_a_loss() -> None:
    rows = gradc.compile(lambda x: x * 2).edges(np.ones(2))
    assert all(row.gradient is None for row in rows)


def test_all_floats_count_whatever_wrt_is() -> None:
    rows = gradc.compile(lambda a, b: np.sum(a * b), wrt="b").edges(np.ones(2), np.full(2, 3.0))
    assert list(rows[0].gradient) == [3, 3] and list(rows[1].gradient) == [1, 1]


def test_it_prints_as_a_table() -> None:
    lines = str(gradc.compile(neuron).edges(2.0, 3.0, -5.0)).splitlines()
    assert lines[0].split() == ["name", "value", "gradient", "line"]
    assert set(lines[1]) == {"-", " "}
    assert lines[2].split() == ["w", "2", "0.589836"]
    assert all(len(line) <= 130 for line in lines)
    big = str(gradc.compile(lambda x: np.mean(x * x)).edges(np.ones((100, 100))))
    assert "float64[100, 100] 1 .. 1" in big
