"""docs/coverage.md: which names of NumPy's and SciPy's are compiled, as the dispatch tables have it.

python -m docs.coverage          # prints the page
python -m docs.coverage --write  # writes docs/coverage.md
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.polynomial.polynomial
import scipy
import scipy.linalg
import scipy.special

import gradc
from gradc.trace.methods import Array
from gradc.trace.refusals import LIBRARY, REFUSED, instead
from gradc.trace.registry import CLASSES, FUNCTIONS, SCIPY
from gradc.trace.table import ConcreteOnly
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import Ufunc

assert gradc

COMPILED, CONSTANT, REFUSED_STATUS = "compiled", "constant", "not supported"

OTHER = [
    *("frombuffer", "fromfile", "fromregex", "fromstring", "genfromtxt", "load", "loadtxt", "info", "test"),
    *("get_include", "get_printoptions", "getbufsize", "geterr", "geterrcall", "printoptions", "seterr"),
    *("set_printoptions", "setbufsize", "seterrcall", "show_config", "show_runtime"),
]
"""Functions of NumPy that have no part in a computation: files, settings, the installation."""


class Name(NamedTuple):
    """A public name, the path under which users know it, and what it stands for."""

    path: str
    value: Any

    @property
    def short(self) -> str:
        return self.path.rpartition(".")[2]


class Space(NamedTuple):
    """A namespace: `special` is whether its functions are registered by name."""

    title: str
    prefix: str
    names: list[Name]


def _public(module: Any, prefix: str, chosen: Any = None) -> list[Name]:
    found = chosen or getattr(module, "__all__", None) or dir(module)
    names = sorted({n for n in found if n[0] != "_" and hasattr(module, n)})
    return [Name(prefix + n, getattr(module, n)) for n in names]


def _functions(names: list[Name]) -> list[Name]:
    """Those that can be called and are no classes, without what runs NumPy's own tests or has settings."""
    others = ("test", "geterr", "seterr")
    return [n for n in names if callable(n.value) and not isinstance(n.value, type) and n.short not in others]


def numpy_names() -> list[Name]:
    """Functions, and the classes and objects that stand for functions."""
    objects = [np.r_, np.c_, np.s_, np.index_exp, np.mgrid, np.ogrid]
    names = [n for n in _public(np, "np.", dir(np)) if n.short not in OTHER]
    functions = {n.path for n in _functions(names)}
    return [
        n
        for n in names
        if n.path in functions or any(n.value is x for x in objects) or _is_class_of_functions(n)
    ]


def _is_class_of_functions(name: Name) -> bool:
    is_class = isinstance(name.value, type) and not issubclass(name.value, np.generic)
    return is_class and (name.value in CLASSES or name.path in REFUSED or name.value is np.ndindex)


def ndarray_names() -> list[Name]:
    """Methods and attributes; of the special methods those that operators and functions of Python use."""
    own = {n for cls in (Tracer, Array) for n in vars(cls)}
    plumbing = "class init module doc getattr slots repr format setattr delattr array_ufunc array_function"
    hidden = {f"__{n}__" for n in [*plumbing.split(), "array_priority"]}
    names = [n for n in dir(np.ndarray) if n[0] != "_" or (n in own and n not in hidden)]
    return [Name("ndarray." + n, getattr(np.ndarray, n)) for n in names]


def ufunc_names() -> list[Name]:
    methods = ("__call__", "reduce", "accumulate", "reduceat", "outer", "at")
    return [Name("np.ufunc." + n, getattr(np.ufunc, n)) for n in methods]


def spaces() -> list[Space]:
    """All that the page lists."""
    polynomial = numpy.polynomial.polynomial
    strides = ["as_strided", "sliding_window_view"]
    return [
        Space("numpy", "np.", numpy_names()),
        Space("numpy.ndarray", "ndarray.", ndarray_names()),
        Space("Methods of ufuncs", "np.ufunc.", ufunc_names()),
        Space("numpy.linalg", "np.linalg.", _functions(_public(np.linalg, "np.linalg."))),
        Space("numpy.fft", "np.fft.", _functions(_public(np.fft, "np.fft."))),
        Space(
            "numpy.polynomial.polynomial",
            "np.polynomial.polynomial.",
            _functions(_public(polynomial, "np.polynomial.polynomial.")),
        ),
        Space(
            "numpy.lib.stride_tricks",
            "np.lib.stride_tricks.",
            _public(np.lib.stride_tricks, "np.lib.stride_tricks.", strides),
        ),
        Space("scipy.special", "scipy.special.", _functions(_public(scipy.special, "scipy.special."))),
        Space("scipy.linalg", "scipy.linalg.", _functions(_public(scipy.linalg, "scipy.linalg."))),
    ]


