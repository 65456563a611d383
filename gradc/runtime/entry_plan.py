"""The plan of an entry: the table of 64-bit words that the native routine reads, and how it is filled.

A plan says what the leaves must be, what the results are, which function computes, and how the *frame*, the
working memory of one call, is laid out:

    context | slots (the objects of the result: outputs, None, tuples) | arena | in | out | numbers

Context and arena start at multiples of 64 bytes. A plan is written once and only read after that.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import Any, Final

import numpy as np

from gradc.ir.types import ALIGNMENT, round_up
from gradc.runtime.buffers import address_of
from gradc.runtime.entry_spec import MISS, Call, LeafSpec, Structure, scalar_types
from gradc.runtime.pool import FLOOR, pool

PLAN: Final = (
    "compute",  # the compute function
    "release_gil",  # whether it runs without the GIL
    "run",  # the function that does the chunks of kernels, or null
    "helpers",  # how many threads may help it
    "on_status",  # the callable that raises for its status
    "miss",  # the object MISS
    "none",  # the object None
    "inputs",  # how many, and their leaf records
    "input_leaves",
    "constants",  # how many, and the addresses of their elements
    "constant_data",
    "handler",  # NumPy's handler that allocates the results, or null for the usual one
    "outputs",  # how many, and their leaf records
    "output_leaves",
    "tuples",  # how many, and their sizes
    "tuple_sizes",
    "extras",  # how many, and the slots whose object gets one more reference, as it is used once more
    "extra_slots",
    "moves",  # how many, and their records
    "move_records",
    "unused",  # how many, and the slots whose object is not part of the result
    "unused_slots",
    "root",  # the slot of the whole result
    "on_heap",  # whether the frame is allocated, rather than on the stack
    "frame_bytes",
    "cleared_words",  # how much of the frame starts as zeros: the context and the slots
    "slots",  # where these lie in the frame
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
)
MOVE: Final = (
    "tuple",
    "position",
    "part",
)  # the object of slot `part` becomes an item of the tuple in slot `tuple`

KINDS: Final = {"float": 0, "scalar": 1, "array": 2}

STACK_BYTES: Final = 2 << 10 if os.name == "nt" else 16 << 10
"""The largest arena, and the largest rest of a frame, that lie on the stack. (On Windows less than a page, so
that the stack's guard page is never skipped.)"""

NUMBER_BYTES: Final = 16
"""The room for one number in the frame: the size and alignment of the largest, complex128."""


def plan_words(call: Call, on_status: object) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The plan of `call`, whose status `on_status` handles.

    It holds addresses of the types, dtypes and constants that `call` names and of `on_status`, without owning
    them.
    """
    outputs, leaves = len(call.outputs), call.inputs + call.outputs
    sizes, moves, root = arrange(call.structure, outputs)
    uses = Counter([root, *(part for _, _, part in moves)])
    extras = [slot for slot in range(outputs) for _ in range(uses[slot] - 1)] + [outputs] * uses[outputs]
    unused = [slot for slot in range(outputs) if not uses[slot]]
    slot_count = outputs + 1 + len(sizes)

    slots = round_up(call.context_bytes, 8)
    arena = round_up(slots + 8 * slot_count, ALIGNMENT)
    ins = round_up(arena + call.arena_bytes, ALIGNMENT)
    outs = ins + 8 * (len(call.inputs) + len(call.constants))
    numbers = round_up(outs + 8 * outputs, NUMBER_BYTES)
    frame_bytes = numbers + NUMBER_BYTES * len(leaves) + ALIGNMENT

    tables = {
        "sizes": sizes,
        "extras": extras,
        "moves": [word for move in moves for word in move],
        "unused": unused,
        "constants": [address_of(constant) for constant in call.constants],
        "shapes": [size for leaf in leaves for size in leaf.shape],
    }
    words = np.zeros(len(PLAN) + len(LEAF) * len(leaves) + sum(map(len, tables.values())), np.uint64)
    address, place = {}, len(PLAN) + len(LEAF) * len(leaves)
    for name, table in tables.items():
        words[place : place + len(table)] = table
        address[name] = address_of(words) + 8 * place
        place += len(table)
    shape, place = address["shapes"], len(PLAN)
    for number, leaf in enumerate(leaves):
        words[place : place + len(LEAF)] = leaf_record(leaf, shape, numbers + NUMBER_BYTES * number)
        shape, place = shape + 8 * len(leaf.shape), place + len(LEAF)

    plan = {
        "compute": call.address,
        "release_gil": int(call.release_gil),
        "run": call.parallel[0],
        "helpers": call.parallel[1],
        "on_status": id(on_status),
        "miss": id(MISS),
        "none": id(None),
        "inputs": len(call.inputs),
        "input_leaves": address_of(words) + 8 * len(PLAN),
        "constants": len(call.constants),
        "constant_data": address["constants"],
        "handler": id(pool().handler) if any(map(is_large, call.outputs)) else 0,
        "outputs": outputs,
        "output_leaves": address_of(words) + 8 * (len(PLAN) + len(LEAF) * len(call.inputs)),
        "tuples": len(sizes),
        "tuple_sizes": address["sizes"],
        "extras": len(extras),
        "extra_slots": address["extras"],
        "moves": len(moves),
        "move_records": address["moves"],
        "unused": len(unused),
        "unused_slots": address["unused"],
        "root": root,
        "on_heap": int(max(call.arena_bytes, frame_bytes - call.arena_bytes) > STACK_BYTES),
        "frame_bytes": frame_bytes,
        "cleared_words": slots // 8 + slot_count,
        "slots": slots,
        "slot_count": slot_count,
        "arena": arena,
        "in": ins,
        "out": outs,
    }
    words[: len(PLAN)] = [plan[name] for name in PLAN]
    words.setflags(write=False)
    return words


def is_large(leaf: LeafSpec) -> bool:
    """Whether a result's memory is worth keeping once it is free."""
    return leaf.kind == "array" and leaf.dtype.itemsize * math.prod(leaf.shape) >= FLOOR


def leaf_record(leaf: LeafSpec, shape: int, number: int) -> list[int]:
    """The words of one leaf, whose shape is written at address `shape` and whose number is at `number`."""
    types = {"float": (float,), "scalar": scalar_types(leaf.dtype), "array": (np.ndarray,)}[leaf.kind]
    record = {
        "kind": KINDS[leaf.kind],
        "type": id(types[0]),
        "twin": id(types[-1]),
        "descr": id(leaf.dtype),
        "nd": len(leaf.shape),
        "shape": shape,
        "number": number,
    }
    return [record[name] for name in LEAF]


def arrange(structure: Structure, outputs: int) -> tuple[list[int], list[tuple[int, int, int]], int]:
    """The sizes of a structure's tuples, the moves (records) that fill them, and the slot of the whole."""
    sizes: list[int] = []
    moves: list[tuple[int, int, int]] = []

    def place(part: Structure) -> int:
        if part is None:
            return outputs
        if isinstance(part, int):
            return part
        slot = outputs + 1 + len(sizes)
        sizes.append(len(part))
        for position, item in enumerate(part):
            moves.append((slot, position, place(item)))
        return slot

    root = place(structure)
    return sizes, moves, root
