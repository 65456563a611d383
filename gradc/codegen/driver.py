"""The functions that run planned graphs: for each node, pointers to its places, and a call.

They have the C signature `void f(void **in, void **out, char *arena, void *context)`: `in` holds the graph's
inputs and then the captured arrays, `arena` is workspace. The context's first field is a status, set to the
number of a message if a check fails; the second is a function that does the chunks of kernels, or null, the
third how many threads may help it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gradc.codegen.binary import ENTRY, Binary, Message, Room, bytes_of
from gradc.codegen.factor import WRITERS as FACTORIZATIONS
from gradc.codegen.factor import Routine, factorization
from gradc.codegen.jit import Clock, object_codes, workers
from gradc.codegen.listing import Step
from gradc.codegen.loops import KernelCode
from gradc.codegen.module import CHUNK_PARAMETERS, IN_TURN, PARALLEL, Module
from gradc.codegen.products import product_alone, product_and_more
from gradc.codegen.sorting import Sorting, sorting
from gradc.codegen.target import Target
from gradc.codegen.tiles import overlaps, product_of
from gradc.codegen.triangular import triangular_solve
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.types import ALIGNMENT, round_up

STRAIGHT = 64
"""Graphs of so many nodes are written call by call; longer ones as a table of steps."""

PARAMETERS = "ptr %in, ptr %out, ptr %arena, ptr %context"

MANY = 24
"""From so many pointers on they are fetched by a loop: LLVM's time grows with the square of their number."""

BASES = "in", "out", "arena"
"""What places are counted from, by number."""

PLACES = "gradc.places"
PLACES_TEXT = f"""define internal void @gradc.places(ptr %to, i64 %n, ptr %words, {PARAMETERS}) #1 {{
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %store ]
  %kind.number = mul i64 %i, 2
  %kind.at = getelementptr i64, ptr %words, i64 %kind.number
  %kind = load i64, ptr %kind.at, align 8
  %number.at = getelementptr i64, ptr %kind.at, i64 1
  %number = load i64, ptr %number.at, align 8
  %is.arena = icmp eq i64 %kind, 2
  br i1 %is.arena, label %inside, label %given
inside:
  %byte = getelementptr i8, ptr %arena, i64 %number
  br label %store
given:
  %is.in = icmp eq i64 %kind, 0
  %base = select i1 %is.in, ptr %in, ptr %out
  %slot = getelementptr ptr, ptr %base, i64 %number
  %known = load ptr, ptr %slot, align 8
  br label %store
store:
  %pointer = phi ptr [ %byte, %inside ], [ %known, %given ]
  %to.at = getelementptr ptr, ptr %to, i64 %i
  store ptr %pointer, ptr %to.at, align 8
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %each, label %out.of
out.of:
  ret void
}}"""
"""Fill an array with `n` pointers: `words` has two for each, a base and a number there."""


CUBIC = frozenset({"matmul", "triangular_solve", *FACTORIZATIONS})
"""Ops that do as many operations for each element as their first operand has columns, or more."""


class Generated(NamedTuple):
    """What code generation gives: a module, its kernels, what its text alone does not tell."""

    module: Module
    kernels: dict[str, KernelCode]
    rooms: tuple[Room, ...]
    messages: tuple[Message, ...]
    steps: tuple[Step, ...]
    is_parallel: bool


def generate(graph: Graph, target: Target) -> Generated:
    """LLVM text of a planned graph."""
    module = Module(target)
    steps: list[Step] = []
    rooms = Driver(module, graph, ENTRY, steps).write("")
    return Generated(module, module.kernels, rooms, tuple(module.messages), tuple(steps), module.is_parallel)


def compiled(graph: Graph, target: Target, clock: Clock | None = None) -> Binary:
    """Object code of a planned graph, and what it takes to run it; a clock is told the time of each step."""
    start = time.perf_counter()
    made = generate(graph, target)
    texts = made.module.texts(workers())
    if clock is not None:
        clock("loops and text", time.perf_counter() - start)
    places = [y.node.places[y.index] if y.node and y.node.places else None for y in graph.outputs]
    return Binary(
        object_codes(texts, target, clock),
        made.rooms,
        made.messages,
        tuple([x.type for x in graph.inputs]),
        tuple([y.type for y in graph.outputs]),
        tuple([node.attrs["name"] for node in graph.nodes if node.op.name == "captured"]),
        tuple([place.number if place and place.where == "in" else None for place in places]),
        made.is_parallel,
        work(graph),
    )


