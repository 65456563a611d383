"""The user's objects in a trace: methods as copies, attributes as tracers, nothing traced left behind."""

from __future__ import annotations

import abc
import copy
import enum
import functools
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import pytest

import gradc
from gradc.ir import TraceError
from tests.trace.harness import check, run, traced

X = np.array([0.5, -1.0, 2.0])
W = np.arange(9.0).reshape(3, 3) / 7
T = TypeVar("T")


class Layer:
    def __init__(self, k: float = 1.0) -> None:
        self.W = W * k
        self.act = np.tanh

    def __call__(self, x: Any) -> Any:
        return self.act(self.W.dot(x)) + np.array([x[0], x[1], x[2]])


class Base:
    scale = 2.0
    made = 0

    def __init__(self) -> None:
        self.b = np.array([1.0, 2.0])

    def forward(self, x: Any) -> Any:
        return np.array([x[0], x[1]]) * self.scale + self.b.dot(self.b)

    @property
    def first(self) -> Any:
        return np.array([self.b[0], self.b[1]])

    @classmethod
    def of_class(cls, x: Any) -> Any:
        assert cls.__name__ in ("Base", "Model")
        return np.array([x[0]]) * cls.scale

    @staticmethod
    def fixed(x: Any) -> Any:
        return np.array([x[1]])


