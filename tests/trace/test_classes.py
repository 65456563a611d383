"""The user's classes in a trace: objects made there have copies for methods, and classes stay classes."""

from __future__ import annotations

import abc
import functools
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Protocol

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
