"""The functions of one module as several modules, which LLVM can work on side by side.

Functions hold no state, so a helper that two modules need is simply in both; what the first module calls in
the others is looked up by name when the object code is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

LEAST = 200
"""So many lines of functions are worth a module of their own."""

_NAME = re.compile(r'@"?([\w.$]+)')
_HEAD = re.compile(r'^define (?:internal )?([^@]*)@"?([\w.$]+)"?\((.*)\)')


def parts(functions: Mapping[str, str], first: Collection[str], count: int) -> list[list[str]]:
    """The texts of functions in at most `count` groups of about one size; those named in `first` come first.

    What these call is visible by its name in its group, and declared in the first one.
    """
    mentions = {name: [x for x in _NAME.findall(text) if x in functions] for name, text in functions.items()}
    names = {name: dict.fromkeys(found) for name, found in mentions.items()}
    called = dict.fromkeys(x for name in first for x in names[name] if x not in first)
    needed = {name: _reached(name, names) for name in called}
    lines = {name: text.count("\n") for name, text in functions.items()}
    # What is called, mostly elementary functions, is there once for each call in the end.
    size = {
        name: sum(lines[x] + sum(lines[y] for y in mentions[x][1:]) for x in inner)
        for name, inner in needed.items()
    }
    if size:  # the largest alone is the most that one thread has to do
        count = min(count, sum(size.values()) // LEAST, int(sum(size.values()) / max(size.values()) + 0.7))
    if count < 2 or not size:
        return [list(functions.values())]
    groups: list[list[str]] = [[] for _ in range(count)]
    work = [0] * count
    work[0] = sum(lines[name] for name in first)
    for name in sorted(called, key=lambda name: -size[name]):
        k = work.index(min(work))
        groups[k].append(name)
        work[k] += size[name]
    texts = []
    for k, group in enumerate(groups):
        held = dict.fromkeys(x for name in group for x in needed[name])
        if k == 0:
            own = [functions[name] for name in (*first, *held)]
            texts.append([*own, *[_declaration(functions[name]) for name in called if name not in held]])
        else:
            texts.append([_visible(functions[name]) if name in group else functions[name] for name in held])
    return [group for group in texts if group]


def _reached(name: str, names: Mapping[str, Iterable[str]]) -> list[str]:
    """A function, and all that it calls."""
    reached = {name: None}
    pending = [name]
    while pending:
        for x in names[pending.pop()]:
            if x not in reached:
                reached[x] = None
                pending.append(x)
    return list(reached)


def _visible(text: str) -> str:
    """The function, known outside of its module."""
    return text.replace("define internal ", "define ", 1)


def _declaration(text: str) -> str:
    """What a module says of a function that another one has."""
    head = _HEAD.match(text)
    assert head is not None, text
    result, name, parameters = head.groups()
    kinds = [parameter.split()[0] for parameter in parameters.split(", ") if parameter]
    return f"declare {result}@{name}({', '.join(kinds)})"
