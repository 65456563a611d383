"""A planned graph as one LLVM module: its kernels, its products, and the function that calls them in order.

The functions have the C signature `void f(void **in, void **out, char *arena, void *context)`: `in` holds the
graph's inputs and then the captured arrays, `arena` is workspace, and the first field of the context is a
status, set to the number of a message if a check fails. No globals, no absolute addresses, no library calls
but of loops by name (`gradc.codegen.library`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import numpy as np

from gradc.codegen import matmul
from gradc.codegen.contract import define as define_contraction
from gradc.codegen.contract.reading import contraction
from gradc.codegen.elementary import define
from gradc.codegen.factor import WRITERS as FACTORIZATIONS
from gradc.codegen.factor import Routine, factorization
from gradc.codegen.function import Function
from gradc.codegen.library import elementwise
from gradc.codegen.loops import Check, KernelCode
from gradc.codegen.nests import lower_kernel
from gradc.codegen.remainder import fmod
from gradc.codegen.scalar import Context
from gradc.codegen.sorting import Sorting, sorting
from gradc.codegen.target import Target
from gradc.codegen.triangular import triangular_solve
from gradc.ir.errors import Source
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.op import OPS
from gradc.ir.ops.special import SCIPY_NAMES
from gradc.ir.types import ALIGNMENT, SHORT, round_up

ENTRY = "gradc_compute"


class Message(NamedTuple):
    """What a status means, the user's line that it comes from, and the error's name."""

    text: str
    source: Source | None
    error: str


LONGEST = 500
"""So many lines are a function; what follows is another one."""

PARAMETERS = "ptr %in, ptr %out, ptr %arena, ptr %context"

COPIES = 24, 256
"""So many copies of an elementary function, in one kernel and in all, are worth their time in LLVM."""

_CALL = re.compile(r"= call [^@]*@(gradc\.[\w.]+)\(.*\)$", re.MULTILINE)


def _outlined(functions: Iterable[str]) -> list[str]:
    """The functions, where calls of what is called very often, by unrolled formulas, are not inlined."""
    texts = list(functions)
    counts = [Counter(_CALL.findall(text)) for text in texts]
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)

    def outlined(text: str, count: Counter[str]) -> str:
        often = {symbol for symbol, n in count.items() if n > COPIES[0] or total[symbol] > COPIES[1]}
        return _CALL.sub(lambda m: f"{m[0]} #2" if m[1] in often else m[0], text) if often else text

    return [outlined(text, count) for text, count in zip(texts, counts, strict=True)]


@dataclass(eq=False)
class Module:
    """Collects functions, each once; `messages` are what the statuses 1, 2, ... mean."""

    target: Target
    functions: dict[str, str] = field(default_factory=dict)
    declarations: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    kernels: dict[str, KernelCode] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    products: dict[tuple, tuple[str, int]] = field(default_factory=dict)
    tasks: dict[tuple, tuple[str, int, int] | None] = field(default_factory=dict)
    bodies: dict[Hashable, tuple[str, int]] = field(default_factory=dict)
    is_parallel: bool = False

    # -- what functions ask for

    def declare(self, declaration: str) -> None:
        match = re.search(r"@[\w.$]+", declaration)
        assert match is not None
        self.declarations[match[0]] = declaration

    def include(self, symbol: str, text: str) -> str:
        """Add a library function: each definition and declaration of its text once."""
        for line in text.splitlines():
            if line.startswith(("declare", "@")):
                self.declare(line)
        for match in re.finditer(r"^define .*?^}$", text, re.MULTILINE | re.DOTALL):
            name = re.search(r'@"?([\w.$]+)"?\(', match[0])
            assert name is not None
            self.functions.setdefault(name[1], match[0])
        return symbol

    def elementary(self, name: str, dtype: str, lanes: int) -> str:
        symbol = f"gradc.{name}.{dtype}.{lanes}"
        if symbol in self.functions:
            return symbol
        if name in SCIPY_NAMES:
            text = elementwise(symbol, SCIPY_NAMES[name], dtype, lanes, OPS[name].arity or 1)
            return self.include(symbol, text)
        return self.include(*define(name, dtype, lanes))

    def fmod(self, c: Context, a: str, b: str) -> str:
        symbol = self.include(*fmod(c.dtype, c.lanes))
        return c.function.let(f"call {c.type} @{symbol}({c.type} {a}, {c.type} {b})")

    def status(self, check: Check) -> int:
        message = Message(check.message, check.source, check.error)
        if message not in self.messages:
            self.messages.append(message)
        return self.messages.index(message) + 1

    # -- kernels and products

    def lowered(self, body: Graph, overwrites: tuple[tuple[int, int], ...]) -> tuple[str, int]:
        """The symbol of the kernel for a graph, and how many chunks it has; graphs alike are lowered once."""
        key = (likeness(body), overwrites)
        if key not in self.bodies:
            code = lower_kernel(body, self.target.vector_bytes, overwrites)
            self.bodies[key] = self.kernel(code), code.chunks
        return self.bodies[key]

    def kernel(self, code: KernelCode) -> str:
        """The symbol of a kernel; equal kernels share one."""
        key = code.key
        if key not in self.symbols:
            symbol = self.symbols[key] = f"k{len(self.symbols)}_{re.sub(r'[^0-9A-Za-z_]', '_', code.name)}"
            self.kernels[symbol] = code
            self.functions[symbol] = Function(self, code, symbol).text()
        return self.symbols[key]

    def task(self, symbol: str, pointers: int) -> None:
        """The form of a kernel that threads call: its pointers come in a table."""
        self.is_parallel = True
        self.functions.setdefault(PARALLEL, PARALLEL_TEXT)
        lines = [f"define internal void @{symbol}.task(ptr %table, i64 %chunk, ptr %context) #1 {{"]
        for i in range(pointers):
            lines.append(f"  %at{i} = getelementptr ptr, ptr %table, i64 {i}")
            lines.append(f"  %p{i} = load ptr, ptr %at{i}, align 8")
        given = "".join(f"ptr %p{i}, " for i in range(pointers))
        lines += [f"  call void @{symbol}({given}ptr %context, i64 %chunk)", "  ret void", "}"]
        self.functions[f"{symbol}.task"] = "\n".join(lines)

    def product(self, node: Node) -> tuple[str, int]:
        """The symbol of a matrix product and its bytes of scratch."""
        a, b = node.inputs
        ta, tb = node.attrs["transpose_a"], node.attrs["transpose_b"]
        *_, m, n = node.types[0].shape
        k = a.shape[-2] if ta else a.shape[-1]
        batch = prod(node.types[0].shape[:-2])
        key = (SHORT[a.dtype], batch, m, n, k, ta, tb, len(a.shape) > 2, len(b.shape) > 2)
        if key not in self.products:
            dtype, batch, m, n, k, ta, tb, batch_a, batch_b = key
            symbol = f"matmul{len(self.products)}_{dtype}_{m}x{n}x{k}"
            product = matmul.define(
                symbol,
                dtype,
                batch,
                m,
                n,
                k,
                transpose_a=ta,
                transpose_b=tb,
                batch_a=batch_a,
                batch_b=batch_b,
                vector_bytes=self.target.vector_bytes,
            )
            self.include(symbol, product.text.replace("define void ", "define internal void "))
            self.products[key] = symbol, product.scratch
        return self.products[key]

    def product_in_parts(self, node: Node) -> tuple[str, int, int] | None:
        """The symbol of a large matrix product's task, the number of its parts and its bytes of scratch."""
        a = node.inputs[0]
        if len(node.types[0].shape) > 2 or a.dtype.kind != "f":
            return None
        m, n = list(node.types[0].shape)
        ta, tb = node.attrs["transpose_a"], node.attrs["transpose_b"]
        k = a.shape[0] if ta else a.shape[1]
        key = ("parts", SHORT[a.dtype], m, n, k, ta, tb)
        if key not in self.tasks:
            symbol = f"matmul_parts{len(self.tasks)}_{SHORT[a.dtype]}_{m}x{n}x{k}"
            made = matmul.define_parts(
                symbol,
                SHORT[a.dtype],
                m,
                n,
                k,
                transpose_a=ta,
                transpose_b=tb,
                vector_bytes=self.target.vector_bytes,
            )
            self.tasks[key] = None
            if made is not None:
                self.include(symbol, made.text)
                self.functions.setdefault(PARALLEL, PARALLEL_TEXT)
                self.is_parallel = True
                self.tasks[key] = symbol, made.parts, made.scratch
        return self.tasks[key]

    def contraction(self, graph: Graph) -> tuple[str, int, tuple[int, int]]:
        """The symbol of a contraction, its bytes of scratch, and which inputs its operands are."""
        labels, starts, operands = contraction(graph)
        key = (SHORT[graph.outputs[0].dtype], tuple(labels), starts)
        if key not in self.products:
            symbol = f"contract{len(self.products)}_{key[0]}_{'x'.join(str(x.size) for x in labels)}"
            made = define_contraction(symbol, key[0], labels, starts, self.target.vector_bytes)
            self.include(symbol, made.text.replace("define void ", "define internal void "))
            self.products[key] = symbol, made.scratch
        return *self.products[key], operands

    def text(self) -> str:
        attributes = [
            "attributes #0 = { alwaysinline nounwind willreturn }",
            "attributes #1 = { nounwind noinline }",
            "attributes #2 = { noinline }",
        ]
        head = f'target triple = "{self.target.triple}"'
        declarations = "\n".join(self.declarations.values())
        return "\n\n".join([head, *_outlined(self.functions.values()), declarations, *attributes]) + "\n"


