"""The pages of the documentation that are made of facts in the code are up to date."""

import pytest

from docs.__main__ import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name):
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/{name} is old: python -m docs writes it anew"
