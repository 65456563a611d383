"""One LLVM module in the making: its kernels, products and elementary functions, each of them once.

No variables, no absolute addresses, no library calls but of loops by name (`gradc.codegen.library`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradc.codegen import matmul
from gradc.codegen.baseline import for_baseline
from gradc.codegen.binary import Message
from gradc.codegen.contract import Contraction
from gradc.codegen.contract import define as define_contraction
from gradc.codegen.contract.reading import contraction
from gradc.codegen.elementary import define
from gradc.codegen.function import Function
from gradc.codegen.library import elementwise
from gradc.codegen.likeness import likeness, product_key
from gradc.codegen.loops import Check, KernelCode
from gradc.codegen.nests import lower_kernel
from gradc.codegen.parts import parts
from gradc.codegen.remainder import fmod
from gradc.codegen.scalar import Context
from gradc.codegen.target import Target
from gradc.codegen.tiles import Follow, lower_tiles
from gradc.ir.graph import Graph, Node
from gradc.ir.op import OPS
from gradc.ir.ops.special import SCIPY_NAMES
from gradc.ir.types import SHORT

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
    tables: dict[str, list[int]] = field(default_factory=dict)
    graphs: dict[str, None] = field(default_factory=dict)
    """The functions that run graphs, and their parts."""
    messages: list[Message] = field(default_factory=list)
    kernels: dict[str, KernelCode] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    contractions: dict[tuple, tuple[str, Contraction]] = field(default_factory=dict)
    products: dict[tuple, tuple[str, matmul.Product] | None] = field(default_factory=dict)
    tasks: dict[tuple, tuple[str, matmul.Task] | None] = field(default_factory=dict)
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
        return self.include(*define(name, dtype, lanes, avx512=self.target.avx512))

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

    def uses_threads(self) -> None:
        """Have the function that does chunks."""
        self.is_parallel = True
        for name, text in ((PARALLEL, PARALLEL_TEXT), (IN_TURN, IN_TURN_TEXT)):
            self.functions.setdefault(name, text)
            self.graphs[name] = None

    def task(self, symbol: str, pointers: int) -> None:
        """The form of a kernel that threads call: its pointers come in a table."""
        self.uses_threads()
        lines = [f"define internal void @{symbol}.task({CHUNK_PARAMETERS}) #1 {{"]
        for i in range(pointers):
            lines.append(f"  %at{i} = getelementptr ptr, ptr %table, i64 {i}")
            lines.append(f"  %p{i} = load ptr, ptr %at{i}, align 8")
        given = "".join(f"ptr %p{i}, " for i in range(pointers))
        lines += [f"  call void @{symbol}({given}ptr %context, i64 %chunk)", "  ret void", "}"]
        self.functions[f"{symbol}.task"] = "\n".join(lines)

    def block_task(self, symbol: str, steps: Sequence[int], inputs: int, arena: int) -> None:
        """A graph's function as threads call it: a table of places, of which a block is so many bytes.

        The last place is the threads' workspace; each has so many bytes of it.
        """
        self.uses_threads()
        self.tables[f"{symbol}.strides"] = list(steps)
        lines = [
            f"define internal void @{symbol}.task({CHUNK_PARAMETERS}) #1 {{",
            "entry:",
            f"  %own = alloca [{len(steps)} x ptr], align 8",
            "  br label %each",
            "each:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %each ]",
            f"  %stride.at = getelementptr i64, ptr @{symbol}.strides, i64 %i",
            "  %stride = load i64, ptr %stride.at, align 8",
            "  %by = mul i64 %chunk, %stride",
            "  %whole.at = getelementptr ptr, ptr %table, i64 %i",
            "  %whole = load ptr, ptr %whole.at, align 8",
            "  %block = getelementptr i8, ptr %whole, i64 %by",
            "  %own.at = getelementptr ptr, ptr %own, i64 %i",
            "  store ptr %block, ptr %own.at, align 8",
            "  %next = add i64 %i, 1",
            f"  %more = icmp ult i64 %next, {len(steps)}",
            "  br i1 %more, label %each, label %done",
            "done:",
            f"  %out = getelementptr ptr, ptr %own, i64 {inputs}",
            f"  %workspace.at = getelementptr ptr, ptr %table, i64 {len(steps)}",
            "  %workspace = load ptr, ptr %workspace.at, align 8",
            f"  %own.arena = mul i64 %thread, {arena}",
            "  %arena = getelementptr i8, ptr %workspace, i64 %own.arena",
            f"  call void @{symbol}(ptr %own, ptr %out, ptr %arena, ptr %context)",
            "  ret void",
            "}",
        ]
        self.functions[f"{symbol}.task"] = "\n".join(lines)
        self.graphs[f"{symbol}.task"] = None

    def product(self, node: Node, follow: Follow | None = None) -> tuple[str, matmul.Product] | None:
        """A matrix product and its symbol; None if what follows is not to follow its tiles."""
        shape = product_key(node)
        key = shape, follow and follow.key
        if key not in self.products:
            symbol = f"matmul{len(self.products)}_{shape[0]}_{'x'.join(map(str, shape[2:5]))}"
            made = matmul.define(symbol, *shape[:5], **self.product_options(shape, follow))
            if made is not None:
                self.include(symbol, made.text.replace("define void ", "define internal void "))
            self.products[key] = made and (symbol, made)
        return self.products[key]

    def product_in_parts(self, node: Node, follow: Follow | None = None) -> tuple[str, matmul.Task] | None:
        """A large product in parts and the symbol of its task."""
        shape = product_key(node)
        key = shape, follow and follow.key
        if key not in self.tasks:
            symbol = f"matmul_parts{len(self.tasks)}_{shape[0]}_{'x'.join(map(str, shape[2:5]))}"
            made = matmul.define_parts(symbol, *shape[:5], **self.product_options(shape, follow))
            if made is not None:
                self.include(symbol, made.text)
                self.uses_threads()
            self.tasks[key] = made and (symbol, made)
        return self.tasks[key]

    def product_options(self, shape: tuple, follow: Follow | None) -> dict[str, Any]:
        names = "transpose_a", "transpose_b", "batch_a", "batch_b"
        options = dict(zip(names, shape[5:], strict=True), vector_bytes=self.target.vector_bytes)
        return {**options, "epilogue": follow and follow.epilogue(self)}

    def tiles(self, graph: Graph, overwrites: tuple[tuple[int, int], ...], columns: int, stride: int) -> str:
        """The symbol of the function for tiles of a product that the last input of a graph is."""
        return self.kernel(lower_tiles(graph, columns, stride, self.target.vector_bytes, overwrites))

    def contraction(self, graph: Graph) -> tuple[str, Contraction, tuple[int, int]]:
        """The symbol of a contraction, how it is called, and which inputs its operands are."""
        labels, starts, operands = contraction(graph)
        key = (SHORT[graph.outputs[0].dtype], tuple(labels), starts)
        if key not in self.contractions:
            symbol = f"contract{len(self.contractions)}_{key[0]}_{'x'.join(str(x.size) for x in labels)}"
            made = define_contraction(symbol, key[0], labels, starts, self.target.vector_bytes)
            self.include(symbol, made.text.replace("define void ", "define internal void "))
            if made.parts > 1:
                self.uses_threads()
            self.contractions[key] = symbol, made
        return *self.contractions[key], operands

    def texts(self, count: int = 1) -> list[str]:
        """The text of the module; or of several, of which the first has the functions that run graphs."""
        functions = dict(zip(self.functions, _outlined(self.functions.values()), strict=True))
        attributes = [
            "attributes #0 = { alwaysinline nounwind willreturn }",
            "attributes #1 = { nounwind noinline }",
            "attributes #2 = { noinline }",
        ]
        head = f'target triple = "{self.target.triple}"'
        declarations = "\n".join(self.declarations.values())
        tables = "\n".join([_table(name, words) for name, words in self.tables.items()])
        texts = [
            "\n\n".join([head, *group, declarations, *([] if k else [tables]), *attributes]) + "\n"
            for k, group in enumerate(parts(functions, self.graphs, count))
        ]
        return [for_baseline(text) for text in texts] if self.target.baseline else texts


def _table(name: str, words: list[int]) -> str:
    """Constant numbers."""
    return f"@{name} = private constant [{len(words)} x i64] [{', '.join(f'i64 {n}' for n in words)}]"


PARALLEL = "gradc.parallel"
IN_TURN = "gradc.in_turn"
PARALLEL_TEXT = f"""define internal void @{PARALLEL}(ptr %task, ptr %table, i64 %chunks, ptr %context) #1 {{
entry:
  %run.at = getelementptr i64, ptr %context, i64 1
  %run = load ptr, ptr %run.at, align 8
  %alone = icmp eq ptr %run, null
  br i1 %alone, label %each, label %together
each:
  call void @{IN_TURN}(ptr %task, ptr %table, i64 %chunks, ptr %context)
  ret void
together:
  %helpers.at = getelementptr i64, ptr %context, i64 2
  %helpers = load i64, ptr %helpers.at, align 8
  call void %run(ptr %task, ptr %table, i64 %chunks, ptr %context, i64 %helpers)
  ret void
}}"""
"""Do all chunks: by the function and the number of helpers that the context has, or one after another."""

IN_TURN_TEXT = f"""define internal void @{IN_TURN}(ptr %task, ptr %table, i64 %chunks, ptr %context) #1 {{
entry:
  br label %each
each:
  %chunk = phi i64 [ 0, %entry ], [ %next, %each ]
  call void %task(ptr %table, i64 %chunk, ptr %context, i64 0)
  %next = add i64 %chunk, 1
  %more = icmp ult i64 %next, %chunks
  br i1 %more, label %each, label %out
out:
  ret void
}}"""
"""Do all chunks, one after another."""

CHUNK_PARAMETERS = "ptr %table, i64 %chunk, ptr %context, i64 %thread"
"""What a task is told: its pointers, the number of the chunk, and that of the thread (the caller is 0)."""