def likeness(graph: Graph) -> Hashable:
    """What two graphs of kernels have in common if they compute the same: all but names and lines (but for
    the lines of checks, which messages tell)."""
    number = {x: i for i, x in enumerate(graph.inputs)}
    nodes = []
    for node in graph.nodes:
        line = node.source if node.op.name == "require" else None
        # 0.0 and -0.0 are equal, and so are 1 and True.
        nodes.append(
            (node.op.name, tuple([number[x] for x in node.inputs]), repr(node.attrs), node.types, line)
        )
        for y in node.results:
            number[y] = len(number)
    return tuple([x.type for x in graph.inputs]), tuple(nodes), tuple([number[y] for y in graph.outputs])


PARALLEL = "gradc.parallel"
PARALLEL_TEXT = """define internal void @gradc.parallel(ptr %task, ptr %table, i64 %chunks, ptr %context) #1 {
entry:
  %run.at = getelementptr i64, ptr %context, i64 1
  %run = load ptr, ptr %run.at, align 8
  %alone = icmp eq ptr %run, null
  br i1 %alone, label %each, label %together
each:
  %chunk = phi i64 [ 0, %entry ], [ %next, %each ]
  call void %task(ptr %table, i64 %chunk, ptr %context)
  %next = add i64 %chunk, 1
  %more = icmp ult i64 %next, %chunks
  br i1 %more, label %each, label %out
together:
  %helpers.at = getelementptr i64, ptr %context, i64 2
  %helpers = load i64, ptr %helpers.at, align 8
  call void %run(ptr %task, ptr %table, i64 %chunks, ptr %context, i64 %helpers)
  br label %out
out:
  ret void
}"""
"""Do all chunks: by the function and the number of helpers that the context has, or one after another."""


