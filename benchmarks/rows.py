"""The row of a table: what every side took, the floor, the goals, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

OURS = "gradc"


@dataclass(frozen=True)
class Goal:
    """What is asked for: so many times as fast as the best peer, at most so many times the floor, or at most
    so much."""

    times: float | None = None
    floor: float | None = None
    most: float | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        return f"{self.times:g}×" if self.times is not None else f"{self.floor:g} × floor"

    def reached(self, row: Row) -> bool | None:
        """Whether a row reaches it; None if there is nothing to compare."""
        if row.ours is None:
            return None
        if self.most is not None:
            return row.ours <= self.most
        if self.floor is not None:
            return None if row.floor is None else row.ours <= self.floor * row.floor
        return None if row.ratio is None or self.times is None else row.ratio >= self.times


@dataclass
class Row:
    """One comparison. Numbers are seconds or bytes, by side and by the form in which the side was asked.

    Of a peer the smallest number counts; of gradc the first form, which is the one that people write. Sides
    in `aside` do something else, or less, and are shown without being compared. `missing` says why a side has
    no number.
    """

    name: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    must: Goal | None = None
    aim: Goal | None = None
    floor: float | None = None
    aside: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def number(self, side: str) -> float | None:
        """What counts for a side."""
        forms = self.numbers.get(side)
        if not forms:
            return None
        return next(iter(forms.values())) if side == OURS else min(forms.values())

    @property
    def ours(self) -> float | None:
        return self.number(OURS)

    @property
    def peer(self) -> str | None:
        """The best of the others."""
        others = {s: self.number(s) for s in self.numbers if s != OURS and s not in self.aside}
        return min((s for s in others if others[s] is not None), key=lambda s: others[s] or 0.0, default=None)

    @property
    def ratio(self) -> float | None:
        """The best peer's number by ours: above 1, gradc is the better one."""
        if self.peer is None or self.ours is None:
            return None
        theirs = self.number(self.peer)
        return None if theirs is None else theirs / self.ours if self.ours else float("inf")

    @property
    def verdict(self) -> str:
        """In words: what was reached; slower than a peer is said as such."""
        if self.ours is None:
            return self.missing.get(OURS, "not measured")
        words = []
        reached = [(goal and goal.reached(self)) for goal in (self.must, self.aim)]
        if reached[1]:
            words.append("aim")
        elif reached[0]:
            words.append("reached")
        elif reached[0] is False:
            words.append("missed")
        expected = (self.must and self.must.times) or 1.0
        if self.ratio is not None and self.ratio < min(expected, 1.0):
            words.append(f"behind {self.peer}")
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Fields, and what follows from them."""
        derived = {"peer": self.peer, "ratio": self.ratio, "verdict": self.verdict}
        return {**asdict(self), **derived}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Row:
        """The row that `to_json` was made of."""
        kept = {name: fields[name] for name in cls.__dataclass_fields__}
        for name in ("must", "aim"):
            kept[name] = kept[name] and Goal(**kept[name])
        return cls(**{**kept, "aside": tuple(kept["aside"])})


@dataclass
class Table:
    """Rows that are measured alike: a name, what it shows in a sentence or two, and the unit to print.

    `sides` are the columns, in order.
    """

    name: str
    title: str
    caption: str
    unit: str
    sides: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    when: str = ""
    disturbed: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Fields, rows as theirs."""
        return {**asdict(self), "rows": [row.to_json() for row in self.rows]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Table:
        """The table that `to_json` was made of."""
        return cls(
            **{**fields, "sides": tuple(fields["sides"]), "rows": [Row.from_json(r) for r in fields["rows"]]}
        )
