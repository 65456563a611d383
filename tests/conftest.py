"""Golden files: expected texts under `tests/golden`, written anew with `--update-golden`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

# The suite compiles what it tests: tests of the cache have one of their own.
os.environ["GRADC_CACHE_DIR"] = "0"

CASES, EVERY = 4, 8
"""Of the cases of one test, the quick tier runs so many, and then each so-manieth."""

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with many cases, the quick tier runs some: the others are long."""
    seen: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        if seen[test] > CASES and seen[test] % EVERY:
            item.add_marker(pytest.mark.long)


def normalized(text: str) -> str:
    """The text without what differs between machines and edits: folders of files, lines, addresses."""
    text = re.sub(r"(?:[A-Za-z]:)?[^\s\"'(]*[/\\](\w+\.py)\b(?::\d+)?", r"\1:LINE", text)
    text = re.sub(r"\b(test_\w+\.py):\d+(?:,\d+)*", r"\1:LINE", text)
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text).rstrip() + "\n"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("errors/name.txt", text)`: the text is that of the file."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(normalized(text), encoding="utf-8")
        assert path.exists(), f"{path} is not there: run pytest with --update-golden and read what it writes"
        assert normalized(text) == path.read_text(encoding="utf-8")

    return check
