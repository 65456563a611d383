"""Folders import one way, and `import gradc` loads NumPy, llvmlite's binding and little else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gradc"

KNOWS: dict[str, set[str]] = {
    "ir": set(),
    "trace": {"ir"},
    "passes": {"ir"},
    "codegen": {"ir"},
    "runtime": {"ir", "codegen"},
    "api": {"ir", "trace", "passes", "codegen", "runtime"},
}
"""What each folder may import; folders that are not named stand on top and know the public API."""

PUBLIC = set(KNOWS) - {"codegen", "runtime"}

SLOW = [
    *("scipy", "networkx", "tqdm", "sklearn", "matplotlib", "safetensors", "platformdirs"),
    *("concurrent.futures", "logging", "unittest", "asyncio", "numpy.testing", "numpy.random"),
    *("gradc.passes.pipeline", "gradc.passes.simplify", "gradc.codegen.driver", "gradc.runtime.entry_text"),
]
"""What is loaded when it is needed."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def folder_of(parts: tuple[str, ...]) -> str:
    """The folder of a module below gradc; the name of a module that lies in no folder."""
    return parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module of gradc that a file imports, with the line, imports inside of functions included."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "gradc")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_folders_import_one_way(path: Path):
    folder = folder_of(path.relative_to(PACKAGE).parts)
    if folder not in KNOWS:
        return
    known = sorted(KNOWS[folder]) or "itself"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}, but {folder} knows only {known}"
        for line, name in imported(path)
        if len(name.split(".")) > 1 and (below := name.split(".")[1]) not in KNOWS[folder] | {folder}
        if (PACKAGE / below).is_dir() or (PACKAGE / f"{below}.py").exists()
    ]
    assert not wrong, "\n".join(wrong)


def test_no_folder_imports_the_public_name_from_below():
    """`from gradc import x` inside of a lower folder would be a way around the rule."""
    wrong = []
    for path in modules():
        if folder_of(path.relative_to(PACKAGE).parts) in KNOWS:
            lines = [line for line, name in imported(path) if name == "gradc"]
            others = [line for line, name in imported(path) if name.startswith("gradc.")]
            wrong += [f"{path.relative_to(ROOT)}:{line}" for line in lines if line not in others]
    assert not wrong, "\n".join(wrong)


def test_what_is_checked_exists():
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir()} & set(KNOWS), "the folders were renamed"


def test_importing_gradc_loads_little():
    code = f"import sys, gradc; print([m for m in {SLOW!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"
