"""One signature of one function: its trace, and what was compiled of it for a value, a gradient, or both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from gradc.api import backend
from gradc.api.backend import Observer, Options
from gradc.api.forms import form_of, structure_of
from gradc.api.program import VALUE, Program, Wanted, template
from gradc.api.signature import Parameters, kind_of, native_leaf
from gradc.ir.graph import Graph
from gradc.runtime.entry_spec import MISS, Entry, Form, LeafSpec
from gradc.trace import tree

if TYPE_CHECKING:
    from gradc.runtime.entry_plan import Plan
    from gradc.runtime.executable import Executable


class Native:
    """Compiled code for one signature and mode, called with the traced leaves."""

    def __init__(self, executable: Executable, shape: Any) -> None:
        self.executable = executable
        self.shape = shape
        self.outputs = [
            LeafSpec(y.dtype, y.shape, "array" if y.shape else "scalar") for y in executable.outputs
        ]
        self.structure = structure_of(template(shape))
        self.entries: tuple[Entry, ...] = ()
        self._by_kinds: dict[tuple[str, ...], Entry] = {}
        self._plans: dict[tuple[str, ...], Plan | None] = {}

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """The result for traced leaves of this signature, of any layout."""
        for entry in self.entries:
            result = entry(*leaves)
            if result is not MISS:
                return result
        kinds = tuple([kind_of(leaf) for leaf in leaves])
        entry = self._by_kinds.get(kinds)
        if entry is None:
            self._by_kinds[kinds] = entry = self.executable.entry(
                self._inputs(kinds), self.outputs, self.structure
            )
            self.entries = (*self.entries, entry)
        result = entry(*map(native_leaf, leaves, kinds))
        assert result is not MISS, "leaves that were made to fit do not fit"
        return result

    def _inputs(self, kinds: tuple[str, ...]) -> list[LeafSpec]:
        """Leaves of these kinds: 0-d arrays and NumPy scalars share compiled code."""
        return [
            LeafSpec(x.dtype, x.shape, cast(Any, kind))
            for x, kind in zip(self.executable.inputs, kinds, strict=True)
        ]

    def plan(self, leaves: Sequence[Any], form: Callable[[], Form | None]) -> Plan | None:
        """What a native function needs to take calls with leaves of these kinds in a form, if that can be."""
        kinds = tuple([kind_of(leaf) for leaf in leaves])
        if kinds not in self._plans:
            found = form()
            self._plans[kinds] = found and self.executable.plan(
                self._inputs(kinds), self.outputs, self.structure, found
            )
        return self._plans[kinds]


class Stages:
    """The graphs that lead from a traced one to those of its modes; what modes share is made once.

    `seconds` is how long the trace took.
    """

    def __init__(self, program: Program, seconds: float) -> None:
        self._program = program
        self._seconds = seconds
        self._stable: Graph | None = None

    def graph(self, wanted: Wanted, observer: Observer | None = None) -> Graph:
        """The graph that does what is wanted, stabilized before its gradient is taken."""
        if self._stable is None:
            if observer is not None:
                observer.stage("traced", self._program.whole, self._seconds)
            self._stable = backend.stabilize(self._program.whole, observer)
        start = time.perf_counter()
        graph = self._program.build(wanted, self._stable)
        if observer is not None:
            observer.stage("grad", graph, time.perf_counter() - start)
        return graph


class Specialization:
    """The program of one signature, and its native functions by mode. `positions`: the traced leaves.

    `valued`: the leaves whose values belong to the signature, besides the static ones.
    """

    def __init__(
        self,
        program: Program,
        options: Options,
        treedef: tree.TreeDef,
        valued: Sequence[int],
        seconds: float = 0.0,
    ) -> None:
        self.program = program
        self._stages = Stages(program, seconds)
        self.options = options
        self.positions = [i for i, position in enumerate(program.inputs) if position is not None]
        self.treedef = treedef
        self.valued = frozenset(valued)
        self._all = len(self.positions) == len(program.inputs)
        self._lock = threading.RLock()
        self._natives: dict[str, Native] = {}

    def __getitem__(self, mode: str) -> Native:
        """The compiled code of a mode, made when it is first asked for."""
        native = self._natives.get(mode)
        if native is None:
            with self._lock:
                native = self._natives.get(mode)
                if native is None:
                    wanted = self.program.wanted(mode)
                    observer, stages = backend.observe(), self._stages
                    executable = backend.build(
                        self.program.whole,
                        self.options,
                        observer,
                        derive=lambda observer: stages.graph(wanted, observer),
                        recipe=repr(wanted.gradient),
                    )
                    native = self._natives[mode] = Native(executable, wanted.shape)
        return native

    def changes(self, mode: str) -> bool:
        """Whether a call changes its arguments: one for the value alone, of a function that does."""
        return mode == VALUE and self.program.effects is not None

    def given(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """The leaves that are traced, of all leaves of a call."""
        return leaves if self._all else [leaves[i] for i in self.positions]

    def plan(self, mode: str, parameters: Parameters, leaves: Sequence[Any]) -> Plan | None:
        """What a native function needs to take calls like one with these leaves, if it can."""

        def form() -> Form | None:
            of_leaves = zip(self.program.inputs, leaves, strict=True)
            described = [(at, leaf, i in self.valued) for i, (at, leaf) in enumerate(of_leaves)]
            return form_of(parameters, self.treedef, described)

        return self[mode].plan(self.given(leaves), form)

    def graph(self, mode: str) -> Graph:
        """The graph of a mode, stabilized and with its gradients."""
        return self._stages.graph(self.program.wanted(mode))
