"""The tables of functions, filled by `gradc.trace.functions`."""

from __future__ import annotations

from typing import Any

FUNCTIONS: dict[Any, Any] = {}
"""NumPy's or SciPy's function (the object itself) to ours."""

SCIPY: dict[str, Any] = {}
"""For functions of SciPy's, by their whole name, what makes ours of theirs: SciPy is never imported here."""

CLASSES: dict[type, Any] = {}
"""Classes of NumPy's to what stands for them in a trace: see `gradc.trace.functions.scalars`."""
