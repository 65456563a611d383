"""README's example prints what README says it prints."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_example_prints_what_readme_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    script = tmp_path / "readme.py"
    script.write_text(found[1], encoding="utf-8")
    runpy.run_path(str(script))
    assert capsys.readouterr().out == found[2]
