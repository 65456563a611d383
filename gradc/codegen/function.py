"""One kernel's loops as an LLVM function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradc.codegen.loops import (
    Address,
    Affine,
    Assign,
    Check,
    KernelCode,
    Let,
    Load,
    Loop,
    Read,
    Register,
    Statement,
    Store,
)
from gradc.codegen.scalar import ROWS, Context
from gradc.codegen.text import literal, llvm_type
from gradc.ir.types import BOOL, I64, SHORT

if TYPE_CHECKING:
    from gradc.codegen.module import Module


MOST_STEP = 4
"""Lanes up to so many elements apart are loaded as whole vectors."""


class Function:
    """Writes the instructions of one function; registers of the loop IR become SSA names, or splats."""

    def __init__(self, module: Module, kernel: KernelCode, symbol: str) -> None:
        self.module = module
        self.kernel = kernel
        self.symbol = symbol
        self.lines: list[str] = []
        self.allocas: dict[str, str] = {}
        self.counter = 0
        self.names: dict[Register, str] = {}
        self.variables: dict[str, str] = {}
        self.constants: dict[Register, object] = {}

    # -- instructions

    def let(self, instruction: str) -> str:
        self.counter += 1
        self.lines.append(f"  %r{self.counter} = {instruction}")
        return f"%r{self.counter}"

    def do(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def call(self, symbol: str, result: str, arguments: list[tuple[str, str]]) -> str:
        """Call an intrinsic, declaring it."""
        types = ", ".join(t for t, _ in arguments)
        self.module.declare(f"declare {result} @{symbol}({types})")
        return self.let(f"call {result} @{symbol}({', '.join(f'{t} {x}' for t, x in arguments)})")

    def elementary(self, name: str, dtype: np.dtype, lanes: int, operands: tuple[str, ...]) -> str:
        symbol = self.module.elementary(name, SHORT[dtype], lanes)
        t = llvm_type(dtype, lanes)
        return self.let(f"call {t} @{symbol}({', '.join(f'{t} {x}' for x in operands)})")

    # -- operands

    def operand(self, register: Register, lanes: int) -> str:
        """A register's name; scalars are repeated for vector uses, constants written out."""
        if register in self.constants:
            return literal(self.constants[register], register.dtype, lanes)
        name = self.names[register]
        if register.lanes == lanes:
            return name
        assert register.lanes == 1, (register, lanes)
        t, v = llvm_type(register.dtype), llvm_type(register.dtype, lanes)
        first = self.let(f"insertelement {v} poison, {t} {name}, i64 0")
        return self.let(f"shufflevector {v} {first}, {v} poison, <{lanes} x i32> zeroinitializer")

    def index(self, index: Affine) -> str:
        """An affine index as an i64."""
        total: str | None = None
        for variable, factor in index.terms:
            name = self.variables[variable]
            if name == "0":  # a loop that runs once
                continue
            term = name if factor == 1 else self.let(f"mul nsw i64 {name}, {factor}")
            total = term if total is None else self.let(f"add nsw i64 {total}, {term}")
        if total is None:
            return str(index.constant)
        return total if not index.constant else self.let(f"add nsw i64 {total}, {index.constant}")

    def lane_numbers(self, lanes: int, step: int) -> str:
        return "<" + ", ".join(f"i64 {i * step}" for i in range(lanes)) + ">"

    # -- the whole

    def text(self) -> str:
        """The function: buffers as pointers (inputs, outputs), then the call's context."""
        shared_in = {i for _, i in self.kernel.overwrites}
        shared_out = {o for o, _ in self.kernel.overwrites}
        parameters = [
            f"ptr {'' if i in shared_in else 'noalias '}%in{i}" for i in range(len(self.kernel.inputs))
        ]
        parameters += [
            f"ptr {'' if o in shared_out else 'noalias '}%out{o}" for o in range(len(self.kernel.outputs))
        ]
        if self.kernel.tile is not None:
            return self.of_tiles()
        self.block(self.kernel.body)
        chunk = ["i64 %chunk"] if self.kernel.chunks > 1 else []
        head = (
            f"define internal void @{self.symbol}({', '.join([*parameters, 'ptr %context', *chunk])}) #1 {{"
        )
        return self.whole(head)

    def of_tiles(self) -> str:
        """The function that follows a tile of a product: its buffers come in a table."""
        names = [f"in{i}" for i in range(len(self.kernel.inputs))]
        names += [f"out{o}" for o in range(len(self.kernel.outputs))]
        for i, name in enumerate(names):
            self.do(f"%{name}.at = getelementptr ptr, ptr %table, i64 {i}")
            self.do(f"%{name} = load ptr, ptr %{name}.at, align 8")
        self.variables = {name: f"%{name}" for name in ("row", "rows", "column")}
        self.block(self.kernel.body)
        return self.whole(
            f"define internal void @{self.symbol}(ptr %table, ptr %tile, i64 %row, i64 %rows, i64 %column, "
            "ptr %context) #1 {"
        )

    def whole(self, head: str) -> str:
        """The function, its variables first."""
        allocas = [f"  {name} = alloca {t}, align 64" for name, t in self.allocas.items()]
        return "\n".join([head, "entry:", *allocas, *self.lines, "  ret void", "}"])

    def block(self, body: list[Statement]) -> None:
        for statement in body:
            match statement:
                case Loop():
                    self.loop(statement)
                case Let():
                    self.compute(statement)
                case Load():
                    self.load(statement)
                case Store():
                    self.store(statement)
                case Check():
                    self.check(statement)
                case Assign():
                    self.assign(statement)
                case Read():
                    variable = self.accumulator(statement.variable, statement.result)
                    t = llvm_type(statement.result.dtype, statement.result.lanes)
                    self.names[statement.result] = self.let(f"load {t}, ptr {variable}, align 64")

    def loop(self, loop: Loop) -> None:
        """A counted loop; one that runs once is just its body. Of a parallel one, a call does one step."""
        if loop.parallel:
            mine, rest = self.fresh("mine"), self.fresh("rest")
            inside = self.let(f"icmp ult i64 %chunk, {loop.stop}")
            self.do(f"br i1 {inside}, label %{mine}, label %{rest}")
            self.label(mine)
            self.variables[loop.variable] = "%chunk"
            self.block(loop.body)
            self.do("ret void")
            self.label(rest)
            return
        stop = loop.stop if isinstance(loop.stop, int) else self.variables[loop.stop]
        if isinstance(stop, int) and loop.start >= stop:
            return
        if isinstance(stop, int) and loop.start + loop.step >= stop:
            self.variables[loop.variable] = str(loop.start)
            self.block(loop.body)
            return
        label = self.fresh("loop")
        slot = self.accumulator_slot(f"{label}_counter", "i64")
        self.do(f"store i64 {loop.start}, ptr {slot}, align 8")
        self.do(f"br label %{label}")
        self.label(label)
        variable = self.let(f"load i64, ptr {slot}, align 8")
        self.variables[loop.variable] = variable
        self.block(loop.body)
        following = self.let(f"add nuw nsw i64 {variable}, {loop.step}")
        self.do(f"store i64 {following}, ptr {slot}, align 8")
        more = self.let(f"icmp ult i64 {following}, {stop}")
        self.do(f"br i1 {more}, label %{label}, label %{label}_end")
        self.label(f"{label}_end")

    def accumulator_slot(self, name: str, type: str) -> str:
        self.allocas[f"%{name}"] = type
        return f"%{name}"

    def accumulator(self, variable: str, like: Register) -> str:
        return self.accumulator_slot(variable, llvm_type(like.dtype, like.lanes))

    def assign(self, statement: Assign) -> None:
        value = statement.value
        slot = self.accumulator(statement.variable, value)
        t = llvm_type(value.dtype, value.lanes)
        self.do(f"store {t} {self.operand(value, value.lanes)}, ptr {slot}, align 64")

    # -- computing

    def compute(self, let: Let) -> None:
        result, attrs = let.result, dict(let.attrs)
        if let.op == "constant":
            self.constants[result] = attrs["value"]
        elif let.op == "index":
            self.names[result] = self.affine_value(result, attrs["of"], attrs["lane_step"])
        elif let.op == "reduce_lanes":
            self.names[result] = self.reduce_lanes(let.inputs[0], attrs["op"])
        elif let.op == "take_lanes":
            (x,) = let.inputs
            name = self.operand(x, x.lanes)
            self.names[result] = self.take_lanes(name, x.dtype, x.lanes, attrs["start"], result.lanes)
        elif let.op == "keep_active":
            self.names[result] = self.keep_active(
                let.inputs[0], result.lanes, attrs["active"], attrs["other"]
            )
        else:
            operand = let.inputs[-1] if let.op == "where" else let.inputs[0]
            context = Context(self, operand.dtype, result.dtype, result.lanes)
            operands = [self.operand(x, result.lanes) for x in let.inputs]
            self.names[result] = ROWS[let.op](context, *operands, **attrs)

    def affine_value(self, result: Register, index: Affine, step: int) -> str:
        """The index as a number of the result's dtype, lane by lane."""
        first = self.index(index)
        t = llvm_type(I64, result.lanes)
        if result.lanes > 1:
            head = self.let(f"insertelement {t} poison, i64 {first}, i64 0")
            all_lanes = self.let(
                f"shufflevector {t} {head}, {t} poison, <{result.lanes} x i32> zeroinitializer"
            )
            first = self.let(f"add {t} {all_lanes}, {self.lane_numbers(result.lanes, step)}")
        return ROWS["cast"](Context(self, I64, result.dtype, result.lanes), first)

    def keep_active(self, x: Register, lanes: int, active: int, other: object) -> str:
        """The operand, with the identity in the lanes that do not count."""
        t = llvm_type(x.dtype, lanes)
        value = self.operand(x, lanes)
        mask, rest = active_lanes(lanes, active), literal(other, x.dtype, lanes)
        return self.let(f"select <{lanes} x i1> {mask}, {t} {value}, {t} {rest}")

    def reduce_lanes(self, x: Register, op: str) -> str:
        """Halves are combined until one lane is left: a fixed tree."""
        name, lanes = self.operand(x, x.lanes), x.lanes
        while lanes > 1:
            half = lanes // 2
            parts = [self.take_lanes(name, x.dtype, lanes, start, half) for start in (0, half)]
            name, lanes = ROWS[op](Context(self, x.dtype, x.dtype, half), *parts), half
        return name

    def take_lanes(self, name: str, dtype: np.dtype, lanes: int, start: int, count: int) -> str:
        """Some neighbouring lanes of a vector."""
        v = llvm_type(dtype, lanes)
        if count == 1:
            return self.let(f"extractelement {v} {name}, i64 {start}")
        picks = ", ".join(f"i32 {start + i}" for i in range(count))
        return self.let(f"shufflevector {v} {name}, {v} poison, <{count} x i32> <{picks}>")

    # -- memory: masked accesses in their older form, with the alignment as an argument, which every LLVM
    # reads

    def pointer(self, address: Address, dtype: np.dtype, lanes: int) -> str:
        """The pointer to the first lane, or a vector of pointers for gathers."""
        t = llvm_type(dtype, memory=True)
        base = self.let(f"getelementptr {t}, ptr %{address.buffer}, i64 {self.index(address.index)}")
        if not self.is_scattered(address, lanes):
            for register, stride in address.dynamic:
                offset = self.let(f"mul i64 {self.operand(register, 1)}, {stride}")
                base = self.let(f"getelementptr {t}, ptr {base}, i64 {offset}")
            return base
        v = f"<{lanes} x i64>"
        offsets = self.lane_numbers(lanes, address.lane_step)
        for register, stride in address.dynamic:
            scaled = self.let(f"mul {v} {self.operand(register, lanes)}, splat (i64 {stride})")
            offsets = self.let(f"add {v} {scaled}, {offsets}")
        return self.let(f"getelementptr {t}, ptr {base}, {v} {offsets}")

    @staticmethod
    def is_scattered(address: Address, lanes: int) -> bool:
        """Do the lanes lie apart?"""
        return lanes > 1 and (address.lane_step != 1 or any(r.lanes > 1 for r, _ in address.dynamic))

    @staticmethod
    def is_backwards(address: Address, lanes: int) -> bool:
        """Do the lanes lie side by side, the last one first?"""
        return lanes > 1 and address.lane_step == -1 and all(r.lanes == 1 for r, _ in address.dynamic)

    def every_other(self, address: Address, dtype: np.dtype, lanes: int) -> str:
        """Lanes a few elements apart: whole vectors, of which the last ends with the last lane, shuffled."""
        step, t = address.lane_step, llvm_type(dtype, lanes, memory=True)
        base = replace(address, lane_step=1)
        value, filled = "poison", 0
        for k in range(step):
            start = min(k * lanes, (lanes - 1) * step + 1 - lanes)
            pointer = self.pointer(replace(base, index=base.index + start), dtype, lanes)
            part = self.let(f"load {t}, ptr {pointer}, align {dtype.itemsize}")
            until = min(lanes, -(-(start + lanes) // step))
            picks = [*range(filled), *(lanes + i * step - start for i in range(filled, until))]
            picks += [0] * (lanes - until)
            listed = ", ".join(f"i32 {i}" for i in picks)
            value = self.let(f"shufflevector {t} {value}, {t} {part}, <{lanes} x i32> <{listed}>")
            filled = until
        return value

    def load(self, load: Load) -> None:
        register, address = load.result, load.address
        dtype, lanes = register.dtype, register.lanes
        v, size = llvm_type(dtype, lanes, memory=True), dtype.itemsize
        backwards = self.is_backwards(address, lanes)
        if backwards:  # read from the last lane on, then turned around
            address = replace(address, index=address.index + (1 - lanes), lane_step=1)
        near = load.active is None and 2 <= address.lane_step <= min(MOST_STEP, lanes)
        if near and lanes > 1 and all(r.lanes == 1 for r, _ in address.dynamic):
            value = self.every_other(address, dtype, lanes)
            if dtype == BOOL:
                value = self.let(f"icmp ne {v} {value}, zeroinitializer")
            self.names[register] = value
            return
        pointer = self.pointer(address, dtype, lanes)
        if (
            load.mask is not None and lanes == 1
        ):  # the first element, which there is, where none is to be read
            pointer = self.let(
                f"select i1 {self.operand(load.mask, 1)}, ptr {pointer}, ptr %{address.buffer}"
            )
        if self.is_scattered(address, lanes):
            mask = self.mask(load, lanes, backwards=False)
            name = f"llvm.masked.gather.{suffix(dtype, lanes)}.v{lanes}p0"
            pointers = f"<{lanes} x ptr>"
            arguments = [
                (f"{pointers} align {size}", pointer),
                (f"<{lanes} x i1>", mask),
                (v, "zeroinitializer"),
            ]
            value = self.call(name, v, arguments)
        elif load.active is not None or (load.mask is not None and lanes > 1):
            mask = self.mask(load, lanes, backwards)
            name = f"llvm.masked.load.{suffix(dtype, lanes)}.p0"
            arguments = [
                ("ptr", pointer),
                ("i32", str(size)),
                (f"<{lanes} x i1>", mask),
                (v, "zeroinitializer"),
            ]
            value = self.call(name, v, arguments)
        else:
            value = self.let(f"load {v}, ptr {pointer}, align {size}")
        if backwards:
            picks = ", ".join(f"i32 {i}" for i in reversed(range(lanes)))
            value = self.let(f"shufflevector {v} {value}, {v} poison, <{lanes} x i32> <{picks}>")
        if dtype == BOOL:
            value = self.let(f"icmp ne {v} {value}, {'zeroinitializer' if lanes > 1 else '0'}")
        self.names[register] = value

    def mask(self, load: Load, lanes: int, backwards: bool) -> str:
        """The lanes that a load reads."""
        mask = active_lanes(lanes, load.active, backwards=backwards)
        if load.mask is None:
            return mask
        inside = self.operand(load.mask, lanes)
        if backwards and load.mask.lanes > 1:
            picks = ", ".join(f"i32 {i}" for i in reversed(range(lanes)))
            inside = self.let(
                f"shufflevector <{lanes} x i1> {inside}, <{lanes} x i1> poison, <{lanes} x i32> <{picks}>"
            )
        return inside if load.active is None else self.let(f"and <{lanes} x i1> {inside}, {mask}")

    def store(self, store: Store) -> None:
        dtype, lanes, address = store.value.dtype, store.lanes, store.address
        value = self.operand(store.value, lanes)
        v, size = llvm_type(dtype, lanes, memory=True), dtype.itemsize
        if dtype == BOOL:
            value = self.let(f"zext {llvm_type(dtype, lanes)} {value} to {v}")
        pointer = self.pointer(address, dtype, lanes)
        mask = active_lanes(lanes, store.active)
        if self.is_scattered(address, lanes):
            name = f"llvm.masked.scatter.{suffix(dtype, lanes)}.v{lanes}p0"
            pointers, flags = f"<{lanes} x ptr>", f"<{lanes} x i1>"
            self.module.declare(f"declare void @{name}({v}, {pointers}, i32, {flags})")
            self.do(f"call void @{name}({v} {value}, {pointers} {pointer}, i32 {size}, {flags} {mask})")
        elif store.active is not None:
            name = f"llvm.masked.store.{suffix(dtype, lanes)}.p0"
            self.module.declare(f"declare void @{name}({v}, ptr, i32, <{lanes} x i1>)")
            self.do(f"call void @{name}({v} {value}, ptr {pointer}, i32 {size}, <{lanes} x i1> {mask})")
        else:
            self.do(f"store {v} {value}, ptr {pointer}, align {size}")

    def check(self, check: Check) -> None:
        """Write the message's number into the context if any active lane fails."""
        ok = check.ok
        name = self.operand(ok, ok.lanes)
        if ok.lanes > 1:
            if check.active is not None:
                inactive = active_lanes(ok.lanes, check.active, invert=True)
                name = self.let(f"or <{ok.lanes} x i1> {name}, {inactive}")
            name = self.call(f"llvm.vector.reduce.and.v{ok.lanes}i1", "i1", [(f"<{ok.lanes} x i1>", name)])
        good, bad = self.fresh("ok"), self.fresh("failed")
        self.do(f"br i1 {name}, label %{good}, label %{bad}")
        self.label(bad)
        self.do(f"store i64 {self.module.status(check)}, ptr %context, align 8")
        self.do(f"br label %{good}")
        self.label(good)


def suffix(dtype: np.dtype, lanes: int) -> str:
    """How LLVM names a vector type in an intrinsic: v8f64."""
    kind = "f" if dtype.kind == "f" else "i"
    return f"v{lanes}{kind}{dtype.itemsize * 8}"


def active_lanes(lanes: int, active: int | None, invert: bool = False, backwards: bool = False) -> str:
    """A mask with the first lanes set (the others with `invert`; the last ones with `backwards`)."""
    count = lanes if active is None else active
    bits = [(i < count) != invert for i in range(lanes)]
    return (
        "<" + ", ".join(f"i1 {'true' if bit else 'false'}" for bit in bits[:: -1 if backwards else 1]) + ">"
    )
