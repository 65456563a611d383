"""Views: a chain of ops that move elements, as one affine reading of the value it begins with.

Each axis of a view is a list of atoms, the digits of its index from the first to the last: an atom walks
along one axis of the root by a step, or along none (it repeats). Reshapes split and join atoms where sizes
allow; what cannot be said this way is the root of a new view.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from gradc.ir import Node, Value, emit

Ints = tuple[int, ...]


class Atom(NamedTuple):
    """`size` positions, a step apart along an axis of the root; no axis: they are all the same element."""

    size: int
    axis: int | None
    step: int

    def split(self, outer: int) -> tuple[Atom, Atom]:
        """The same positions as two digits, the first of this size."""
        inner = self.size // outer
        return Atom(outer, self.axis, self.step * inner), Atom(inner, self.axis, self.step)


Atoms = tuple[Atom, ...]


class View(NamedTuple):
    """Where the first element lies in the root, and the atoms of every axis (axes of size 1 have none)."""

    root: Value
    starts: Ints
    axes: tuple[Atoms, ...]


def view_of(value: Value) -> View:
    """The view that a value is."""
    chain: list[Node] = []
    x = value
    while x.node is not None and x.node.op.name in STEPS:
        chain.append(x.node)
        (x,) = x.node.inputs
    view = whole(x)
    for node in reversed(chain):
        view = STEPS[node.op.name](view, node) or whole(node.result)
    return view


def whole(x: Value) -> View:
    """The value itself."""
    axes = tuple((Atom(n, a, 1),) if n != 1 else () for a, n in enumerate(x.shape))
    return View(x, (0,) * len(axes), axes)


def _transpose(view: View, node: Node) -> View:
    return view._replace(axes=tuple(view.axes[a] for a in node.attrs["axes"]))


def _broadcast(view: View, node: Node) -> View:
    kept = dict(zip(node.attrs["axes"], view.axes, strict=True))
    new = [kept.get(i, (Atom(n, None, 0),) if n != 1 else ()) for i, n in enumerate(node.attrs["shape"])]
    return view._replace(axes=tuple(new))


def _reshape(view: View, node: Node) -> View | None:
    queue = [atom for atoms in view.axes for atom in atoms]
    axes: list[Atoms] = []
    for n in node.attrs["shape"]:
        group: list[Atom] = []
        while n > 1:
            if not queue:
                return None
            atom = queue.pop(0)
            if n % atom.size and atom.size % n:
                return None
            if atom.size > n:
                atom, rest = atom.split(n)
                queue.insert(0, rest)
            group.append(atom)
            n //= atom.size
        axes.append(tuple(group))
    return view._replace(axes=tuple(axes))


def _slice(view: View, node: Node) -> View | None:
    attrs = node.attrs
    return _read(view, node.types[0].shape, tuple(range(len(view.axes))), attrs["starts"], attrs["steps"])


def _windows(view: View, node: Node) -> View | None:
    attrs = node.attrs
    return _read(view, node.types[0].shape, attrs["axes"], attrs["starts"], attrs["steps"])


def _read(view: View, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> View | None:
    """A reading of the view: each axis of it is read as a whole, or has one atom that others walk along."""
    begin = list(view.starts)
    found: list[Atoms] = [()] * len(shape)
    for a, atoms in enumerate(view.axes):
        walks = [r for r in range(len(shape)) if axes[r] == a and shape[r] != 1]
        if (
            len(walks) == 1
            and (starts[a], steps[walks[0]]) == (0, 1)
            and shape[walks[0]] == prod(atom.size for atom in atoms)
        ):
            found[walks[0]] = atoms
            continue
        if not walks:  # one position
            rest = starts[a]
            for atom in reversed(atoms):
                rest, digit = divmod(rest, atom.size)
                if atom.axis is not None:
                    begin[atom.axis] += digit * atom.step
            continue
        if len(atoms) > 1:
            return None
        atom = atoms[0] if atoms else Atom(1, None, 0)
        if atom.axis is not None:
            begin[atom.axis] += starts[a] * atom.step
        for r in walks:
            found[r] = (Atom(shape[r], atom.axis, atom.step * steps[r]),)
    return View(view.root, tuple(begin), tuple(found))


STEPS = {
    "transpose": _transpose,
    "broadcast": _broadcast,
    "reshape": _reshape,
    "slice": _slice,
    "windows": _windows,
}


def refined(a: Sequence[Atom], b: Sequence[Atom]) -> list[tuple[Atom, Atom]] | None:
    """Two lists of atoms for the same index, split until they fit; None if their sizes do not allow it."""
    left, right, pairs = list(a), list(b), list[tuple[Atom, Atom]]()
    while left and right:
        x, y = left.pop(0), right.pop(0)
        if x.size % y.size and y.size % x.size:
            return None
        if x.size > y.size:
            x, rest = x.split(y.size)
            left.insert(0, rest)
        elif y.size > x.size:
            y, rest = y.split(x.size)
            right.insert(0, rest)
        pairs.append((x, y))
    return None if left or right else pairs


def overlapping(view: View) -> bool:
    """Do several atoms walk along one axis, other than as the digits of its index?"""
    atoms = [atom for group in view.axes for atom in group]
    return any(
        len(walks := [atom for atom in atoms if atom.axis == a]) > 1 and _digits(walks, n, start) is None
        for a, (n, start) in enumerate(zip(view.root.shape, view.starts, strict=True))
    )


def moved(view: View) -> bool:
    """Are the elements elsewhere than in one piece of memory, matrix by matrix, each perhaps transposed?"""
    return not (_contiguous(view) or _contiguous(_swapped(view)))


def _swapped(view: View) -> View:
    return view._replace(axes=(*view.axes[:-2], view.axes[-1], view.axes[-2]))


def _contiguous(view: View) -> bool:
    """Do the atoms, in order, walk over all of the root's elements as they lie in memory?"""
    step = 1
    for atom in reversed([atom for atoms in view.axes for atom in atoms]):
        if atom.axis is None or atom.step * prod(view.root.shape[atom.axis + 1 :]) != step:
            return False
        step *= atom.size
    return step == prod(view.root.shape)


