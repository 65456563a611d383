"""An array that was written into, as the pieces it is made of: joined only where the whole is needed.

A loop such as `for i in range(n): out[i] = f(out[i - 1])` puts one piece after the other, and reading
`out[i - 1]` gives the piece itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, NamedTuple

from gradc.ir import OPS, Builder, Type, Value

Ints = tuple[int, ...]


class Part(NamedTuple):
    """A block of a value: the `sizes` elements from `starts` on."""

    base: Value
    starts: Ints
    sizes: Ints


class Pieces:
    """Pieces side by side along an axis; `ends[i]` is where piece i ends."""

    __slots__ = ("axis", "ends", "parts", "type")

    def __init__(self, type: Type, axis: int, parts: list[Piece]) -> None:
        self.type = type
        self.axis = axis
        self.parts = [p for p in parts if sizes_of(p)[axis]]
        self.ends: list[int] = []
        end = 0
        for part in self.parts:
            end += sizes_of(part)[axis]
            self.ends.append(end)

    def overlap(self, start: int, stop: int) -> tuple[int, int]:
        """The pieces i to j (exclusive) in which the positions from `start` to `stop` lie."""
        return bisect_right(self.ends, start), bisect_left(self.ends, stop) + 1

    def begin(self, i: int) -> int:
        """Where piece i begins."""
        return self.ends[i - 1] if i else 0


Piece = Value | Part | Pieces


def sizes_of(piece: Piece) -> Ints:
    return piece.sizes if type(piece) is Part else piece.type.shape  # type: ignore[union-attr]


def taken(piece: Piece, starts: Ints, sizes: Ints) -> Piece:
    """A block of a piece."""
    if sizes == sizes_of(piece):
        return piece
    if isinstance(piece, Value):
        return Part(piece, starts, sizes)
    if isinstance(piece, Part):
        return Part(piece.base, tuple(a + b for a, b in zip(piece.starts, starts, strict=True)), sizes)
    axis = piece.axis
    start, stop = starts[axis], starts[axis] + sizes[axis]
    i, j = piece.overlap(start, stop)
    found = []
    for k in range(i, j):
        begin = piece.begin(k)
        low, high = max(start, begin), min(stop, piece.ends[k])
        found.append(taken(piece.parts[k], _with(starts, axis, low - begin), _with(sizes, axis, high - low)))
    return found[0] if len(found) == 1 else Pieces(piece.type.with_shape(sizes), axis, found)


def put(piece: Piece, starts: Ints, value: Value, builder: Builder) -> Value | Pieces:
    """The piece with a block of it, from `starts` on, replaced. `Pieces` are changed in place."""
    whole, sizes = sizes_of(piece), value.shape
    if whole == sizes:
        return value
    if not isinstance(piece, Pieces):
        axis = next(i for i, (n, m) in enumerate(zip(whole, sizes, strict=True)) if n != m)
        start, stop = starts[axis], starts[axis] + sizes[axis]
        cut = [
            taken(piece, _only(whole, axis, a), _with(whole, axis, b - a))
            for a, b in ((0, start), (start, stop), (stop, whole[axis]))
        ]
        cut[1] = put(cut[1], _with(starts, axis, 0), value, builder)
        return Pieces(value.type.with_shape(whole), axis, cut)
    axis = piece.axis
    start, stop = starts[axis], starts[axis] + sizes[axis]
    i, j = piece.overlap(start, stop)
    begin, end = piece.begin(i), piece.ends[j - 1]
    if j - i == 1:
        touched = piece.parts[i]
    elif _with(whole, axis, 0) == _with(sizes, axis, 0):
        # The pieces in between vanish: nothing of them needs to be joined.
        left, right = piece.parts[i], piece.parts[j - 1]
        last = piece.begin(j - 1)
        new = [
            taken(left, _only(whole, axis, 0), _with(whole, axis, start - begin)),
            value,
            taken(right, _only(whole, axis, stop - last), _with(whole, axis, end - stop)),
        ]
        return _replaced(piece, i, j, new)
    else:
        between = taken(piece, _only(whole, axis, begin), _with(whole, axis, end - begin))
        touched = joined(between, builder)
    done = put(touched, _with(starts, axis, start - begin), value, builder)
    flat = isinstance(done, Pieces) and done.axis == axis
    return _replaced(piece, i, j, done.parts if flat else [done])  # type: ignore[union-attr]


def _replaced(pieces: Pieces, i: int, j: int, new: list[Piece]) -> Pieces:
    """Put `new` in place of the pieces i to j (exclusive)."""
    new = [p for p in new if sizes_of(p)[pieces.axis]]
    end, ends = pieces.begin(i), []
    for part in new:
        end += sizes_of(part)[pieces.axis]
        ends.append(end)
    pieces.parts[i:j], pieces.ends[i:j] = new, ends
    return pieces


def joined(piece: Piece, builder: Builder) -> Value:
    """The piece as one value."""
    if isinstance(piece, Value):
        return piece
    if isinstance(piece, Part):
        ones = (1,) * len(piece.sizes)
        return emit_in(builder, "slice", piece.base, starts=piece.starts, sizes=piece.sizes, steps=ones)
    parts = [joined(p, builder) for p in _merged(piece)]
    return parts[0] if len(parts) == 1 else emit_in(builder, "concat", *parts, axis=piece.axis)


def _merged(pieces: Pieces) -> list[Piece]:
    """The pieces, neighbours that are neighbours in one value too taken as one."""
    axis, parts = pieces.axis, list[Piece]()
    for p in pieces.parts:
        q = parts[-1] if parts else None
        if (
            type(p) is Part
            and type(q) is Part
            and p.base is q.base
            and _with(q.starts, axis, q.starts[axis] + q.sizes[axis]) == p.starts
        ):
            parts[-1] = Part(q.base, q.starts, _with(q.sizes, axis, q.sizes[axis] + p.sizes[axis]))
        else:
            parts.append(p)
    return parts


def emit_in(builder: Builder, op: str, *inputs: Value, **attrs: Any) -> Value:
    """Emit into `builder`, which need not be the innermost."""
    return builder.emit(OPS[op], inputs, attrs).result


def _with(sizes: Ints, axis: int, size: int) -> Ints:
    return (*sizes[:axis], size, *sizes[axis + 1 :])


def _only(shape: Ints, axis: int, start: int) -> Ints:
    return tuple(start if i == axis else 0 for i in range(len(shape)))