def status(name: Name) -> str:
    """What becomes of a name for traced arguments: derived from the tables that the trace itself uses."""
    if name.path in REFUSED:
        return REFUSED_STATUS
    if name.path in LIBRARY or _implemented(name):
        return COMPILED
    return CONSTANT if name.path.startswith("np.") and name.path.count(".") == 1 else REFUSED_STATUS


def _implemented(name: Name) -> bool:
    space, _, short = name.path.rpartition(".")
    if space == "ndarray":
        return any(short in vars(cls) for cls in (Tracer, Array))
    if space == "np.ufunc":
        return short in vars(Ufunc)
    if f"{space}.{getattr(name.value, '__name__', short)}" in SCIPY:  # psi is digamma
        return True
    if isinstance(name.value, type):
        return name.value in CLASSES
    try:
        found = FUNCTIONS.get(name.value)
    except TypeError:  # no hash: np.s_ and its like
        return False
    return found is not None and not isinstance(found, ConcreteOnly)


def of_status(space: Space, wanted: str) -> list[Name]:
    return [n for n in space.names if status(n) == wanted]


# The page.


def _list(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _section(space: Space) -> Iterator[str]:
    yield f"## {space.title}\n"
    compiled = of_status(space, COMPILED)
    if compiled:
        yield f"**Compiled** ({len(compiled)}): {_list([n.short for n in compiled])}\n"
    constant = of_status(space, CONSTANT)
    if constant:
        yield f"**Constant at trace time** ({len(constant)}): {_list([n.short for n in constant])}\n"
    refused = of_status(space, REFUSED_STATUS)
    if refused:
        yield f"**Not supported** ({len(refused)}):\n"
        yield "| | write instead |\n|---|---|"
        groups: dict[str, list[str]] = {}
        for name in refused:
            groups.setdefault(instead(name.path), []).append(name.short)
        for text, names in groups.items():
            yield f"| {_list(names)} | {text.replace('|', chr(92) + '|')} |"
        yield ""


def _others() -> Iterator[str]:
    """What of NumPy is no function of arrays, in a line each."""
    listed = {n.short for n in numpy_names()} | set(OTHER)
    rest = [(n, getattr(np, n)) for n in sorted(dir(np)) if n[0] != "_" and n not in listed]
    kinds: dict[str, list[str]] = {"dtypes": [], "modules": [], "other classes": [], "constants": []}
    for name, value in rest:
        if isinstance(value, types.ModuleType):
            kinds["modules"].append(name)
        elif isinstance(value, type):
            kinds["dtypes" if issubclass(value, np.generic) else "other classes"].append(name)
        else:
            kinds["constants"].append(name)
    about = {
        "dtypes": "called with a traced value, those of numbers that are compiled cast it",
        "modules": "some have a section above; what the others have works on constants only. `np.random` "
        "would draw once, when a function is traced, which is an error: pass the numbers, or a key to "
        "`gradc.random`",
        "other classes": "used while the function is traced",
        "constants": "as they are",
    }
    yield "## Other names of numpy\n"
    for kind, names in kinds.items():
        yield f"**{kind.capitalize()}** ({about[kind]}): {_list(names)}\n"
    settings = [n for n in sorted(OTHER) if hasattr(np, n)]
    yield f"**Files, settings and the installation** (as they are): {_list(settings)}\n"


def version() -> str:
    """The versions whose names the page lists."""
    return " and ".join(f"{m.__name__} {'.'.join(m.__version__.split('.')[:2])}" for m in (np, scipy))


def text() -> str:
    """The whole page."""
    head = f"""# Coverage

Every public name of {version()}, and what gradc makes of it.

- *Compiled*: works with traced arguments: those of a compiled function, and all that is computed from them.
- *Constant at trace time*: runs as plain NumPy when the function is traced, with arguments that are not
  traced.
- *Not supported*: an error at your line if an argument is traced, which names what to write instead; with
  constants it runs as plain NumPy.

`python -m docs` writes this page from the tables that the compiler itself uses, and the tests call every name
that is on it.
"""
    sections = ["\n".join(_section(space)) for space in spaces()]
    return "\n".join([head, *sections, "\n".join(_others())]).rstrip() + "\n"
