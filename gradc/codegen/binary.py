"""What is left of a graph once it is compiled, as plain data: object code, and what it takes to run it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
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


class Room(NamedTuple):
    """Workspace: so many bytes, and behind them so many for each thread, of which there may be `most`."""

    fixed: int
    each: int
    most: int


def bytes_of(rooms: Iterable[Room], threads: int = 1) -> int:
    """The workspace in which there is every one of these rooms, for so many threads."""
    return max([room.fixed + room.each * min(room.most, threads) for room in rooms], default=0)


class Binary(NamedTuple):
    """Object files, the first with function `ENTRY`: it takes `inputs`, captured arrays, and an arena with
    `rooms`.

    The statuses 1, 2, ... mean `messages`; `captured` are the arrays by name. `over` says for each output
    over which input it is written, if it takes its memory; `is_parallel`, whether there are kernels that
    threads may share; `work`, roughly, how much there is to do.
    """

    code: tuple[bytes, ...]
    rooms: tuple[Room, ...]
    messages: tuple[Message, ...]
    inputs: tuple[Type, ...]
    outputs: tuple[Type, ...]
    captured: tuple[str, ...]
    over: tuple[int | None, ...]
    is_parallel: bool
    work: int


def pack(binary: Binary, lines: Sequence[Source], arrays: Sequence[str]) -> bytes:
    """A binary as bytes: lines of text, an empty one, the object files.

    A line is a word and what it says. Lines of code and captured arrays are told by their numbers among those
    of the traced graph, so that the bytes serve another function which differs in them only. (JSON would take
    as long to import as all else takes to be read.) Errors: `ValueError` for a line that is not there.
    """
    kinds = list(dict.fromkeys((*binary.inputs, *binary.outputs)))
    head = [
        f"rooms {' '.join([str(n) for room in binary.rooms for n in room])}",
        f"work {binary.work}",
        f"parallel {int(binary.is_parallel)}",
        f"types {';'.join(map(str, kinds))}",
        f"inputs {_numbers(binary.inputs, kinds)}",
        f"outputs {_numbers(binary.outputs, kinds)}",
        f"captured {_numbers(binary.captured, arrays)}",
        f"sizes {' '.join([str(len(code)) for code in binary.code])}",
        f"over {' '.join([f'{y} {x}' for y, x in enumerate(binary.over) if x is not None])}",
    ]
    for text, source, error in binary.messages:
        line = -1 if source is None else lines.index(source)
        head.append(f"message {line} {error} {text.replace('%', '%25').replace(chr(10), '%0A')}")
    return "\n".join([*head, "", ""]).encode() + b"".join(binary.code)


def unpack(data: bytes, lines: Sequence[Source], arrays: Sequence[str]) -> Binary:
    """The binary of bytes that `pack` made. Errors: `ValueError`, `LookupError` for others."""
    head, _, code = data.partition(b"\n\n")
    said: dict[str, str] = {}
    messages: list[Message] = []
    for row in head.decode().split("\n"):
        word, _, rest = row.partition(" ")
        if word == "message":
            line, error, text = rest.split(" ", 2)
            source = lines[int(line)] if int(line) >= 0 else None
            messages.append(Message(text.replace("%0A", "\n").replace("%25", "%"), source, error))
        else:
            said[word] = rest
    numbers = {word: [int(n) for n in said[word].split()] for word in NUMBERS}
    kinds = [parse_type(kind) for kind in said["types"].split(";") if kind]
    over: list[int | None] = [None] * len(numbers["outputs"])
    for y, x in zip(numbers["over"][::2], numbers["over"][1::2], strict=True):
        over[y] = x
    ends = list(itertools.accumulate(numbers["sizes"]))
    if not ends or ends[-1] != len(code):
        raise ValueError(f"{len(code)} bytes of object code in place of {ends[-1:]}")
    return Binary(
        tuple([code[end - size : end] for end, size in zip(ends, numbers["sizes"], strict=True)]),
        tuple([Room(*numbers["rooms"][i : i + 3]) for i in range(0, len(numbers["rooms"]), 3)]),
        tuple(messages),
        tuple([kinds[i] for i in numbers["inputs"]]),
        tuple([kinds[i] for i in numbers["outputs"]]),
        tuple([arrays[i] for i in numbers["captured"]]),
        tuple(over),
        said["parallel"] == "1",
        int(said["work"]),
    )


NUMBERS = ("rooms", "inputs", "outputs", "captured", "over", "sizes")
"""The words that are followed by numbers."""


def _numbers(things: Sequence[Any], known: Sequence[Any]) -> str:
    """Where each of some things stands among the known ones. Errors: `ValueError` if it does not."""
    places = {thing: i for i, thing in enumerate(known)}
    if not all(thing in places for thing in things):
        raise ValueError("it is not among them")
    return " ".join([str(places[thing]) for thing in things])
