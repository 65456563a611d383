"""One signature of one function: its trace, and what was compiled of it for a value, a gradient, or both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from gradc.api import backend
from gradc.api.backend import Observer, Options
from gradc.api.direct import direct_call
from gradc.api.program import VALUE, Output, Program, Template, template
from gradc.api.signature import BY_VALUE, float_bits, kind_of, native_leaf
from gradc.ir.graph import Graph
from gradc.runtime.entry_spec import MISS, Entry, LeafSpec, Structure
from gradc.trace import tree

if TYPE_CHECKING:
    from gradc.runtime.executable import Executable


def structure_of(shape: Any) -> Structure:
    """A tree of `Output`s as a native entry takes it, if it is made of tuples only; else `LookupError`."""
    if type(shape) is Output:
        return shape.number
    if type(shape) is tuple:
        return tuple([structure_of(part) for part in shape])
    if shape is None:
        return None
    raise LookupError


class Native:
    """Compiled code for one signature and mode, called with the traced leaves."""

    def __init__(self, executable: Executable, shape: Any) -> None:
        self.executable = executable
        self.shape = shape
        self.outputs = [
            LeafSpec(y.dtype, y.shape, "array" if y.shape else "scalar") for y in executable.outputs
        ]
        self.structure: Structure
        self.finish: Callable[[Any], Any] | None = None
        self.form: Template | None = None
        try:
            self.structure = structure_of(shape)
        except LookupError:
            self.structure = tuple(range(len(self.outputs)))
            self.form = form = template(shape)
            self.finish = form.treedef.unflatten if form.is_plain else form.fill
        self.entries: tuple[Entry, ...] = ()
        self._by_kinds: dict[tuple[str, ...], Entry] = {}
        self.direct: dict[Entry, Callable[..., Any] | None] = {}
        """For each entry, the function that takes the trees that its calls pass."""

    def __call__(self, leaves: Sequence[Any]) -> tuple[Any, Entry]:
        """The result for traced leaves of this signature, of any layout, and the entry that gave it."""
        for entry in self.entries:
            result = entry(*leaves)
            if result is not MISS:
                return (result if self.finish is None else self.finish(result)), entry
        kinds = tuple([kind_of(leaf) for leaf in leaves])
        entry = self._by_kinds.get(kinds) or self._entry(kinds)
        result = entry(*map(native_leaf, leaves, kinds))
        assert result is not MISS, "leaves that were made to fit do not fit"
        return (result if self.finish is None else self.finish(result)), entry

    def _entry(self, kinds: tuple[str, ...]) -> Entry:
        """An entry for leaves of these kinds: 0-d arrays and NumPy scalars share compiled code."""
        inputs = [
            LeafSpec(x.dtype, x.shape, cast(Any, kind))
            for x, kind in zip(self.executable.inputs, kinds, strict=True)
        ]
        entry = self.executable.entry(inputs, self.outputs, self.structure)
        self._by_kinds[kinds] = entry
        self.entries = (*self.entries, entry)
        return entry


class Specialization:
    """The program of one signature, and its native functions by mode. `positions`: the traced leaves.

    A `quick` one can tell whether leaves are its own: `accepts` compares the static ones and the floats that
    are known by value, the entry the types of all traced ones.
    """

    def __init__(
        self,
        program: Program,
        options: Options,
        treedef: tree.TreeDef,
        statics: list[tuple[int, Any]],
        known: list[tuple[int, float]],
    ) -> None:
        self.program = program
        self.options = options
        self.positions = [i for i, position in enumerate(program.inputs) if position is not None]
        self.treedef = treedef
        self.seconds = 0.0
        """How long the trace took."""
        self.quick = all(type(value) in BY_VALUE for _, value in statics)
        self.known = [(i, float_bits(value)) for i, value in known]
        """The Python floats that this signature has by their values, bit by bit."""
        # Other objects are not to be kept alive from here.
        self._statics = [(i, type(value), value) for i, value in statics] if self.quick else []
        self._all = len(self.positions) == len(program.inputs)
        self._lock = threading.RLock()
        self._natives: dict[str, Native] = {}
        self._stable: Graph | None = None

    def __getitem__(self, mode: str) -> Native:
        """The compiled code of a mode, made when it is first asked for."""
        native = self._natives.get(mode)
        if native is None:
            with self._lock:
                native = self._natives.get(mode)
                if native is None:
                    observer = backend.observe()
                    graph, shape = self.graph(mode, observer)
                    native = Native(backend.build(graph, self.options, observer), shape)
                    self._natives[mode] = native
        return native

    def changes(self, mode: str) -> bool:
        """Whether a call changes its arguments: one for the value alone, of a function that does."""
        return mode == VALUE and self.program.effects is not None

    def accepts(self, leaves: Sequence[Any]) -> bool:
        """Whether the static leaves and the known floats are those of this signature."""
        for i, cls, value in self._statics:
            leaf = leaves[i]
            if leaf is not value and (type(leaf) is not cls or leaf != value):
                return False
        for i, value in self.known:
            if type(leaves[i]) is not float or float_bits(leaves[i]) != value:
                return False
        return True

    def run(self, mode: str, leaves: Sequence[Any]) -> Any:
        """The result of a mode, if it is compiled and an entry takes the leaves as they are; else `MISS`."""
        native = self._natives.get(mode)
        if native is not None:
            given = leaves if self._all else [leaves[i] for i in self.positions]
            for entry in native.entries:
                result = entry(*given)
                if result is not MISS:
                    return result if native.finish is None else native.finish(result)
        return MISS

    def given(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """The leaves that are traced, of all leaves of a call."""
        return leaves if self._all else [leaves[i] for i in self.positions]

    def direct(self, native: Native, entry: Entry) -> Callable[..., Any] | None:
        """A function of this signature's positional arguments: the result by this entry, or `MISS`.

        None where it takes more than types, trees and small static values to tell whether a call is of this
        signature.
        """
        if not self.quick:
            return None
        if entry not in native.direct:
            accepts = self.accepts if self._statics or self.known else None
            native.direct[entry] = direct_call(
                self.treedef, entry, self.positions, accepts, native.form, len(native.outputs)
            )
        return native.direct[entry]

    def graph(self, mode: str, observer: Observer | None = None) -> tuple[Graph, Any]:
        """The graph of a mode, stabilized and with its gradients, and the tree that it returns."""
        if self._stable is None:
            if observer is not None:
                observer.stage("traced", self.program.whole, self.seconds)
            self._stable = backend.stabilize(self.program.whole, observer)
        start = time.perf_counter()
        graph, shape = self.program.build(mode, self._stable)
        if observer is not None:
            observer.stage("grad", graph, time.perf_counter() - start)
        return graph, shape