class Model(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layer: Any = Layer()
        self.layers = [Layer(2.0), Layer(0.5)]
        self.named: Any = OrderedDict(a=Layer(0.1), b={"c": Layer(3.0)})
        self.table = {np.tanh: 2.0}
        self._gain = 3.0

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        for layer in self.layers:
            x = layer(x)
        x = self.named["b"]["c"](self.named["a"](self.layer(x)))
        return y + x[:2] + self.first * self.gain + super(Model, self).forward(x)  # noqa: UP008

    @property
    def gain(self) -> Any:
        return np.array([self._gain, 1.0]).dot(self.b)

    @gain.setter
    def gain(self, value: float) -> None:
        self._gain = value

    @functools.cached_property
    def slow(self) -> Any:
        return np.array([1.0, self._gain, 2.0])

    @gradc.compile
    def loss(self, x: Any) -> Any:
        return np.sum(self.forward(x) * np.array([x[0], x[1]]))

    @gradc.compile
    def outer(self, x: Any) -> Any:
        return self.loss(x) * 2 + self.loss.grad(x)[0]


MODEL = Model()


def test_nested_objects_inheritance_and_properties() -> None:
    check(lambda x: MODEL.forward(x) * 1, X)
    check(MODEL.forward, X)
    model = Model()
    check(lambda x: model.forward(x) + MODEL.layers[1](x)[0] + model.layer.W.dot(x)[1], X)
    check(lambda x: MODEL.of_class(x) + MODEL.fixed(x) + Model.scale, X)
    check(lambda m, x: m.forward(x), MODEL, X)
    check(Layer(), X)
    check(Layer().__call__, X)


def test_compiled_methods() -> None:
    model = Model()
    value = np.sum(Model.forward(model, X) * X[:2])
    assert model.loss(X) == pytest.approx(value, rel=1e-13)
    assert model.loss(X) == pytest.approx(value, rel=1e-13)
    assert len(Model.__dict__["loss"]._function.table) == 1
    gradc.check_grad(model.loss, X)
    grads = model.loss.grad(X)
    assert model.outer(X) == pytest.approx(2 * value + grads[0])
    assert gradc.grad(lambda x: model.loss(x) * 1)(X) == pytest.approx(grads)
    other = Model()
    other.layer.W = W * 5
    assert other.loss(X) != model.loss(X)


def test_what_views_look_like() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        assert isinstance(MODEL, Model) and isinstance(MODEL, Base) and not isinstance(MODEL, Layer)
        assert MODEL.__class__ is Model and type(MODEL).__name__ == "Model"
        assert MODEL.layer is MODEL.layer and MODEL.layers[0] is MODEL.layers[0]
        assert hasattr(MODEL, "layer") and not hasattr(MODEL, "nothing")
        assert getattr(MODEL, "nothing", 7) == 7
        assert set(vars(MODEL)) >= {"layer", "layers", "b"} and "Model object" in repr(MODEL)
        assert MODEL.forward == MODEL.forward and {MODEL: 1}[MODEL] == 1
        seen.append(vars(MODEL)["b"].dot(x[:2]))
        return x * 2, MODEL

    assert run(f, X)[1] is MODEL
    assert type(MODEL.b) is np.ndarray and type(MODEL.layers[0]) is Layer


class Vector:
    def __init__(self, data: Any) -> None:
        self.data = data

    def __add__(self, other: Vector) -> Vector:
        return type(self)(np.array([a + b for a, b in zip(self.data, other.data, strict=True)]))

    def __getitem__(self, i: Any) -> Any:
        return np.eye(3)[i] @ self.data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Any:
        return iter(self.data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and len(self) == len(other)

    def __hash__(self) -> int:
        return len(self.data)

    def __matmul__(self, x: Any) -> Any:
        return self.data.dot(x)

    def __getattr__(self, name: str) -> Any:
        if name != "total":
            raise AttributeError(name)
        return np.array([sum(self.data)])


def test_special_methods() -> None:
    v = Vector(X)
    check(lambda x: (v + v).data * x + v[1] + len(v) + sum(v) + v @ x + v.total, X)
    check(lambda x, i: v[i] * x, X, np.array(2))
    check(lambda x: x * {v: 2.0}[v] + hash(v) + (v == Vector(X)), X)
    compiled = gradc.compile(lambda v, x: v @ x)
    assert compiled(v, X) == X @ X
    assert compiled(Vector(X * 2), X) == X @ X  # equal, by the user's own word
    assert len(compiled._function.table) == 1


def test_copies_of_objects() -> None:
    v = Vector(X)

    def f(x: Any) -> Any:
        w = copy.copy(v)
        w.data = x
        return w.data + v.data, (v + w).data

    check(f, X * 2)
    assert v.data is X
    (result,) = run(lambda x: (v + v,), X)
    assert type(result) is Vector and type(result.data) is np.ndarray
    with pytest.raises(TraceError, match="returns a Vector that holds traced values"):
        gradc.compile(lambda x: v + Vector(x))(X)


@dataclass
class Params:
    W: Any
    inner: Any = None
    name: str = "p"

    def apply(self, x: Any) -> Any:
        return self.W.dot(x) + np.array([x[0], self.W[0, 0], x[1]])


@dataclass(frozen=True)
class Frozen:
    W: Any

    def apply(self, x: Any) -> Any:
        return self.W.dot(np.array([x[0], x[1], x[2]]))


def test_dataclasses_stay_trees_and_have_methods() -> None:
    params, frozen = Params(W, Params(W * 2)), Frozen(W)
    check(lambda x: params.apply(x) + params.inner.apply(x) + frozen.apply(x), X)
    check(lambda p, x: p.apply(x) + p.inner.apply(x), params, X)
    check(lambda p, x: p["a"][0].apply(x), {"a": [frozen]}, X)
    check(lambda p, x: replace(p, W=p.W * x), params, X)
    check(lambda p, x: (p, params, replace(params, W=x), frozen), params, X)
    grads = gradc.grad(lambda p, x: np.sum(p.apply(x)))(Params(W), X)
    assert type(grads) is Params and grads.W.shape == (3, 3)

    def assigned(p: Params, x: Any) -> Any:
        p.W = p.W * 2  # it was put together for the trace
        return p.apply(x)

    run(assigned, Params(W), X)
    check(lambda x: gradc.grad(lambda p: np.sum(p.apply(x)))(params).W.sum(), X)


class Shape(abc.ABC, Generic[T]):
    @abc.abstractmethod
    def area(self, x: Any) -> Any: ...


class Square(Shape[int]):
    def area(self, x: Any) -> Any:
        return np.array([x[0], x[1]]) ** 2


class Registered:
    kinds: list[type] = []  # noqa: RUF012

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.__name__ == "Final":
            raise TypeError("final")
        Registered.kinds.append(cls)


class Kind(Registered):
    ended = 0

    def f(self, x: Any) -> Any:
        return np.array([x[0]])

    def __del__(self) -> None:
        Kind.ended += 1


class Slotted:
    __slots__ = ("W",)

    def __init__(self) -> None:
        self.W = W

    def f(self, x: Any) -> Any:
        return self.W @ x


class Activation(enum.Enum):
    TANH = 1

    def __call__(self, x: Any) -> Any:
        return np.tanh(x)


class Listed(list[Any]):
    def f(self, x: Any) -> Any:
        return self[0] @ x


def test_odd_classes() -> None:
    square, kind, slotted, listed = Square(), Kind(), Slotted(), Listed([W])
    check(lambda x: square.area(x) + isinstance(square, Shape), X)
    check(lambda x: kind.f(x) + len(Registered.kinds), X)
    assert Registered.kinds == [Kind] and Kind.ended == 0
    check(lambda x: slotted.f(x) + Activation.TANH(x) + listed.f(x), X)
    assert run(lambda x: (Activation.TANH, x), X)[0] is Activation.TANH


class Recorder:
    def __init__(self) -> None:
        self.h: Any = None
        self.calls = 0
        self.log: list[Any] = []
        self.states: dict[str, Any] = {"h": np.zeros(3)}

    def keep(self, x: Any) -> Any:
        self.h = x * 2
        return x

    def keep_deep(self, x: Any) -> Any:
        self.h = [Vector(x)]
        return x

    def append(self, x: Any) -> Any:
        self.log.append(x[0])
        return x

    def fill(self, x: Any) -> Any:
        self.states["h"] = x
        return x

    def harmless(self, x: Any) -> Any:
        self.calls += 1
        self.h = x
        self.log.append("called")
        y = self.h * 2
        self.h = np.ones(3)
        self.states["n"] = self.calls
        zeros = np.zeros(2)
        self.other = [Layer(), zeros, zeros]
        return y + self.h

    def fail(self, x: Any) -> Any:
        self.h = x
        raise RuntimeError("the user's own")


@pytest.mark.parametrize(
    "name,attribute", [("keep", "h"), ("keep_deep", "h"), ("append", "log"), ("fill", "states")]
)
def test_traced_values_do_not_stay_in_objects(name: str, attribute: str) -> None:
    recorder = Recorder()
    zeros = recorder.states["h"]
    with pytest.raises(TraceError, match=f"attribute {attribute} of a Recorder") as caught:
        run(getattr(recorder, name), X)
    error = caught.value
    assert error.source is not None and error.source.file == __file__ and "return it" in str(error)
    assert recorder.h is None and recorder.log == [] and recorder.states == {"h": zeros}


def test_other_assignments_stay() -> None:
    recorder = Recorder()
    run(recorder.harmless, X)
    assert recorder.calls == 1 and type(recorder.h) is np.ndarray and recorder.log == ["called"]
    assert recorder.states["n"] == 1 and type(recorder.states["h"]) is np.ndarray
    assert type(recorder.other[0]) is Layer and recorder.other[1] is recorder.other[2]
    assert type(recorder.other[2]) is np.ndarray
    with pytest.raises(RuntimeError):
        run(recorder.fail, X)
    assert type(recorder.h) is np.ndarray

    def again(x: Any, lam: float) -> Any:
        recorder.calls += 1
        return x if lam > 0 else -x  # makes `lam` static: the trace starts again

    run(again, X, 0.5)
    assert recorder.calls == 2


def test_setters_and_cached_properties() -> None:
    model = Model()

    def f(x: Any) -> Any:
        model.gain = 4.0
        return x * model.slow + model.slow.dot(x)

    check(f, X)
    assert model._gain == 4.0 and type(model.slow) is np.ndarray


def test_captured_arrays_are_named_by_their_path() -> None:
    holder = Vector(np.arange(24.0).reshape(8, 3) ** 2)
    result, _ = traced(lambda x: holder.data @ x, X)
    assert list(result.graph.constants) == ["holder.data"]


class Settings:
    def __init__(self) -> None:
        self.scale, self.old = 1.0, 2.0

    def configure(self, **options: Any) -> Settings:
        self.__dict__.update(options)
        vars(self)["more"] = vars(self).setdefault("shift", 3.0)
        del self.__dict__["old"]
        return self


def test_writing_to_the_dict_of_an_object() -> None:
    def apply(settings: Settings) -> Any:
        return run(lambda x: settings.configure(scale=4.0).scale * x + settings.more, X)  # type: ignore[attr-defined]

    settings, other = Settings(), Settings()
    assert np.array_equal(apply(settings), 4 * X + 3)
    assert vars(settings) == {"scale": 4.0, "shift": 3.0, "more": 3.0}
    with pytest.raises(TraceError, match="attribute scale of a Settings"):
        run(lambda x: other.configure(scale=x).scale, X)
