"""Compiling without running: stages, types in place of arrays, and calls of what was lowered."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import gradc
from gradc import ir
from gradc.api.backend import GRAPH_STAGES
from gradc.trace import tree

x = np.arange(6.0).reshape(2, 3)
w = np.array([1.0, -1.0, 2.0])
TABLE = np.linspace(0.5, 2.0, 20)  # too large to be written out in the graph


@gradc.compile
def loss(w: Any, x: Any) -> Any:
    return np.mean(np.tanh(x @ w) ** 2)


@pytest.mark.parametrize("of", [None, "value", "grad", "value_and_grad"])
@pytest.mark.parametrize("stage", GRAPH_STAGES)
def test_every_stage_parses_back_and_means_the_same(stage: str, of: str | None) -> None:
    text = loss.dump(w, x, stage=stage, of=of)
    graph = ir.parse(text)
    ir.verify(graph)
    assert str(graph) == text
    value, gradient = loss.value_and_grad(w, x)
    expected = {"value": [value], "grad": [gradient]}.get(of or "", [value, gradient])
    if stage == "traced":
        expected = [value]
    for found, wanted in zip(ir.evaluate(graph, w, x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-14)


def test_types_stand_for_arrays() -> None:
    low = loss.lower("f64[3]", "f64[2, 3]")
    assert low.of == "value_and_grad"
    assert low.dump("grad") == loss.dump(w, x, stage="grad")
    value, gradient = low.run(w, x)
    assert value == loss(w, x)
    np.testing.assert_array_equal(gradient, loss.grad(w, x))
    nested = gradc.compile(lambda p, how: np.sum(p["a"]) if how == "sum" else p["a"])
    assert nested.lower({"a": "f32[4]"}, "sum").of == "value_and_grad"
    assert nested.lower({"a": "f32[4]"}, "none").of == "value"
    assert str(nested.lower({"a": ir.parse_type("i64[4]")}, "sum").graph("traced").inputs[0].type) == "i64[4]"


def test_lowering_large_types_takes_no_memory() -> None:
    low = gradc.compile(lambda x: np.sum(x * x)).lower("f64[1000000, 1000000]")
    assert low.graph("traced").inputs[0].shape == (1000000, 1000000)


def test_what_it_tells() -> None:
    low = loss.lower(w, x)
    assert isinstance(low.memory, int) and low.memory >= 0
    assert isinstance(low.address, int)
    assert isinstance(low.graph("planned"), ir.Graph)


def test_run_writes_into_out() -> None:
    low = loss.lower(w, x)
    out = (np.empty(()), np.empty(3))
    result = low.run(w, x, out=out)
    assert result[0] is out[0] and result[1] is out[1]
    np.testing.assert_array_equal(out[1], loss.grad(w, x))
    assert out[0] == loss(w, x)


@pytest.mark.parametrize("of", ["value", "grad", "value_and_grad"])
def test_run_of_every_form(of: str) -> None:
    """Trees of results, static leaves, arguments in any layout, and `out` of the same tree."""

    @gradc.compile(has_aux=True)
    def f(p: Any, x: Any) -> Any:
        h = np.tanh(x @ p["w"])
        return np.sum(h) * p["b"], {"h": h, "name": "h", "sum": [np.sum(h)]}

    p: dict[str, Any] = {"w": w, "b": 2.0}
    low = f.lower(p, x, of=of)
    wanted = {"value": f, "grad": f.grad, "value_and_grad": f.value_and_grad}[of](p, x)
    out = tree.map(lambda y: np.full_like(y, 9) if isinstance(y, np.ndarray | np.generic) else None, wanted)
    for given in (x, np.asfortranarray(x), x[::-1][::-1], x.astype(">f8")):
        found = low.run(p, given, out=out)
        pairs = zip(*(tree.flatten(t)[0] for t in (found, wanted, out)), strict=True)
        for y, z, own in pairs:
            assert y == z if isinstance(z, str) else (y is own and (y == z).all())
    assert tree.structure(low.run(p, x)) == tree.structure(wanted)


def test_the_address_is_a_c_function() -> None:
    """`void f(void **in, void **out, char *arena, void *context)`, called as C would."""

    def fn(p: dict[str, Any], x: Any, i: Any) -> Any:
        return np.sum(np.tanh(x @ p["w"]) * TABLE[i]) + p["b"]

    f = gradc.compile(fn)
    low = f.lower({"w": "f64[3]", "b": "f64[]"}, "f64[2, 3]", "i64[]")
    p = {"w": w, "b": np.array(0.5)}
    value, gradient = f.value_and_grad(p, x, np.int64(3))
    executable = low._special[low.of].executable
    assert [input.name for input in low.graph("planned").inputs] == ["p.w", "p.b", "x", "i"]
    inputs = [w, p["b"], x, np.array(3), *low.constants]
    outputs = [np.empty(()), np.empty(3), np.empty(())]
    arena = (ctypes.c_char * (low.memory + 64))()
    start = ctypes.addressof(arena) + -ctypes.addressof(arena) % 64
    context = (ctypes.c_int64 * 8)()
    ins = (ctypes.c_void_p * len(inputs))(*[a.ctypes.data for a in inputs])
    outs = (ctypes.c_void_p * len(outputs))(*[a.ctypes.data for a in outputs])
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(low.address)
    for _ in range(2):
        function(ins, outs, start, ctypes.addressof(context))
        assert context[0] == 0
        assert outputs[0] == value and outputs[2] == gradient["b"]
        np.testing.assert_array_equal(outputs[1], gradient["w"])
    inputs[3][...] = 100  # an index out of bounds is a status, not a crash
    function(ins, outs, start, ctypes.addressof(context))
    assert context[0] == 1 and "out of bounds" in executable.messages[0].text


BAD_OUT: dict[str, tuple[Any, str]] = {
    "tree": ((np.empty(3),), "tree"),
    "shape": ((np.empty(()), np.empty(4)), r"out holds float64\[4\]"),
    "dtype": ((np.empty(()), np.empty(3, np.float32)), r"out holds float32\[3\]"),
    "strides": ((np.empty(()), np.empty(6)[::2]), "C-contiguous"),
    "byte-order": ((np.empty(()), np.empty(3, ">f8")), r"out holds >f8\[3\]"),
    "order": ((np.empty(()), np.empty((3, 2)).T[0]), "C-contiguous"),
    "misaligned": ((np.empty(()), np.empty(25, np.uint8)[1:].view(np.float64)), "aligned"),
    "subclass": ((np.empty(()), np.ma.masked_array(np.empty(3))), "out holds"),
    "an-argument": ((np.empty(()), w), "shares memory with an argument"),
    "no-array": ((0.0, np.empty(3)), "out holds 0.0"),
}


@pytest.mark.parametrize("case", BAD_OUT)
def test_out_that_does_not_fit(case: str) -> None:
    out, message = BAD_OUT[case]
    before = w.copy()
    for array in out:
        if isinstance(array, np.ndarray) and array is not w:
            array[...] = 7
    with pytest.raises(gradc.ArgumentError, match=message) as caught:
        loss.lower(w, x).run(w, x, out=out)
    assert caught.value.source is not None and caught.value.source.file == __file__
    assert [entry.path.name for entry in caught.traceback] == ["test_lower.py"]  # type: ignore[union-attr]
    np.testing.assert_array_equal(w, before)  # nothing is half written
    for array in out:
        if isinstance(array, np.ndarray) and array is not w:
            assert (array == 7).all()


def test_out_that_shares_memory() -> None:
    f = gradc.compile(lambda x: (x + 1, x + 2))
    both = np.empty(4)
    with pytest.raises(gradc.ArgumentError, match="share memory"):
        f.lower("f64[3]").run(np.ones(3), out=(both[:3], both[1:]))
    read_only = np.empty(3)
    read_only.setflags(write=False)
    with pytest.raises(gradc.ArgumentError, match="writeable"):
        f.lower("f64[3]").run(np.ones(3), out=(read_only, np.empty(3)))


def test_other_arguments_than_lowered() -> None:
    with pytest.raises(gradc.ArgumentError, match="another signature"):
        loss.lower(w, x).run(w, np.ones((4, 3)))


def test_wrong_stages_and_modes() -> None:
    with pytest.raises(gradc.ArgumentError, match=r"stage='nope'"):
        loss.dump(w, x, stage="nope")
    with pytest.raises(gradc.ArgumentError, match=r"of='nope'"):
        loss.dump(w, x, of="nope")
    with pytest.raises(gradc.ShapeError, match="one float number"):
        gradc.compile(lambda x: x).dump(x, of="grad")
    assert "graph" in gradc.compile(lambda x: x * 2).dump(x, stage="traced")


def test_a_type_with_a_wrong_dtype_is_an_error():
    with pytest.raises(gradc.ParseError, match="is not a type"):
        gradc.compile(lambda x: np.sum(x * x)).lower("float64[3]")