@dataclass(frozen=True)
class Compiled:
    """What code generation gives: the module's text, its workspace, messages, kernels and captured arrays in
    order."""

    text: str
    arena: int
    messages: tuple[Message, ...]
    kernels: dict[str, KernelCode]
    calls: tuple[str, ...]
    captured: tuple[np.ndarray, ...]
    is_parallel: bool
    """Whether there are kernels that threads may share."""


def generate(graph: Graph, target: Target) -> Compiled:
    """LLVM text of a planned graph."""
    module = Module(target)
    calls: list[str] = []
    arena = Driver(module, graph, ENTRY, calls).write("")
    captured = [node for node in graph.nodes if node.op.name == "captured"]
    arrays = tuple(graph.constants[node.attrs["name"]] for node in captured)
    return Compiled(
        module.text(), arena, tuple(module.messages), module.kernels, tuple(calls), arrays, module.is_parallel
    )


class Driver:
    """Writes the function that runs a planned graph: for each node, pointers to its places, and a call.

    A long one consists of parts, each a function: LLVM's time grows with the square of a function's length.
    """

    def __init__(self, module: Module, graph: Graph, symbol: str, calls: list[str]) -> None:
        self.module = module
        self.graph = graph
        self.number = {x: i for i, x in enumerate(graph.inputs)}
        self.symbol = symbol
        self.calls = calls
        self.used = set(graph.outputs).union(*[node.inputs for node in graph.nodes])
        self.lines: list[str] = []
        self.pointers: dict[tuple[str, int], str] = {}
        self.counter = 0
        self.workspace = round_up(graph.arena or 0)  # scratch begins here
        self.scratch = 0

    def write(self, linkage: str = "internal ") -> int:
        """Add the function to the module; its bytes of arena, scratch included."""
        parts: list[str] = []
        for node in self.graph.nodes:
            if len(self.lines) > LONGEST:
                parts.append(f"{self.symbol}.part{len(parts)}")
                self.define(parts[-1], "internal ")
            self.node(node)
        calls = [f"  call void @{part}({PARAMETERS})" for part in parts]
        self.lines = [*calls, *self.lines]
        self.define(self.symbol, linkage)
        return self.workspace + self.scratch

    def define(self, symbol: str, linkage: str) -> None:
        """Make a function of the lines so far."""
        head = f"define {linkage}void @{symbol}({PARAMETERS}) #1 {{"
        self.module.functions[symbol] = "\n".join([head, "entry:", *self.lines, "  ret void", "}"])
        self.lines = []

    def place(self, where: str, number: int) -> str:
        """The pointer to a place, fetched by each node that needs it."""
        if where == "captured":
            where, number = "in", len(self.graph.inputs) + number
        if (where, number) not in self.pointers:
            name = self.pointers[where, number] = self.fresh(f"%{where}{number}.")
            if where == "arena":
                self.lines.append(f"  {name} = getelementptr i8, ptr %arena, i64 {number}")
            else:
                self.lines.append(f"  {name}.slot = getelementptr ptr, ptr %{where}, i64 {number}")
                self.lines.append(f"  {name} = load ptr, ptr {name}.slot, align 8")
        return self.pointers[where, number]

    def pointer(self, value: Value) -> str:
        if value.node is None:
            return self.place("in", self.number[value])
        assert value.node.places is not None
        return self.place(*value.node.places[value.index])

    def node(self, node: Node) -> None:
        name = node.op.name
        if name in ("reshape", "captured"):
            return
        self.pointers = {}
        inputs, outputs = [self.pointer(x) for x in node.inputs], [self.pointer(y) for y in node.results]
        if name == "fuse" and node.attrs["body"].nodes[-1].op.name == "contract":
            symbol, scratch, operands = self.module.contraction(node.attrs["body"])
            pointers = [*(inputs[i] for i in operands), *outputs]
            self.call(symbol, [*pointers, self.scratch_pointer(scratch)])
        elif name == "fuse":
            overwrites = tuple((o, i) for o, p in enumerate(outputs) for i, q in enumerate(inputs) if p == q)
            symbol, chunks = self.module.lowered(node.attrs["body"], overwrites)
            if chunks > 1:
                self.split(symbol, [*inputs, *outputs], chunks)
            else:
                self.call(symbol, [*inputs, *outputs, "%context"])
        elif name == "matmul" and (task := self.module.product_in_parts(node)) is not None:
            symbol, parts, scratch = task
            self.in_chunks(symbol, symbol, [*inputs, *outputs, self.scratch_pointer(scratch)], parts)
        elif name == "matmul":
            symbol, scratch = self.module.product(node)
            self.call(symbol, [*inputs, *outputs, self.scratch_pointer(scratch)])
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
        else:
            raise AssertionError(f"{name} has no lowering")

    def call(self, symbol: str, arguments: Sequence[str]) -> None:
        self.calls.append(symbol)
        self.lines.append(f"  call void @{symbol}({', '.join(f'ptr {a}' for a in arguments)})")

    def split(self, symbol: str, pointers: list[str], chunks: int) -> None:
        """Call a kernel chunk by chunk."""
        self.module.task(symbol, len(pointers))
        self.in_chunks(symbol, f"{symbol}.task", pointers, chunks)

    def in_chunks(self, symbol: str, task: str, pointers: list[str], chunks: int) -> None:
        """Have whatever threads there are do the chunks of a task: its pointers go through a table."""
        table = self.fresh("%table")
        self.lines.append(f"  {table} = alloca [{len(pointers)} x ptr], align 8")
        for i, pointer in enumerate(pointers):
            self.lines.append(f"  {table}.{i} = getelementptr ptr, ptr {table}, i64 {i}")
            self.lines.append(f"  store ptr {pointer}, ptr {table}.{i}, align 8")
        self.calls.append(symbol)
        self.lines.append(f"  call void @{PARALLEL}(ptr @{task}, ptr {table}, i64 {chunks}, ptr %context)")

    def routine(self, routine: Routine | Sorting, inputs: list[str], outputs: list[str]) -> None:
        """Call a function that comes as text of its own."""
        symbol = self.module.include(routine.symbol, routine.text)
        self.call(symbol, [*inputs, *outputs, self.scratch_pointer(routine.scratch)])

    def scratch_pointer(self, size: int) -> str:
        self.scratch = max(self.scratch, size)
        return self.place("arena", self.workspace) if size else "null"

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def cond(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        """Branch on the predicate; each side runs its graph."""
        predicate, *operands = inputs
        byte, taken = self.fresh("%predicate"), self.fresh("%taken")
        labels = [self.fresh(stem) for stem in ("true", "false", "joined")]
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

    def run(self, graph: Graph, inputs: list[str], outputs: list[str]) -> None:
        """Call a nested graph's function, its arena in our scratch."""
        symbol = f"g{len(self.module.functions)}_{re.sub(r'[^0-9A-Za-z_]', '_', graph.name)}"
        self.module.functions[symbol] = ""  # keep the name
        size = Driver(self.module, graph, symbol, self.calls).write()
        arena = self.scratch_pointer(max(size, ALIGNMENT))
        arrays = []
        for stem, pointers in (("%args", inputs), ("%results", outputs)):
            array = self.fresh(stem)
            arrays.append(array)
            self.lines.append(f"  {array} = alloca ptr, i64 {max(len(pointers), 1)}, align 8")
            for i, pointer in enumerate(pointers):
                self.lines.append(f"  {array}.{i} = getelementptr ptr, ptr {array}, i64 {i}")
                self.lines.append(f"  store ptr {pointer}, ptr {array}.{i}, align 8")
        self.call(symbol, [*arrays, arena, "%context"])
