"""What is left of a graph once it is compiled, as plain data: object code, and what it takes to run it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gradc.ir.errors import Source
from gradc.ir.types import Type, parse_type

ENTRY = "gradc_compute"
"""The function that runs the graph: `void f(void **in, void **out, char *arena, void *context)`."""


class Message(NamedTuple):
    """What a status means, the user's line that it comes from, and the error's name."""

    text: str
    source: Source | None
    error: str


@dataclass(frozen=True)
class Binary:
    """Object files, the first with function `ENTRY`: it takes `inputs`, captured arrays, and `arena` bytes.

    The statuses 1, 2, ... mean `messages`; `calls` is what runs, in order, `captured` the arrays by name.
    `over` says for each output over which input it is written, if it takes its memory; `is_parallel`, whether
    there are kernels that threads may share; `work`, roughly, how much there is to do.
    """

    code: tuple[bytes, ...]
    arena: int
    messages: tuple[Message, ...]
    calls: tuple[str, ...]
    inputs: tuple[Type, ...]
    outputs: tuple[Type, ...]
    captured: tuple[str, ...]
    over: tuple[int | None, ...]
    is_parallel: bool
    work: int


def pack(binary: Binary, lines: Sequence[Source], arrays: Sequence[str]) -> bytes:
    """A binary as bytes: a line of JSON, then the object files.

    Lines and captured arrays are told by their numbers among those of the traced graph, so that the bytes
    serve another function which differs in them only. Errors: `ValueError` for a line that is not there.
    """
    kinds = list(dict.fromkeys(map(str, (*binary.inputs, *binary.outputs))))
    calls = list(dict.fromkeys(binary.calls))
    head = {
        "arena": binary.arena,
        "messages": [
            (m.text, None if m.source is None else lines.index(m.source), m.error) for m in binary.messages
        ],
        "symbols": calls,
        "calls": _numbers(binary.calls, calls),
        "types": kinds,
        "inputs": _numbers(map(str, binary.inputs), kinds),
        "outputs": _numbers(map(str, binary.outputs), kinds),
        "captured": [arrays.index(name) for name in binary.captured],
        "over": [(y, x) for y, x in enumerate(binary.over) if x is not None],
        "parallel": binary.is_parallel,
        "work": binary.work,
        "sizes": [len(code) for code in binary.code],
    }
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(binary.code)


def unpack(data: bytes, lines: Sequence[Source], arrays: Sequence[str]) -> Binary:
    """The binary of bytes that `pack` made. Errors: `ValueError`, `LookupError`, `TypeError` for others."""
    text, _, code = data.partition(b"\n")
    head: dict[str, Any] = json.loads(text)
    kinds = [parse_type(kind) for kind in head["types"]]
    ends = list(itertools.accumulate(head["sizes"]))
    if not ends or ends[-1] != len(code):
        raise ValueError(f"{len(code)} bytes of object code in place of {ends[-1:]}")
    over: list[int | None] = [None] * len(head["outputs"])
    for y, x in head["over"]:
        over[y] = x
    return Binary(
        tuple([code[end - size : end] for end, size in zip(ends, head["sizes"], strict=True)]),
        head["arena"],
        tuple([Message(text, None if i is None else lines[i], error) for text, i, error in head["messages"]]),
        tuple([head["symbols"][i] for i in head["calls"]]),
        tuple([kinds[i] for i in head["inputs"]]),
        tuple([kinds[i] for i in head["outputs"]]),
        tuple([str(arrays[i]) for i in head["captured"]]),
        tuple(over),
        head["parallel"],
        head["work"],
    )


def _numbers(things: Any, known: list[str]) -> list[int]:
    """Where each of some things stands among the known ones."""
    places = {thing: i for i, thing in enumerate(known)}
    return [places[thing] for thing in things]
