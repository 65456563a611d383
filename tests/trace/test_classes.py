"""The user's classes in a trace: objects made there have copies for methods, and classes stay classes."""

from __future__ import annotations

import abc
import functools
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pytest

import gradc
from tests.trace.harness import check, run

X = np.array([0.5, -1.0, 2.0])


class Shape(abc.ABC):
    count = 0
    kinds: ClassVar[dict[str, type]] = {}
    weights = np.array([1.0, 2.0, 3.0])

    def __init__(self, x: Any) -> None:
        self.x = np.array([x[0], x[1], x[2]])
        self.log: list[Any] = []
        Shape.count += 1

    def __init_subclass__(cls, tag: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Shape.kinds[tag or cls.__name__] = cls

    @abc.abstractmethod
    def area(self) -> Any: ...

    def total(self) -> Any:
        self.log.append(self.area())
        self.log.append(1.0)
        return np.array(self.log).sum()

    def weighed(self) -> Any:
        return self.weights.dot(self.x) + type(self).weights.dot(self.x) + Shape.weights @ self.x

    @classmethod
    def of(cls, *numbers: Any) -> Any:
        return cls(np.array([*numbers]))

    @staticmethod
    def pair(a: Any) -> Any:
        return np.array([a, a * a])


class Square(Shape, tag="square"):
    def area(self) -> Any:
        return np.array([self.x[0], 2 * self.x[1]]).sum()

    def __add__(self, other: Any) -> Square:
        return Square(np.array([a + b for a, b in zip(self.x, other.x, strict=True)]))


class Scaled(Square):
    def __init__(self, x: Any, k: float = 2.0) -> None:
        super().__init__(x)
        self.k = k

    def area(self) -> Any:
        return super().area() * self.k + Square.area(self) + super(Scaled, self).area()  # noqa: UP008


class Old(Square):
    def __init__(self, x: Any) -> None:
        Square.__init__(self, x)
        self.y = x * 2


def test_objects_that_the_trace_makes() -> None:
    check(lambda x: Square(x).total() + Square(x).weighed(), X)
    check(lambda x: Scaled(x).total() + Old(x).y.sum() * Old(x).area(), X)
    check(lambda x: Square.of(x[2], x[0], 1.0).area() + Square.pair(x[0])[1] + Square(x).pair(x[1])[0], X)
    check(lambda x: (Square(x) + Square(x * 2)).area(), X)
    check(lambda x: Shape.kinds["square"](x).area(), X)  # type: ignore[attr-defined]
    gradc.check_grad(lambda x: Scaled(x).total() ** 2, X)


OUTSIDE = [Square(np.ones(3)), Scaled(np.ones(3))]


def test_classes_stay_classes() -> None:
    def f(x: Any) -> Any:
        square = Square(x)
        assert type(square) is Square and square.__class__ is Square and {Square: 1}[type(square)] == 1
        assert isinstance(square, (Shape, int)) and not isinstance(square, Scaled)
        assert issubclass(Scaled, Shape) and not issubclass(Shape, Scaled) and Square.__name__ == "Square"
        assert [isinstance(s, Scaled) for s in OUTSIDE] == [False, True] and type(OUTSIDE[0]) is Square
        with pytest.raises(TypeError, match="abstract"):
            Shape(x)  # type: ignore[abstract]
        match square:
            case Scaled():
                raise AssertionError
            case Square(x=y):
                return sum(s.area() for s in OUTSIDE) * y

    check(f, X)
    assert isinstance(OUTSIDE[0], Shape) and not isinstance(OUTSIDE[0], Old) and issubclass(Old, Shape)
    before = Shape.count
    run(lambda x: Square(x).x, X)
    assert Shape.count == before + 1 and type(Shape.count) is int


def test_a_subclass_that_the_trace_defines() -> None:
    def f(x: Any) -> Any:
        class Local(Square, tag="local"):
            def area(self) -> Any:
                return super().area() + np.array([self.x[0], 1.0]).sum()

        local = Local(x)
        assert "local" in Shape.kinds and type(local) is Local and isinstance(local, Shape)
        assert isinstance(local, Local) and not isinstance(Square(x), Local)
        return local.total()

    check(f, X)


@dataclass
class Point:
    a: Any
    b: Any = 2.0
    history: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history.append(np.array([self.a[0], self.b]))

    def norm(self) -> Any:
        return np.linalg.norm(np.array([self.a[0], self.a[1], self.b]))

    @functools.cached_property
    def twice(self) -> Any:
        return np.array([self.a[1], self.a[0]]) * 2


def test_dataclasses_that_the_trace_makes() -> None:
    check(lambda x: Point(x).norm() + replace(Point(x), b=x[1]).norm() + Point(x).history[0][0], X)
    check(lambda x: Point(x).twice * Point(x).twice[0] + asdict(Point(x))["a"][:2], X)
    point = gradc.compile(lambda x: Point(x * 2, x[0]))(X)
    assert type(point) is Point and np.array_equal(point.a, X * 2) and point.b == X[0]
    slope = gradc.grad(lambda p: Point(p.a * 2, p.b).norm() ** 2)(Point(X, 3.0))
    assert type(slope) is Point and slope.b == pytest.approx(6) and slope.a == pytest.approx([4, -8, 0])
    inner = gradc.compile(lambda x: gradc.grad(lambda p: p.norm() ** 2)(Point(x, x[0])).a)
    assert inner(X) == pytest.approx([1, -2, 0])


class HasArea(Protocol):
    def area(self) -> Any: ...


class Circle(HasArea):
    class Center:
        def of(self, x: Any) -> Any:
            return np.array([x[0], 1.0]).sum()

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("square_"):
            raise AttributeError(name)
        return np.array([getattr(self, name[7:]) ** 2, 1.0]).sum()

    def area(self) -> Any:
        return self.Center().of(self.x) + Circle.Center().of(self.x) + self.square_r


class Kept:
    value: Any = None


def test_protocols_inner_classes_and_what_stays() -> None:
    check(lambda x: Circle(x=x, r=x[0]).area(), X)
    kept = Kept()

    def f(x: Any) -> Any:
        kept.value = Old(np.ones(3))
        return x * kept.value.area()

    check(f, X)
    assert type(kept.value) is Old and type(kept.value.y) is np.ndarray


class Pair(NamedTuple):
    a: Any
    b: Any = 2.0

    def total(self) -> Any:
        return np.array([self.a, self.b]).sum()

    @property
    def product(self) -> Any:
        return np.array([self.a, self.b]).prod()

    @classmethod
    def of(cls, x: Any) -> Pair:
        return cls(np.array([x[0], 1.0]).sum())

    @staticmethod
    def twice(x: Any) -> Any:
        return np.array([x, x]).sum()

    def doubled(self) -> Pair:
        return self._replace(a=self.a * 2)


class Richer(Pair):
    def total(self) -> Any:
        return super().total() * 2 + Pair.total(self)


PAIR = Pair(3.0, np.array([1.0, 2.0]))


def test_named_tuples_have_methods() -> None:
    check(
        lambda x: x * Pair(x[0], x[1]).total() + Pair(x[0]).product + Pair.of(x).total() + Pair.twice(x[1]), X
    )
    check(lambda x: x * Pair(x[0]).doubled().total() + Richer(x[0], x[1]).total() + PAIR.b.dot(x[:2]), X)
    pair = Pair(2.0, 3.0)
    gradc.check_grad(lambda p: p.total() ** 2 + p.product + p.doubled().total() * p.a, pair)
    assert gradc.grad(lambda p: p.total() ** 2)(pair) == Pair(10, 10)
    inner = gradc.compile(lambda p: gradc.grad(lambda q: q.total() ** 2 + q.product)(p).doubled())
    branch = gradc.compile(lambda p: gradc.cond(p.a > 0, lambda q: Pair(q.a * 2, q.b), lambda q: q, p))
    for got, wanted in (
        (inner(pair), Pair(26, 12)),
        (branch(pair), Pair(4, 3)),
        (branch(Pair(-1.0)), (-1, 2)),
    ):
        assert type(got) is Pair and got == wanted
    kept = gradc.compile(lambda x: {"list": [Pair(x, x[0])], "type": (Pair(1, 2), Pair)})(X)
    assert type(kept["list"][0]) is Pair and type(kept["type"][0]) is Pair and kept["type"][1] is Pair

    def f(x: Any) -> Any:
        assert (
            type(Pair(1)) is Pair and type(PAIR) is Pair and isinstance(Richer(1), Pair) and Pair(1) == (1, 2)
        )
        match Pair(x[0], x[1]):
            case Pair(a=a, b=b):
                return a * b * x

    check(f, X)


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = np.array([x[0], x[1]])

    def total(self) -> Any:
        return np.array([self.x[0], 1.0]).sum()


class More(Slotted):
    __slots__ = ("y",)

    def __init__(self, x: Any) -> None:
        super().__init__(x)
        self.y = np.array([x[2]])

    def total(self) -> Any:
        return super().total() + super(More, self).total() + Slotted.total(self) + self.y[0]  # noqa: UP008


@dataclass(slots=True)
class Record:
    a: Any
    b: Any = 1.0

    def total(self) -> Any:
        return np.array([self.a, self.b]).sum()


MORE = More(np.ones(3))


def test_classes_with_slots_have_methods() -> None:
    check(lambda x: x * More(x).total() + MORE.total() + isinstance(More(x), Slotted), X)
    check(lambda x: x * Record(x[0], x[1]).total() + replace(Record(x[0]), b=x[1]).total(), X)
    assert gradc.grad(lambda p: p.total() ** 2)(Record(2.0, 3.0)) == Record(10, 10)
    got = gradc.compile(lambda p: [Record(p.a * 2, p), MORE])(Record(2.0, 3.0))
    assert type(got[0]) is Record and got[0] == Record(4, Record(2, 3)) and got[1] is MORE
    kept = Kept()

    def f(x: Any) -> Any:
        kept.value = More(np.ones(3))
        return x * kept.value.total()

    check(f, X)
    assert type(kept.value) is More and type(kept.value.x) is np.ndarray