def _digits(walks: Sequence[Atom], size: int, start: int) -> list[Atom] | None:
    """The atoms from the first digit to the last, if they are the digits of an axis' index."""
    order = sorted(walks, key=lambda atom: -atom.step)
    step = size
    for atom in order:
        if atom.step * atom.size != step:
            return None
        step = atom.step
    return order if step == 1 and start == 0 else None


def read_atoms(root: Value, starts: Ints, atoms: Sequence[Atom]) -> Value:
    """Emit the array whose axes are these atoms, which all walk along an axis of the root.

    What can be said by reshape, slice and transpose is said so, and `windows` only reads what overlaps.
    """
    shape: list[int] = []
    begin: list[int] = []
    place: dict[int, tuple[int, int]] = {}  # by atom: the axis of the reshaped root, and the step
    for a, n in enumerate(root.shape):
        if n == 1:
            continue
        walks = [i for i, atom in enumerate(atoms) if atom.axis == a]
        digits = _digits([atoms[i] for i in walks], n, starts[a]) if len(walks) > 1 else None
        if digits is None:
            place.update({i: (len(shape), atoms[i].step) for i in walks})
            shape.append(n)
            begin.append(starts[a])
            continue
        for atom in digits:
            i = next(i for i in walks if atoms[i] is atom and i not in place)
            place[i] = (len(shape), 1)
            shape.append(atom.size)
            begin.append(0)
    x = root if tuple(shape) == root.shape else emit("reshape", root, shape=tuple(shape))
    axes = tuple(place[i][0] for i in range(len(atoms)))
    steps = tuple(place[i][1] for i in range(len(atoms)))
    sizes = tuple(atom.size for atom in atoms)
    once = sorted(axes) == list(range(len(shape))) and sizes == tuple(shape[a] for a in axes)
    if once and not any(begin) and all(step == 1 for step in steps):
        return x if axes == tuple(range(len(axes))) else emit("transpose", x, axes=axes)
    return emit("windows", x, shape=sizes, axes=axes, starts=tuple(begin), steps=steps)
