"""docs/coverage.md is what the tables say, and what it says is so: every name of it is called here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docs import coverage
from docs.coverage import COMPILED, CONSTANT, REFUSED_STATUS, Name
from gradc.ir import GradcError, Graph
from gradc.trace.refusals import LIBRARY, REFUSED, STATIC, instead
from tests.trace.everyday import OPERANDS, Case, cases, example, exists
from tests.trace.harness import check, run, traced

OWN: dict[str, list[Case]] = {}
for _case in cases():
    OWN.setdefault(_case.name, []).append(_case)

KNOWN_RESULTS = {
    *("shape", "ndim", "size", "itemsize", "nbytes", "dtype", "device", "isscalar", "iterable"),
    *("common_type", "imag", "iscomplex", "isreal", "iscomplexobj", "isrealobj"),
}
"""Functions whose results follow from types and shapes: they are known when the function is traced."""


def names(*wanted: str) -> list[Any]:
    return [
        pytest.param(name, id=name.path)
        for space in coverage.spaces()
        for name in space.names
        if coverage.status(name) in wanted
    ]


def test_the_page_is_up_to_date():
    page = (Path(coverage.__file__).parent / "coverage.md").read_text(encoding="utf-8")
    if coverage.version() not in page:
        pytest.skip(f"the page is for other versions than {coverage.version()}")
    assert page == coverage.text(), "run python -m docs"


def depends_on_inputs(graph: Graph) -> bool:
    """Whether a result is computed from an input."""
    pending, seen = list(graph.outputs), set()
    while pending:
        value = pending.pop()
        if value.node is None:
            return True
        if value not in seen:
            seen.add(value)
            pending.extend(value.node.inputs)
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names(COMPILED))
def test_what_is_compiled_is_traced(name: Name):
    found = OWN.get(name.path) or [example(name.path)]
    assert found[0] is not None, f"a case for {name.path} in tests/trace/everyday.py is missing"
    if name.path not in OWN:  # those have a test of their own
        check(found[0].function, **OPERANDS)
    graphs = [traced(case.function, **OPERANDS)[0].graph for case in found]
    assert any(map(depends_on_inputs, graphs)) or name.short in KNOWN_RESULTS


@pytest.mark.parametrize("name", names(CONSTANT))
def test_what_is_constant_has_a_case(name: Name):
    assert name.path in OWN, f"a case for {name.path} in tests/trace/everyday.py is missing"


def refused(name: Name) -> Any:
    """A function that uses the name with a traced array."""
    if not name.path.startswith("ndarray."):
        short = name.path.replace("scipy.", "")
        return Case(name.path, f"{short}(x)").function
    arguments = "0.5" if name.short == "__contains__" else ""
    return Case(name.path, f"x.{name.short}({arguments})").function


@pytest.mark.parametrize("name", names(REFUSED_STATUS))
def test_what_is_not_supported_says_what_to_write(name: Name):
    operands = {**OPERANDS, "x": np.float64(2.0)} if name.short == "__hash__" else OPERANDS
    with pytest.raises(GradcError) as caught:
        run(refused(name), **operands)
    assert instead(name.path) in str(caught.value)
    assert caught.value.source is not None


def test_every_refusal_is_on_the_page():
    known = {name.path for space in coverage.spaces() for name in space.names}
    gone = {path for path in (*REFUSED, *STATIC, *LIBRARY) if not exists(path)}
    assert known >= {*REFUSED, *STATIC, *LIBRARY} - gone
