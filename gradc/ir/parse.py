"""Text back into a graph: `str(parse(text)) == text`, at every stage."""

from __future__ import annotations

import ast
import re
from typing import Any

import numpy as np

from gradc.ir.errors import GradcError, ParseError, Source
from gradc.ir.graph import Graph, Node, Place, Value
from gradc.ir.op import OPS
from gradc.ir.text import NAME
from gradc.ir.types import Type, parse_type

TOKEN = re.compile(
    rf"""(?P<note>\#\ note:[^\n]*) | (?P<comment>\#[^\n]*) | (?P<newline>\n) | (?P<space>[^\S\n]+)
    | (?P<place>@(?:arena\+|out|in|captured)\d+) | (?P<arrow>->)
    | (?P<number>-?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|-inf\b|-nan\b)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<name>{NAME}) | (?P<sign>[()\[\]{{}},:=])""",
    re.VERBOSE,
)


class _Parser:
    """Recursive descent over tokens; nested graphs are the only recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise self.error(f"unexpected {text[at]!r}", at)
            kind = match.lastgroup
            assert kind is not None
            if kind not in ("space", "newline"):
                self.tokens.append((kind, match[0], at))
            at = match.end()
        self.tokens.append(("end", "", at))
        self.position = 0

    def error(self, message: str, at: int) -> ParseError:
        line = self.text.count("\n", 0, at) + 1
        source = self.text.split("\n")[line - 1].strip()
        return ParseError(f"line {line} of the graph: {message}\n    {source[:110]}")

    @property
    def token(self) -> tuple[str, str, int]:
        return self.tokens[self.position]

    def next(self, expected: str | None = None) -> str:
        """The next token's text; comments are skipped unless the caller reads them with `comment`."""
        while self.token[0] in ("comment", "note"):
            self.position += 1
        kind, text, at = self.token
        if expected is not None and expected not in (text, kind):
            raise self.error(
                f"expected {expected!r}, found {text!r}" if text else f"expected {expected!r}", at
            )
        if kind == "end":
            raise self.error("the text ends within the graph", at)
        self.position += 1
        return text

    def peek(self, text: str) -> bool:
        position = self.position
        while self.tokens[position][0] in ("comment", "note"):
            position += 1
        return self.tokens[position][1] == text

    def comment(self) -> Source | None:
        """A source comment right after a node."""
        kind, text, _ = self.token
        match = re.fullmatch(r"# (.*):(\d+)", text) if kind in ("comment", "note") else None
        if match is None:
            return None
        self.position += 1
        return Source(match[1], int(match[2]))

    def type(self) -> Type:
        at = self.token[2]
        text = self.next("name")
        match = re.fullmatch(r"(\w+)\[(\d+)\]", text)  # the name rule swallows a one-axis type
        if match is None:
            text += self.next("[")
            while not self.peek("]"):
                text += self.next()
            text += self.next("]")
        try:
            return parse_type(text)
        except ParseError as error:
            raise self.error(error.message, at) from None

    def types(self) -> list[Type]:
        self.next("(")
        types = []
        while not self.peek(")"):
            types.append(self.type())
            if not self.peek(")"):
                self.next(",")
        self.next(")")
        return types

    def literal(self) -> Any:
        kind, text, at = self.token
        if text in ("[", "("):
            return self.sequence()
        self.next()
        if kind == "number":
            if text.lstrip("-") in ("inf", "nan"):
                return float(text)
            return ast.literal_eval(text)
        if kind == "string" or text in ("True", "False", "None"):
            return ast.literal_eval(text)
        if text in ("inf", "nan"):
            return float(text)
        raise self.error(f"expected a literal, found {text!r}", at)

    def sequence(self) -> Any:
        opening = self.next()
        closing = {"[": "]", "(": ")"}[opening]
        items = []
        while not self.peek(closing):
            items.append(self.literal())
            if not self.peek(closing):
                self.next(",")
        self.next(closing)
        return items if opening == "[" else tuple(items)

    def graph(self) -> Graph:
        self.next("graph")
        name = self.next("name")
        env: dict[str, Value] = {}
        inputs = []
        self.next("(")
        while not self.peek(")"):
            label = self.next("name")
            self.next(":")
            inputs.append(self.define(env, label, Value(self.type())))
            if not self.peek(")"):
                self.next(",")
        self.next(")")
        self.next("arrow")
        at = self.token[2]
        declared = self.types()
        arena = None
        if self.peek("arena"):
            self.next()
            arena = int(self.next("number"))
        self.next("{")
        notes, nodes = [], []
        while self.token[0] == "note":
            notes.append(self.token[1].removeprefix("# note: "))
            self.position += 1
        while not self.peek("return"):
            nodes.append(self.node(env))
        self.next("return")
        outputs = []
        while not self.peek("}"):
            outputs.append(self.use(env))
            if not self.peek("}"):
                self.next(",")
        self.next("}")
        if [y.type for y in outputs] != declared:
            raise self.error(f"{name} returns {[y.type for y in outputs]} but declares {declared}", at)
        return Graph(name, inputs, nodes, outputs, notes=tuple(notes), arena=arena)

    def define(self, env: dict[str, Value], name: str, value: Value) -> Value:
        if name in env:
            raise self.error(f"{name} is defined twice", self.tokens[self.position - 1][2])
        value.name = None if re.fullmatch(r"%\d+", name) else name
        env[name] = value
        return value

    def use(self, env: dict[str, Value]) -> Value:
        at = self.token[2]
        name = self.next("name")
        if name not in env:
            raise self.error(f"{name} is not defined here", at)
        return env[name]

    def node(self, env: dict[str, Value]) -> Node:
        labels, types, places = [], [], []
        at = self.token[2]
        while True:
            labels.append(self.next("name"))
            self.next(":")
            types.append(self.type())
            if self.token[0] == "place":
                text = self.next().lstrip("@")
                match = re.fullmatch(r"([a-z]+)\+?(\d+)", text)
                assert match is not None
                places.append(Place(match[1], int(match[2])))
            if self.peek("="):
                break
            self.next(",")
        self.next("=")
        at = self.token[2]
        op = self.next("name")
        if op not in OPS:
            raise self.error(f"there is no op {op!r}", at)
        inputs, attrs = self.arguments(env)
        source = self.comment()
        row = OPS[op]
        try:
            inferred = row.types(tuple(x.type for x in inputs), attrs, types[0])
        except (GradcError, TypeError) as error:
            raise self.error(f"{op}: {error}", at) from None
        if list(inferred) != types:
            raise self.error(f"{op} gives {list(inferred)}, but the text says {types}", at)
        for key, value in attrs.items():
            if op == "constant" and key == "value" and types[0].dtype.kind == "f":
                attrs[key] = _rounded(value, types[0].dtype)
        node = Node(row, tuple(inputs), attrs, tuple(types), source, tuple(places) or None)
        for label, value in zip(labels, node.results, strict=True):
            self.define(env, label, value)
        return node

    def arguments(self, env: dict[str, Value]) -> tuple[list[Value], dict[str, Any]]:
        inputs: list[Value] = []
        attrs: dict[str, Any] = {}
        self.next("(")
        while not self.peek(")"):
            if self.token[0] == "name" and self.tokens[self.position + 1][1] == "=":
                key = self.next("name")
                self.next("=")
                attrs[key] = self.graph() if self.peek("graph") else self.literal()
            else:
                inputs.append(self.use(env))
            if not self.peek(")"):
                self.next(",")
        self.next(")")
        return inputs, attrs


def _rounded(value: Any, dtype: np.dtype) -> Any:
    """A printed float32 is short: its exact value comes back by rounding it again."""
    if isinstance(value, list):
        return [_rounded(v, dtype) for v in value]
    return dtype.type(value).item()


def parse(text: str) -> Graph:
    """The graph that a text describes.

    Errors: `ParseError` with the line of the text and what was expected.
    """
    parser = _Parser(text)
    graph = parser.graph()
    if not parser.peek(""):
        raise parser.error("something follows the graph", parser.token[2])
    return graph
