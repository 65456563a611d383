"""Matrix factorizations as functions in LLVM IR that call NumPy's LAPACK loops, one matrix after the other.

One matrix at a time, because the loops tell by a status flag whether any of theirs had no result, and a
graph wants to know which. The flag is cleared before each, as NumPy does, and read after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gradc.codegen.library import declaration, fetch, symbol
from gradc.ir.graph import Node
from gradc.ir.types import Type, round_up

CLEAR, TEST = "gradc.library.c.feclearexcept", "gradc.library.c.fetestexcept"


class Routine(NamedTuple):
    """The function `void symbol(inputs..., outputs..., scratch)`, and how many bytes of scratch it needs."""

    symbol: str
    text: str
    scratch: int


@dataclass
class Writer:
    """The instructions for one matrix; allocations go to the function's head."""

    allocations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    records: dict[str, None] = field(default_factory=dict)
    count: int = 0

    def fresh(self, stem: str = "%v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def record(self, name: str) -> tuple[str, str]:
        """Both pointers of a record."""
        self.records[name] = None
        loop, data = self.fresh("%loop"), self.fresh("%data")
        self.lines += fetch(name, loop, data)
        return loop, data

    def array(self, item: str, values: Sequence[str | int]) -> str:
        """An array on the stack, filled."""
        array = self.fresh("%array")
        self.allocations.append(f"  {array} = alloca [{len(values)} x {item}], align 8")
        for i, value in enumerate(values):
            at = self.fresh()
            self.lines += [
                f"  {at} = getelementptr {item}, ptr {array}, i64 {i}",
                f"  store {item} {value}, ptr {at}, align 8",
            ]
        return array

    def loop(self, function: str, sizes: Sequence[int], *operands: tuple[str, Sequence[int]]) -> None:
        """Call a loop of `numpy.linalg` on one matrix: the core sizes, and each operand with its strides in
        elements."""
        call, data = self.record(symbol("numpy.linalg", function, "f64"))
        args = self.array("ptr", [pointer for pointer, _ in operands])
        dims = self.array("i64", [1, *sizes])
        strides = [step * 8 for _, steps in operands for step in steps]
        steps = self.array("i64", [*[0] * len(operands), *strides])
        self.lines.append(f"  call void {call}(ptr {args}, ptr {dims}, ptr {steps}, ptr {data})")

    def status(self, name: str) -> str:
        """Call a function of the C library with its constant."""
        call, data = self.record(name)
        which, result = self.fresh(), self.fresh()
        self.lines += [
            f"  {which} = ptrtoint ptr {data} to i32",
            f"  {result} = call i32 {call}(i32 {which})",
        ]
        return result

    def flag(self, at: str) -> None:
        """Store whether no loop has raised the status flag."""
        status, good, byte = self.status(TEST), self.fresh(), self.fresh()
        self.lines += [
            f"  {good} = icmp eq i32 {status}, 0",
            f"  {byte} = zext i1 {good} to i8",
            f"  store i8 {byte}, ptr {at}, align 1",
        ]

    def over(self, count: int, step: Callable[[str], list[str]]) -> None:
        """A loop over elements: `step` gives the instructions for the one of a number."""
        n = self.fresh("")
        self.lines += [
            f"  br label %head{n}",
            f"head{n}:",
            f"  br label %body{n}",
            f"body{n}:",
            f"  %at{n} = phi i64 [ 0, %head{n} ], [ %next{n}, %body{n} ]",
            *step(f"%at{n}"),
            f"  %next{n} = add nuw nsw i64 %at{n}, 1",
            f"  %more{n} = icmp ult i64 %next{n}, {count}",
            f"  br i1 %more{n}, label %body{n}, label %rest{n}",
            f"rest{n}:",
        ]

    def is_finite(self, x: str, count: int) -> str:
        """Whether no element is infinite or NaN: then the sum of all times 0 is 0."""
        total = self.fresh("%total")
        self.allocations.append(f"  {total} = alloca double, align 8")
        self.lines.append(f"  store double 0.0, ptr {total}, align 8")
        self.over(
            count,
            lambda at: [
                f"  {at}.from = getelementptr double, ptr {x}, i64 {at}",
                f"  {at}.x = load double, ptr {at}.from, align 8",
                f"  {at}.nothing = fmul double {at}.x, 0.0",
                f"  {at}.before = load double, ptr {total}, align 8",
                f"  {at}.after = fadd double {at}.before, {at}.nothing",
                f"  store double {at}.after, ptr {total}, align 8",
            ],
        )
        end, finite = self.fresh(), self.fresh()
        self.lines += [
            f"  {end} = load double, ptr {total}, align 8",
            f"  {finite} = fcmp oeq double {end}, 0.0",
        ]
        return finite

    def fill_nan(self, y: str, count: int) -> None:
        self.over(
            count,
            lambda at: [
                f"  {at}.to = getelementptr double, ptr {y}, i64 {at}",
                f"  store double 0x7FF8000000000000, ptr {at}.to, align 8",
            ],
        )

    def copy(self, source: str, target: str, rows: int, columns: int, *, upper: bool = False) -> None:
        """Copy the first rows of a matrix; with zeros below the diagonal if `upper`."""

        def step(at: str) -> list[str]:
            triangle = [
                f"  {at}.row = udiv i64 {at}, {columns}",
                f"  {at}.column = urem i64 {at}, {columns}",
                f"  {at}.keep = icmp uge i64 {at}.column, {at}.row",
                f"  {at}.y = select i1 {at}.keep, double {at}.x, double 0.0",
            ]
            return [
                f"  {at}.from = getelementptr double, ptr {source}, i64 {at}",
                f"  {at}.x = load double, ptr {at}.from, align 8",
                *(triangle if upper else []),
                f"  {at}.to = getelementptr double, ptr {target}, i64 {at}",
                f"  store double {at}{'.y' if upper else '.x'}, ptr {at}.to, align 8",
            ]

        self.over(rows * columns, step)


def _cholesky(w: Writer, node: Node, x: str, factor: str, *_: str) -> None:
    n = node.inputs[0].shape[-1]
    w.loop("cholesky_lo", [n], (x, (n, 1)), (factor, (n, 1)))


def _solve(w: Writer, node: Node, a: str, b: str, x: str, *_: str) -> None:
    n, k = node.inputs[1].shape[-2:]
    strides = (1, n) if node.attrs["transpose"] else (n, 1)
    w.loop("solve", [n, k], (a, strides), (b, (k, 1)), (x, (k, 1)))


def _slogdet(w: Writer, node: Node, x: str, sign: str, logarithm: str, *_: str) -> None:
    n = node.inputs[0].shape[-1]
    w.loop("slogdet", [n], (x, (n, 1)), (sign, ()), (logarithm, ()))


def _eigh(w: Writer, node: Node, x: str, values: str, vectors: str, *_: str) -> None:
    n = node.inputs[0].shape[-1]
    w.loop(
        "eigh_lo" if node.attrs["lower"] else "eigh_up", [n], (x, (n, 1)), (values, (1,)), (vectors, (n, 1))
    )


def _eigenvalues(w: Writer, node: Node, x: str, values: str, *_: str) -> None:
    n = node.inputs[0].shape[-1]
    w.loop("eigvalsh_lo" if node.attrs["lower"] else "eigvalsh_up", [n], (x, (n, 1)), (values, (1,)))


def _svd(w: Writer, node: Node, x: str, u: str, s: str, vt: str, *_: str) -> None:
    m, n = node.inputs[0].shape[-2:]
    k = min(m, n)
    w.loop("svd_s", [m, n, k], (x, (n, 1)), (u, (k, 1)), (s, (1,)), (vt, (n, 1)))


def _singular_values(w: Writer, node: Node, x: str, _u: str, s: str, *_: str) -> None:
    m, n = node.inputs[0].shape[-2:]
    w.loop("svd", [m, n, min(m, n)], (x, (n, 1)), (s, (1,)))


def _qr(w: Writer, node: Node, x: str, q: str, r: str, scratch: str) -> None:
    """The reflectors are made in place, R above them."""
    m, n = node.inputs[0].shape[-2:]
    k = min(m, n)
    tau = w.fresh("%tau")
    w.lines.append(f"  {tau} = getelementptr i8, ptr {scratch}, i64 {round_up(m * n * 8)}")
    w.copy(x, scratch, m, n)
    w.loop("qr_r_raw", [m, n, k], (scratch, (n, 1)), (tau, (1,)))
    w.loop("qr_reduced", [m, n, k], (scratch, (n, 1)), (tau, (1,)), (q, (k, 1)))
    w.copy(scratch, r, k, n, upper=True)


def _scratch(node: Node) -> int:
    """Bytes of scratch: for QR the reflectors and their factors."""
    m, n = node.inputs[0].shape[-2:]
    return round_up(m * n * 8) + min(m, n) * 8 if node.op.name == "qr" else 0


WRITERS: dict[str, Callable[..., None]] = {
    "cholesky": _cholesky,
    "solve": _solve,
    "slogdet": _slogdet,
    "eigh": _eigh,
    "svd": _svd,
    "qr": _qr,
}
"""What each op does for one matrix, given pointers to its operands, results and scratch."""

FINITE_ONLY = {"svd"}
"""What LAPACK is not asked for with infinities or NaN: it may never come to an end."""

VALUES_ONLY: dict[str, tuple[int, Callable[..., None]]] = {
    "eigh": (0, _eigenvalues),
    "svd": (1, _singular_values),
}
"""What does where nobody uses the vectors, but only the result of this number."""


def factorization(node: Node, used: Sequence[bool]) -> Routine:
    """The function for a node, of whose results some are used."""
    name = node.op.name
    write = WRITERS[name]
    flag = len(node.types) - 1 if node.types[-1].is_bool else None
    if name in VALUES_ONLY:
        values, cheap = VALUES_ONLY[name]
        if not any(u for i, u in enumerate(used) if i not in (values, flag)):
            write = cheap
    x = node.inputs[0].type
    batch = x.with_shape(x.shape[:-2]).size
    w = Writer()
    ins, outs = [v.type for v in node.inputs], list(node.types)
    pointers = [f"%in{i}" for i in range(len(ins))] + [f"%out{i}" for i in range(len(outs))]
    shapes = "_".join("x".join(map(str, t.shape)) for t in ins)
    options = "".join(f"_{k}" for k, v in node.attrs.items() if v)
    own = f"{write.__name__.strip('_')}_f64_{shapes}{options}"
    head = f"define internal void @{own}({', '.join(f'ptr {p}' for p in pointers)}, ptr %scratch) #1 {{"
    if not batch:
        return Routine(own, f"{head}\n  ret void\n}}", 0)
    places = []
    for pointer, type in zip(pointers, [*ins, *outs], strict=True):
        places.append(f"{pointer}.i")
        w.lines += _element(pointer, type, batch)
    is_empty = name != "slogdet" and not any(t.size for t in outs if not t.is_bool)
    if name in FINITE_ONLY and not is_empty:
        finite = w.is_finite(places[0], x.size // batch)
        w.lines += [f"  br i1 {finite}, label %finite, label %hopeless", "hopeless:"]
        for place, type in zip(places[len(ins) :], outs, strict=True):
            if not type.is_bool:
                w.fill_nan(place, type.size // batch)
        w.lines += [f"  store i8 0, ptr {places[-1]}, align 1", "  br label %matrix_end", "finite:"]
    if flag is not None:
        w.status(CLEAR)
    if not is_empty:
        write(w, node, *places, "%scratch")
    if flag is not None:
        w.flag(places[len(ins) + flag])
    body = [
        head,
        "entry:",
        *w.allocations,
        "  br label %matrix",
        "matrix:",
        "  %i = phi i64 [ 0, %entry ], [ %i.next, %matrix_end ]",
        *w.lines,
        "  br label %matrix_end",
        "matrix_end:",
        "  %i.next = add nuw nsw i64 %i, 1",
        f"  %i.more = icmp ult i64 %i.next, {batch}",
        "  br i1 %i.more, label %matrix, label %end",
        "end:",
        "  ret void",
        "}",
    ]
    text = "\n".join([*map(declaration, w.records), *body])
    return Routine(own, text, _scratch(node))


def _element(pointer: str, type: Type, batch: int) -> list[str]:
    """Instructions for the pointer to the part of an array that belongs to matrix %i."""
    return [
        f"  {pointer}.bytes = mul nuw nsw i64 %i, {type.nbytes // batch}",
        f"  {pointer}.i = getelementptr i8, ptr {pointer}, i64 {pointer}.bytes",
    ]