def work(graph: Graph) -> int:
    """Bytes moved and operations done, roughly: enough to tell short calls from long ones."""
    total = 0
    for node in graph.walk():
        sizes = [v.type.size for v in (*node.inputs, *node.results)]
        total += sum(sizes) * (node.inputs[0].shape[-1] if node.op.name in CUBIC else 1)
    return total


class Driver:
    """Writes the function that runs a planned graph: for each node, pointers to its places, and a call.

    A long one goes through a table instead: nodes that differ in their places only share the code of a step,
    so that what LLVM has to do grows with the number of different steps. What one of several threads does is
    not shared again: it `is_alone`.
    """

    def __init__(
        self,
        module: Module,
        graph: Graph,
        symbol: str,
        log: list[Step],
        parent: Step | None = None,
        *,
        is_alone: bool = False,
    ) -> None:
        self.module = module
        self.graph = graph
        self.number = {x: i for i, x in enumerate(graph.inputs)}
        self.symbol = symbol
        self.log = log
        """What runs, in order: the steps of nested graphs in place of those that hold them."""
        self.parent = parent
        self.used = set(graph.outputs).union(*[node.inputs for node in graph.nodes])
        self.lines: list[str] = []
        self.pointers: dict[tuple[str, int], str] = {}
        self.waiting: dict[str, tuple[str, int]] = {}
        """Pointers that are not fetched yet, and their places."""
        self.row: list[int] | None = None
        """In a table: the places of the node."""
        self.counter = 0
        self.workspace = round_up(graph.arena or 0)  # scratch begins here
        self.rooms: set[Room] = set()
        self.is_alone = is_alone

    def write(self, linkage: str = "internal ") -> tuple[Room, ...]:
        """Add the function to the module; the room it needs, scratch included."""
        if len(self.graph.nodes) > STRAIGHT:
            self.table()
        else:
            for node in self.graph.nodes:
                self.node(node)
        self.define(self.symbol, PARAMETERS, linkage)
        return tuple(sorted(self.needs()))

    def needs(self) -> set[Room]:
        """The room for the arena, and for the scratch behind it."""
        behind = {Room(self.workspace + room.fixed, room.each, room.most) for room in self.rooms}
        return behind or {Room(self.workspace, 0, 0)}

    def define(self, symbol: str, parameters: str, linkage: str = "internal ") -> None:
        """Make a function of the lines so far."""
        head = f"define {linkage}void @{symbol}({parameters}) #1 {{"
        self.module.functions[symbol] = "\n".join([head, "entry:", *self.lines, "  ret void", "}"])
        self.module.graphs[symbol] = None
        self.lines = []

    def table(self) -> None:
        """Write a loop over the rows of the table of steps."""
        name, widths, _ = self.steps()
        cases = _cases(widths)
        self.lines = [
            "  %at = alloca ptr, align 8",
            f"  store ptr @{name}, ptr %at, align 8",
            "  br label %next",
            "next:",
            "  %row = load ptr, ptr %at, align 8",
            "  %step = load i64, ptr %row, align 8",
            f"  switch i64 %step, label %done [ {cases} ]",
        ]
        for k, width in enumerate(widths):
            self.lines += [
                f"step{k}:",
                f"  call void @{self.symbol}.step{k}(ptr %row, {PARAMETERS})",
                f"  %after{k} = getelementptr i64, ptr %row, i64 {width}",
                f"  store ptr %after{k}, ptr %at, align 8",
                "  br label %next",
            ]
        self.lines.append("done:")

    def steps(self) -> tuple[str, list[int], list[int]]:
        """Add a function for each kind of node, and a table of the numbers of steps and their places.

        The table's name, the words in a row of each kind, and where the rows begin.
        """
        steps: dict[str, int] = {}
        widths: list[int] = []
        words: list[int] = []
        starts: list[int] = []
        for node in self.graph.nodes:
            self.row, self.counter = [], 0
            self.node(node)
            if not self.lines:
                continue
            text = "\n".join(self.lines)
            if text not in steps:
                steps[text] = len(steps)
                widths.append(1 + len(self.row))
                self.define(f"{self.symbol}.step{steps[text]}", f"ptr %row, {PARAMETERS}")
            starts.append(len(words))
            words += [steps[text], *self.row]
            self.lines = []
        self.row = None
        name = f"{self.symbol}.table"
        self.module.tables[name] = [*words, len(steps)]
        return name, widths, starts

    def place(self, where: str, number: int) -> str:
        """The pointer to a place, which each node that needs it has to fetch."""
        if where == "captured":
            where, number = "in", len(self.graph.inputs) + number
        if (where, number) not in self.pointers:
            name = self.fresh(f"%{where}{'' if self.row is not None else number}.")
            self.pointers[where, number] = name
            self.waiting[name] = where, number
        return self.pointers[where, number]

    def fetch(self, pointers: Iterable[str]) -> None:
        """Write how the pointers come about, unless that is done or they are no places."""
        for name in pointers:
            if name not in self.waiting:
                continue
            where, number = self.waiting.pop(name)
            at = str(number)
            if self.row is not None:
                self.row.append(number)
                at = f"{name}.number"
                self.lines.append(f"  {at}.at = getelementptr i64, ptr %row, i64 {len(self.row)}")
                self.lines.append(f"  {at} = load i64, ptr {at}.at, align 8")
            if where == "arena":
                self.lines.append(f"  {name} = getelementptr i8, ptr %arena, i64 {at}")
            else:
                self.lines.append(f"  {name}.slot = getelementptr ptr, ptr %{where}, i64 {at}")
                self.lines.append(f"  {name} = load ptr, ptr {name}.slot, align 8")

    def array(self, stem: str, pointers: Sequence[str]) -> str:
        """Memory with pointers side by side; many are fetched by a loop."""
        array = self.fresh(stem)
        self.lines.append(f"  {array} = alloca ptr, i64 {max(len(pointers), 1)}, align 8")
        if len(pointers) > MANY and all(pointer in self.waiting for pointer in pointers):
            words = [word for p in pointers for word in (BASES.index(self.waiting[p][0]), self.waiting[p][1])]
            name = f"{self.symbol}.places{len(self.module.tables)}"
            self.module.tables[name] = words
            self.module.functions.setdefault(PLACES, PLACES_TEXT)
            self.module.graphs[PLACES] = None
            given = f"ptr {array}, i64 {len(pointers)}, ptr @{name}, {PARAMETERS}"
            self.lines.append(f"  call void @{PLACES}({given})")
            return array
        self.fetch(pointers)
        for i, pointer in enumerate(pointers):
            self.lines.append(f"  {array}.{i} = getelementptr ptr, ptr {array}, i64 {i}")
            self.lines.append(f"  store ptr {pointer}, ptr {array}.{i}, align 8")
        return array

    def pointer(self, value: Value) -> str:
        if value.node is None:
            return self.place("in", self.number[value])
        assert value.node.places is not None
        return self.place(*value.node.places[value.index])

    def node(self, node: Node) -> None:
        name = node.op.name
        if name in ("reshape", "captured"):
            return
        self.pointers, self.waiting = {}, {}
        self.step = Step(node, self.graph, self.parent)
        if not node.graphs or name == "fuse":
            self.log.append(self.step)
        inputs, outputs = [self.pointer(x) for x in node.inputs], [self.pointer(y) for y in node.results]
        if name == "fuse" and node.attrs["body"].nodes[-1].op.name == "contract":
            symbol, made, operands = self.module.contraction(node.attrs["body"])
            pointers = [*(inputs[i] for i in operands), *outputs, self.scratch_pointer(made.scratch)]
            if made.parts == 1:
                self.call(symbol, pointers)
            else:
                if made.before:
                    self.call(made.before, pointers)
                self.in_chunks(symbol, symbol, pointers, made.parts)
                if made.after:
                    self.call(made.after, pointers)
        elif name == "fuse" and (product := product_of(node.attrs["body"])) is not None:
            product_and_more(self, node.attrs["body"], product, inputs, outputs)
        elif name == "fuse":
            self.kernel(node.attrs["body"], inputs, outputs)
        elif name == "matmul":
            product_alone(self, node, [*inputs, *outputs])
        elif name == "sort":
            self.routine(sorting(node.inputs[0].type), inputs, outputs)
        elif name == "triangular_solve":
            self.routine(triangular_solve(node, self.module.target.vector_bytes), inputs, outputs)
        elif name in FACTORIZATIONS:
            used = [y in self.used for y in node.results]
            self.routine(factorization(node, used), inputs, outputs)
        elif name == "call":
            self.run(node.attrs["body"], inputs, outputs)
        elif name == "cond":
            self.cond(node, inputs, outputs)
        elif name == "blocks":
            self.blocks(node, inputs, outputs)
        elif name == "tasks":
            self.tasks(node, inputs, outputs)
        else:
            raise AssertionError(f"{name} has no lowering")

    def call(self, symbol: str, arguments: Sequence[str]) -> None:
        self.step.symbols.append(symbol)
        self.fetch(arguments)
        self.lines.append(f"  call void @{symbol}({', '.join(f'ptr {a}' for a in arguments)})")

    def kernel(self, body: Graph, inputs: list[str], outputs: list[str]) -> None:
        """Run a kernel, chunk by chunk if it is made of chunks."""
        symbol, chunks = self.module.lowered(body, overlaps(inputs, outputs))
        if chunks > 1:
            self.split(symbol, [*inputs, *outputs], chunks)
        else:
            self.call(symbol, [*inputs, *outputs, "%context"])

    def split(self, symbol: str, pointers: list[str], chunks: int) -> None:
        """Call a kernel chunk by chunk."""
        self.module.task(symbol, len(pointers))
        self.in_chunks(symbol, f"{symbol}.task", pointers, chunks)

    def in_chunks(self, symbol: str, task: str, pointers: list[str], chunks: int) -> None:
        """Have whatever threads there are do the chunks of a task: its pointers go through a table."""
        table = self.array("%table", pointers)
        self.step.symbols.append(symbol)
        self.step.chunks = 1 if self.is_alone else chunks
        how = IN_TURN if self.is_alone else PARALLEL
        self.lines.append(f"  call void @{how}(ptr @{task}, ptr {table}, i64 {chunks}, ptr %context)")

    def routine(self, routine: Routine | Sorting, inputs: list[str], outputs: list[str]) -> None:
        """Call a function that comes as text of its own."""
        symbol = self.module.include(routine.symbol, routine.text)
        self.call(symbol, [*inputs, *outputs, self.scratch_pointer(routine.scratch)])

    def scratch_pointer(self, size: int, each: int = 0, most: int = 0, used: int = 0) -> str:
        """Workspace behind the arena and what is `used`: so many bytes, and so many for each thread, of which
        there are at most so many."""
        if not size and not each:
            return "null"
        self.rooms.add(Room(used + size, each, most))
        self.step.scratch = max(self.step.scratch, used + size + each)
        return self.place("arena", self.workspace + used)

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def cond(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        """Branch on the predicate; each side runs its graph."""
        predicate, *operands = inputs
        byte, taken = self.fresh("%predicate"), self.fresh("%taken")
        labels = [self.fresh(stem) for stem in ("true", "false", "joined")]
        self.fetch([*inputs, *outputs])
        self.lines += [
            f"  {byte} = load i8, ptr {predicate}, align 1",
            f"  {taken} = icmp ne i8 {byte}, 0",
            f"  br i1 {taken}, label %{labels[0]}, label %{labels[1]}",
        ]
        known = self.pointers
        for label, key in zip(labels, ("if_true", "if_false"), strict=False):
            self.pointers = dict(known)  # what one side fetches, the other does not have
            self.lines.append(f"{label}:")
            self.run(node.attrs[key], operands, outputs)
            self.lines.append(f"  br label %{labels[2]}")
        self.lines.append(f"{labels[2]}:")

    def blocks(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        """Have threads run a nested graph's function, for a block each; every thread has an arena."""
        count, cut = node.attrs["count"], node.attrs["cut"]
        symbol, rooms = self.nested(node.attrs["body"], is_alone=True)
        steps = [x.type.nbytes // count if is_cut else 0 for x, is_cut in zip(node.inputs, cut, strict=True)]
        steps += [y.type.nbytes // count for y in node.results]
        size = round_up(max(bytes_of(rooms), ALIGNMENT))
        self.module.block_task(symbol, steps, len(inputs), size)
        arena = self.scratch_pointer(0, size, count)
        self.in_chunks(symbol, f"{symbol}.task", [*inputs, *outputs, arena], count)

    def tasks(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        """Have threads do the nodes of a graph, each thread with scratch of its own."""
        symbol = self.fresh_symbol(node.attrs["body"])
        driver = Driver(self.module, node.attrs["body"], symbol, self.log, self.step, is_alone=True)
        count = driver.write_tasks()
        arrays = self.arrays(inputs, outputs)
        self.in_chunks(symbol, symbol, [*arrays, self.scratch_pointer(0, driver.room, count)], count)

    def write_tasks(self) -> int:
        """Add the function that does one of the nodes, by the table of steps; the number of nodes."""
        assert not self.graph.arena, "tasks run at once and keep nothing in an arena"
        name, widths, starts = self.steps()
        self.module.tables[f"{name}.starts"] = starts
        for i, pointer in enumerate(("in", "out", "all")):
            self.lines.append(f"  %{pointer}.at = getelementptr ptr, ptr %table, i64 {i}")
            self.lines.append(f"  %{pointer} = load ptr, ptr %{pointer}.at, align 8")
        self.lines += [
            f"  %by = mul i64 %thread, {self.room}",
            "  %arena = getelementptr i8, ptr %all, i64 %by",
            f"  %start.at = getelementptr i64, ptr @{name}.starts, i64 %chunk",
            "  %start = load i64, ptr %start.at, align 8",
            f"  %row = getelementptr i64, ptr @{name}, i64 %start",
            "  %step = load i64, ptr %row, align 8",
            f"  switch i64 %step, label %done [ {_cases(widths)} ]",
        ]
        for k in range(len(widths)):
            self.lines.append(f"step{k}:")
            self.lines.append(f"  call void @{self.symbol}.step{k}(ptr %row, {PARAMETERS})")
            self.lines.append("  br label %done")
        self.lines.append("done:")
        self.module.uses_threads()
        self.define(self.symbol, CHUNK_PARAMETERS)
        return len(starts)

    @property
    def room(self) -> int:
        """The bytes of scratch of a thread that does one of the tasks."""
        return round_up(max(bytes_of(self.needs()), ALIGNMENT))

    def nested(self, graph: Graph, *, is_alone: bool) -> tuple[str, tuple[Room, ...]]:
        """A nested graph's function, and the room it needs."""
        symbol = self.fresh_symbol(graph)
        return symbol, Driver(self.module, graph, symbol, self.log, self.step, is_alone=is_alone).write()

    def fresh_symbol(self, graph: Graph) -> str:
        symbol = f"g{len(self.module.functions)}_{re.sub(r'[^0-9A-Za-z_]', '_', graph.name)}"
        self.module.functions[symbol] = ""  # keep the name
        return symbol

    def run(self, graph: Graph, inputs: list[str], outputs: list[str]) -> None:
        """Call a nested graph's function, its arena in our scratch."""
        symbol, rooms = self.nested(graph, is_alone=self.is_alone)
        (arena, *_) = [self.scratch_pointer(room.fixed or ALIGNMENT, room.each, room.most) for room in rooms]
        self.call(symbol, [*self.arrays(inputs, outputs), arena, "%context"])

    def arrays(self, inputs: list[str], outputs: list[str]) -> list[str]:
        """Arrays of pointers, as functions of graphs take them."""
        return [self.array("%args", inputs), self.array("%results", outputs)]


def _cases(steps: Sequence[int]) -> str:
    """The cases of a switch among steps."""
    return " ".join(f"i64 {k}, label %step{k}" for k in range(len(steps)))
