"""A failing program as one text file: the graph, and in its notes the arguments and captured arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradc.ir import Graph, parse

NOTE = re.compile(r"(argument|captured) (\S+) (\w+)(\[.*?\]) = (.*)")


def to_text(graph: Graph, leaves: Sequence[np.ndarray], remark: str = "") -> str:
    """The text of a program with its arguments. Names are those of the text."""
    graph = parse(str(graph)).replace(constants=graph.constants)
    notes = [remark] if remark else []
    named = [("argument", x.name or "_", a) for x, a in zip(graph.inputs, leaves, strict=True)]
    named += [("captured", name, a) for name, a in graph.constants.items()]
    for kind, name, a in named:
        notes.append(f"{kind} {name} {a.dtype}{list(a.shape)} = {json.dumps(a.ravel().tolist())}")
    return str(graph.replace(notes=tuple(notes))) + "\n"


def from_text(text: str) -> tuple[Graph, list[np.ndarray]]:
    """The program and its arguments."""
    graph = parse(text)
    leaves, constants = [], {}
    for note in graph.notes:
        match = NOTE.fullmatch(note)
        if match is None:
            continue
        kind, name, dtype, shape, values = match.groups()
        array = np.array(json.loads(values), dtype).reshape(json.loads(shape))
        if kind == "argument":
            leaves.append(array)
        else:
            constants[name] = array
    return graph.replace(constants=constants, notes=()), leaves


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ir"
    path.write_text(text)
    return path
