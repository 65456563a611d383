"""Compiling without running: the stages of one signature as graphs and texts, and a way to call it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.api import backend
from gradc.api.backend import GRAPH_STAGES, STAGES
from gradc.api.changes import call_and_change
from gradc.api.frames import caller, public
from gradc.api.function import Function
from gradc.api.program import MODES, VALUE, VALUE_AND_GRAD, Output, template
from gradc.api.signature import kind_of, native_leaf
from gradc.api.specialize import Specialization
from gradc.ir.errors import ArgumentError
from gradc.ir.graph import Graph
from gradc.ir.types import Type, parse_type
from gradc.trace import tree

if TYPE_CHECKING:
    from gradc.codegen.listing import Kernels

TYPE = re.compile(r"\s*\w+\s*\[[\d\s,]*\]\s*")

tree.leaf_type(Type)


def sample(leaf: Any) -> Any:
    """An array of the type that a leaf such as "f32[64, 10]" gives; any other leaf itself."""
    if isinstance(leaf, str) and TYPE.fullmatch(leaf):
        leaf = parse_type(leaf)
    if isinstance(leaf, Type):
        # Nobody reads its elements: one for all of them.
        return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
    return leaf


class Lowered:
    """One signature of a function, compiled as far as is asked for.

    `of` is what it computes: "value", "grad" or "value_and_grad".
    """

    def __init__(self, function: Function, special: Specialization, of: str) -> None:
        self._function = function
        self._special = special
        self.of = of

    def graph(self, stage: str = "optimized") -> Graph:
        """The graph at a stage: "traced", "grad", "optimized", "fused" or "planned"."""
        _check(stage, GRAPH_STAGES)
        if stage == "traced":
            program = self._special.program
            return program.whole if self.of == VALUE else program.graph
        graph = self._special.graph(self.of)
        return backend.run_stages(graph, self._special.options, stage)

    def dump(self, stage: str = "optimized") -> str:
        """The text of a stage: one of those of `graph`, or "kernels", "loops", "llvm", "asm"."""
        _check(stage, STAGES)
        if stage in GRAPH_STAGES:
            return str(self.graph(stage))
        if stage == "kernels":
            return str(self.kernels)
        return self._special[self.of].executable.dump(stage)

    @property
    def memory(self) -> int:
        """The planned workspace, in bytes, without arguments and results."""
        return self._special[self.of].executable.memory

    @property
    def kernels(self) -> Kernels:
        """What runs, in order, and what was fused into it; prints as a table.

        A row (`gradc.codegen.listing.Kernel`) has the ops of a kernel, the space it goes over, the matrix
        product that they follow, what it reads and writes by name and type, the user's lines, and how
        threads share it. Results are called `value` and `grad(params.W)`, other values as in
        `graph("planned")`. It is made anew whenever it is asked for, by generating the code again.
        """
        return self._special[self.of].executable.kernels(self._special.program.output_names(self.of))

    @property
    def address(self) -> int:
        """Where the C function lies, `void f(void **in, void **out, char *arena, void *context)`.

        `in`: the inputs of `graph("planned")`, then `constants`; `out`: its outputs; all C-contiguous.
        `arena`: `memory` bytes from a multiple of 64. `context`: 64 bytes, zero; the first eight are an int64
        status after the call: not zero if an index was out of bounds. It may be called without the GIL, and
        by several threads at once with arenas, contexts and outputs of their own. The code lives as long as
        this object or the function does. `c_function` has plainer signatures; docs/c.md shows both in use.
        """
        return self._special[self.of].executable.address

    @public
    def c_function(self, signature: str) -> Any:
        """A C function with a signature of its own, for those that call one with plain numbers: SciPy's
        `LowLevelCallable`, `ctypes`, `cffi` and C itself. Like `address` it needs neither Python nor the GIL.

        `"double (double, double)"`: numbers by value are the inputs in order. `"double (int, double *)"`,
        `"int (double *, intptr_t, double *, void *)"`: where there are none, the first pointer is to all
        inputs, their elements one after another, and the next one to all outputs, unless the function
        returns the one there is. Integers by value are counts and `void *` is the caller's own: not looked
        at. What fails (an index out of bounds, no memory) returns NaN; an `int` function returns 1, 0 then.

        Types are double, float, int, long, int64_t, intptr_t, npy_intp and pointers to them. The result is a
        function of `ctypes`, which keeps the code alive; `ctypes.cast(it, ctypes.c_void_p).value` is its
        address. Errors: `ArgumentError` for a signature that does not fit: `lower(..., of="value")` computes
        the value alone.
        """
        from gradc.runtime.c_function import c_function

        try:
            return c_function(self._special[self.of].executable, signature)
        except ValueError as error:
            raise ArgumentError(
                f"c_function({signature!r}): {error}",
                caller(),
                "a signature for these, or lower(..., of='value')" if self.of != VALUE else None,
            ) from None

    @property
    def constants(self) -> tuple[np.ndarray, ...]:
        """The captured arrays that the C function takes after the inputs."""
        return self._special[self.of].executable.constants

    @public
    def run(self, /, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run on arguments of this signature.

        `out` has the tree of the result, with a C-contiguous array for each number and array that is
        computed: the results are written there, and those arrays returned. Other leaves of `out` are not
        looked at. Errors: `ArgumentError` if arguments or `out` do not fit.
        """
        special, leaves = self._function.specialize(args, kwargs)
        if special is not self._special:
            raise ArgumentError(
                "these arguments have another signature than those that were lowered",
                caller(),
                "pass arrays of the same shapes and dtypes, or lower the function for these",
            )
        if special.changes(self.of):
            if out is not None:
                raise ArgumentError(
                    "a function that changes its arguments has no out", caller(), "run(*args) without it"
                )
            return call_and_change(special, self._function.parameters.bind(args, kwargs), leaves)
        native = special[self.of]
        given = special.given(leaves)
        if out is None:
            return native(given)
        shape = template(native.shape)
        targets = self._targets(shape.leaves, tree.flatten(out), shape.treedef)
        arrays = [np.asarray(native_leaf(leaf, kind_of(leaf))) for leaf in given]
        if any(np.may_share_memory(x, y) for x in arrays for y in targets):
            raise ArgumentError(
                "an array in out shares memory with an argument",
                caller(),
                "arrays of their own for the results",
            )
        native.executable.run(arrays, out=targets)
        return shape.fill(targets)

    def _targets(
        self, leaves: list[Any], out: tuple[list[Any], tree.TreeDef], treedef: tree.TreeDef
    ) -> Sequence[np.ndarray]:
        """The arrays of `out` in the order of the graph's outputs."""
        given, given_treedef = out
        if given_treedef != treedef:
            raise ArgumentError(
                f"out has the tree {given_treedef}, the result has {treedef}", caller(), "pass a tree like it"
            )
        outputs = self._special[self.of].outputs
        targets: dict[int, np.ndarray] = {}
        for leaf, array in zip(leaves, given, strict=True):
            if not isinstance(leaf, Output):
                continue
            spec = outputs[leaf.number]
            wanted = f"{Type(spec.dtype, spec.shape)}"
            if type(array) is not np.ndarray or array.dtype != spec.dtype or array.shape != spec.shape:
                found = (
                    f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else repr(array)[:40]
                )
                raise ArgumentError(
                    f"out holds {found} where the result has {wanted}",
                    caller(),
                    f"np.empty({spec.shape}, np.{spec.dtype})",
                )
            flags = array.flags
            if not (flags.c_contiguous and flags.aligned and flags.writeable):
                raise ArgumentError(
                    f"out holds an array ({wanted}) that is not C-contiguous, aligned and writeable",
                    caller(),
                    f"np.empty({spec.shape}, np.{spec.dtype})",
                )
            if any(np.may_share_memory(array, other) for other in targets.values()):
                raise ArgumentError("arrays in out share memory", caller(), "one array for each result")
            targets[leaf.number] = array
        return [targets[i] for i in range(len(outputs))]


def lower(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], of: str | None = None
) -> Lowered:
    """The lowering of a function for arguments or types of arguments; `of` as in `Compiled.dump`."""
    if of is not None and of not in MODES:
        raise ArgumentError(f"of={of!r} is not one of {', '.join(map(repr, MODES))}", caller(), "of='value'")
    args, kwargs = tree.map(sample, (args, kwargs))
    special, _ = function.specialize(args, kwargs)
    if of is None:
        of = VALUE_AND_GRAD if special.program.is_differentiable() else VALUE
    elif of != VALUE:
        special.graph(of)  # its errors come now
    return Lowered(function, special, of)


def _check(stage: str, stages: Sequence[str]) -> None:
    if stage not in stages:
        raise ArgumentError(f"stage={stage!r} is not one of {', '.join(map(repr, stages))}", caller(), None)
