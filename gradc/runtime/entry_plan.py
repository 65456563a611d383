"""The plan of an entry: the table of 64-bit words that the native routine reads, and how it is filled.

A plan says how arguments are passed, what they must be, what the results are, which function computes, and
how the *frame*, the working memory of one call, is laid out:

    context | slots (pointers to objects) | arena | in | out | numbers

Slots are for the arguments (which the caller owns), then, owned by the call: what containers among them hold,
copies of arrays, outputs, and the containers of the result. Context and arena start at multiples of 64 bytes.
A plan is written once and only read after that.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

import numpy as np

from gradc.ir.types import ALIGNMENT, round_up
from gradc.runtime.buffers import address_of
from gradc.runtime.entry_spec import (
    ARRAY_TYPES,
    MISS,
    Call,
    Container,
    Fixed,
    Form,
    LeafSpec,
    Tree,
    scalar_types,
)
from gradc.runtime.pool import FLOOR, pool

PLAN: Final = (
    "compute",  # the compute function
    "release_gil",  # whether it runs without the GIL
    "run",  # the function that does the chunks of kernels, or null
    "helpers",  # how many threads may help it
    "error",  # the callable that gives the exception for its status
    "bound",  # how many arguments there are, their names, and their defaults
    "names",
    "defaults",
    "positional",  # so many of them may be given by position
    "options",  # from here on they are given by name and in order
    "walks",  # how many containers and fixed values are among the arguments, and their records
    "walk_records",
    "absent",  # AttributeError: a field that is not there is no error
    "inputs",  # how many, the slots they are in, and their leaf records
    "input_slots",
    "input_leaves",
    "constants",  # how many, and the addresses of their elements
    "constant_data",
    "handler",  # NumPy's handler that allocates the results, or null for the usual one
    "outputs",  # how many, and their leaf records
    "output_leaves",
    "builds",  # how many containers and fixed values are in the result, and their records
    "build_records",
    "new",  # object.__new__
    "root",  # the slot of the whole result
    "on_heap",  # whether the frame is allocated, rather than on the stack
    "frame_bytes",
    "cleared_words",  # how much of the frame starts as zeros: the context and the slots
    "slots",  # where these lie in the frame
    "owned",  # the first slot that the call owns
    "copies",  # the first for copies of arrays
    "made",  # the first for outputs
    "built",  # the first for containers of the result
    "slot_count",
    "arena",
    "in",
    "out",
)
LEAF: Final = (
    "kind",
    "type",  # the exact type of the object
    "twin",  # another type that is as good, or the same
    "descr",  # the dtype
    "nd",
    "shape",
    "number",  # where it lies in the frame, unless it is an array
    "simple",  # the type of a NumPy scalar that is its header and up to 8 bytes of value, or null
)
WALK: Final = (
    "op",
    "slot",  # what is looked at
    "type",  # its exact type
    "count",  # how many parts it has
    "keys",  # their keys or names
    "first",  # the slot that the first of them goes to
    "value",  # what a fixed value is compared with
)
BUILD: Final = (
    "op",
    "count",
    "parts",  # the slots that its parts are in
    "keys",
    "value",  # the class, the function that makes it, or the fixed value itself
)

KINDS: Final = {"float": 0, "scalar": 1, "array": 2}
WALKS: Final = {"tuple": 0, "list": 1, "dict": 2, "fields": 3, "is": 4, "equal": 5, "bits": 6, "alive": 7}
BUILDS: Final = {"tuple": 0, "list": 1, "dict": 2, "fields": 3, "make": 4, "is": 5}

STACK_BYTES: Final = 2 << 10 if os.name == "nt" else 16 << 10
"""The largest arena, and the largest rest of a frame, that lie on the stack. (On Windows less than a page, so
that the stack's guard page is never skipped.)"""

NUMBER_BYTES: Final = 16
"""The room for one number in the frame: the size and alignment of the largest, complex128."""


class Address(int):
    """A word that is so many bytes from the start of the table."""


class Table:
    """Words in the making, and the objects whose addresses are among them."""

    def __init__(self, size: int) -> None:
        self.words: list[int] = [0] * size
        self.objects: list[object] = []

    def add(self, words: Iterable[int]) -> Address:
        """Append words; where they are."""
        place = Address(8 * len(self.words))
        self.words.extend(words)
        return place

    def object(self, thing: object) -> int:
        """The address of an object that lives as long as the plan."""
        self.objects.append(thing)
        return id(thing)

    def finished(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The words with their addresses."""
        words = np.empty(len(self.words), np.uint64)
        start = address_of(words)
        words[:] = [w + start if type(w) is Address else w for w in self.words]
        words.setflags(write=False)
        return words


Plan = tuple[Any, ...]
"""What a native function holds for a signature: the words, then the owners of all that they point to. Tuples
are never taken apart by the cycle collector, so that all of it lasts as long as the plan."""


def make_plan(call: Call, form: Form) -> Plan:
    """The plan of `call` for arguments of a form."""
    table = Table(len(PLAN))
    bound, outputs = len(form.parts), len(call.outputs)
    walks, input_slots, copies = walk(form.parts, len(call.inputs), table)
    made = copies + len(call.inputs)
    built = made + outputs
    arrangement = Arrangement(made, built, table)
    root = arrangement.place(call.structure)
    builds = arrangement.records
    slot_count = built + len(builds)

    slots = round_up(call.context_bytes, 8)
    arena = round_up(slots + 8 * slot_count, ALIGNMENT)
    ins = round_up(arena + call.arena_bytes, ALIGNMENT)
    outs = ins + 8 * (len(call.inputs) + len(call.constants))
    numbers = round_up(outs + 8 * outputs, NUMBER_BYTES)
    leaves = call.inputs + call.outputs
    frame_bytes = numbers + NUMBER_BYTES * len(leaves) + ALIGNMENT
    records = [leaf_record(leaf, numbers + NUMBER_BYTES * k, table) for k, leaf in enumerate(leaves)]
    inputs = len(call.inputs)

    plan = {
        "compute": call.address,
        "release_gil": int(call.release_gil),
        "run": call.parallel[0],
        "helpers": call.parallel[1],
        "error": table.object(call.error),
        "bound": bound,
        "names": table.add([table.object(sys.intern(name)) if name else 0 for name in form.names]),
        "defaults": table.add([0 if x is MISS else table.object(x) for x in form.defaults]),
        "positional": form.positional,
        "options": form.options,
        "walks": len(walks),
        "walk_records": table.add(chain.from_iterable(walks)),
        "absent": table.object(AttributeError),
        "inputs": inputs,
        "input_slots": table.add(input_slots),
        "input_leaves": table.add(chain.from_iterable(records[:inputs])),
        "constants": len(call.constants),
        "constant_data": table.add([address_of(constant) for constant in call.constants]),
        "handler": id(pool().handler) if any(map(is_large, call.outputs)) else 0,
        "outputs": outputs,
        "output_leaves": table.add(chain.from_iterable(records[inputs:])),
        "builds": len(builds),
        "build_records": table.add(chain.from_iterable(builds)),
        "new": table.object(object.__new__),
        "root": root,
        "on_heap": int(max(call.arena_bytes, frame_bytes - call.arena_bytes) > STACK_BYTES),
        "frame_bytes": frame_bytes,
        "cleared_words": slots // 8 + slot_count,
        "slots": slots,
        "owned": bound,
        "copies": copies,
        "made": made,
        "built": built,
        "slot_count": slot_count,
        "arena": arena,
        "in": ins,
        "out": outs,
    }
    table.words[: len(PLAN)] = [plan[name] for name in PLAN]
    return table.finished(), tuple(table.objects), call.constants, call.keep_alive


def is_large(leaf: LeafSpec) -> bool:
    """Whether a result's memory is worth keeping once it is free."""
    return leaf.kind == "array" and leaf.dtype.itemsize * math.prod(leaf.shape) >= FLOOR


def leaf_record(leaf: LeafSpec, number: int, table: Table) -> list[int]:
    """The words of one leaf, whose number is at `number` in the frame."""
    types = {"float": (float,), "scalar": scalar_types(leaf.dtype), "array": ARRAY_TYPES}[leaf.kind]
    record = {
        "kind": KINDS[leaf.kind],
        "type": id(types[0]),
        "twin": id(types[-1]),
        "descr": table.object(leaf.dtype),
        "nd": len(leaf.shape),
        "shape": table.add(leaf.shape),
        "number": number,
        "simple": id(leaf.dtype.type) if leaf.dtype.kind in "iuf" and leaf.dtype.itemsize <= 8 else 0,
    }
    return [record[name] for name in LEAF]


def walk(parts: tuple[Tree, ...], inputs: int, table: Table) -> tuple[list[list[int]], list[int], int]:
    """The records of a walk through arguments in slots 0, 1, ...; the inputs' slots; the next free slot."""
    records: list[list[int]] = []
    slots = [0] * inputs
    free = len(parts)
    pending = list(enumerate(parts))
    for slot, part in pending:  # which grows meanwhile
        record = dict.fromkeys(WALK, 0) | {"slot": slot}
        if isinstance(part, int):
            slots[part] = slot
            continue
        if isinstance(part, Fixed):
            if part.input is not None:
                slots[part.input] = slot
            record |= {"op": WALKS[part.by], "type": id(type(part.value))}
            if part.by == "bits":
                record["value"] = int(np.float64(part.value).view(np.uint64))
            else:
                record["value"] = table.object(part.value)
        else:
            assert isinstance(part, Container)
            record |= {
                "op": WALKS[kind_of(part.cls)],
                "type": table.object(part.cls),
                "count": len(part.parts),
                "keys": table.add(map(table.object, part.keys)),
                "first": free,
            }
            pending.extend(enumerate(part.parts, free))
            free += len(part.parts)
        records.append([record[name] for name in WALK])
    return records, slots, free


def kind_of(cls: type) -> str:
    """How the routine reads and builds a container."""
    if issubclass(cls, tuple):
        return "tuple"
    return {list: "list", dict: "dict"}.get(cls, "fields")


class Arrangement:
    """The records that build a result of outputs in slots `made`, ...; what record k builds goes to slot
    `built` + k."""

    def __init__(self, made: int, built: int, table: Table) -> None:
        self.made, self.built, self.table = made, built, table
        self.records: list[list[int]] = []

    def place(self, part: Tree) -> int:
        """Add the records of a part of the result; the slot it will be in."""
        if isinstance(part, int):
            return self.made + part
        record: dict[str, int] = dict.fromkeys(BUILD, 0)
        if part is None or isinstance(part, Fixed):
            record |= {"op": BUILDS["is"], "value": self.table.object(part.value if part else None)}
        else:
            if not isinstance(part, Container):
                part = Container(tuple, (), part)
            slots = [self.place(each) for each in part.parts]
            record |= {"count": len(slots), "parts": self.table.add(slots)}
            make = part.make
            if make is None and part.cls is not tuple and kind_of(part.cls) == "tuple":
                make = functools.partial(tuple.__new__, part.cls)
            if make is not None:
                record |= {"op": BUILDS["make"], "value": self.table.object(make)}
            else:
                record |= {
                    "op": BUILDS[kind_of(part.cls)],
                    "keys": self.table.add(map(self.table.object, part.keys)),
                    "value": self.table.object(part.cls),
                }
        self.records.append([record[name] for name in BUILD])
        return self.built + len(self.records) - 1
