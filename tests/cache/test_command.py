"""`python -m gradc cache`: shows, verifies, clears, bounds, exports and imports."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import gradc
from gradc.__main__ import main
from gradc.inspect.cache import bytes_of
from gradc.runtime.cache import Cache, frame

KEYS = [f"{i:040x}" for i in range(10)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("GRADC_CACHE_DIR", str(place))
    return place


@pytest.fixture
def filled(folder: Path) -> Cache:
    cache = Cache(str(folder))
    for i, key in enumerate(KEYS):
        cache.put(key, bytes([i]) * 1000 * (i + 1))
    return cache


def test_show(filled: Cache, capsys: pytest.CaptureFixture[str]):
    assert main(["cache"]) == 0
    first = capsys.readouterr().out
    assert filled.folder in first and "10 files, 0.1 MB of at most 512.0 MB" in first
    assert main(["cache", "show"]) == 0
    assert capsys.readouterr().out == first


def test_show_a_folder_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["cache"]) == 0
    assert "0 files" in capsys.readouterr().out and not folder.exists()


def test_show_says_why_it_is_not_used(filled: Cache, folder: Path, capsys: pytest.CaptureFixture[str]):
    folder.chmod(0o777)
    assert main(["cache", "show"]) == 0
    assert "not used: others may write" in capsys.readouterr().out
    assert main(["cache", "limit", "1M"]) == 1
    assert "cannot be used" in capsys.readouterr().err


def test_verify(filled: Cache, capsys: pytest.CaptureFixture[str]):
    assert main(["cache", "verify"]) == 0
    assert "10 files are as they were written, 0 were not" in capsys.readouterr().out
    for key in KEYS[:2]:
        path = Path(filled.path(key))
        path.write_bytes(path.read_bytes()[:-1])
    assert main(["cache", "verify"]) == 1
    out = capsys.readouterr().out
    assert "8 files are as they were written, 2 were not" in out and KEYS[1] in out
    assert {entry.key for entry in filled.entries()} == set(KEYS[2:])


def test_clear(filled: Cache, folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "something else").write_text("stays")
    assert main(["cache", "clear"]) == 0
    assert "10 files removed" in capsys.readouterr().out
    assert [file.name for file in folder.iterdir()] == ["something else"]


def test_limit(filled: Cache, capsys: pytest.CaptureFixture[str]):
    assert main(["cache", "limit", "20K"]) == 0
    assert filled.limit() == 20 << 10
    assert 0 < sum(entry.size for entry in filled.entries()) <= 20 << 10
    assert main(["cache", "limit", "much"]) == 1
    assert "no size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("2k", 2048), ("1.5M", 3 << 19), ("2 GB", 2 << 30), ("1GiB", 1 << 30)]
)
def test_sizes(text: str, size: int):
    assert bytes_of(text) == size


def test_there_and_back(filled: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = tmp_path / "archive.zip"
    assert main(["cache", "export", str(archive)]) == 0
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert main(["cache", "import", str(archive)]) == 0
    other = Cache(str(tmp_path / "elsewhere"))
    assert {e.key for e in other.entries()} == set(KEYS)
    assert all(other.get(key).data == filled.get(key).data for key in KEYS)
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".tmp"] == []


def test_what_was_imported_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    x, archive = np.linspace(0, 1, 7), tmp_path / "archive.zip"
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "one"))
    value = gradc.compile(lambda x: np.sum(np.exp(x)))(x)
    assert main(["cache", "export", str(archive)]) == 0
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "two"))
    assert main(["cache", "import", str(archive)]) == 0
    monkeypatch.setattr("gradc.codegen.driver.object_codes", None)
    assert gradc.compile(lambda x: np.sum(np.exp(x)))(x) == value


def test_archives_that_were_tampered_with(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    archive = tmp_path / "archive.zip"
    good = frame(KEYS[0], b"good")
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(f"{KEYS[0]}.gradc", good)
        target.writestr(f"{KEYS[1]}.gradc", good)  # under another name
        target.writestr(f"{KEYS[2]}.gradc", frame(KEYS[2], b"x" * 100)[:-1])
        target.writestr(f"{KEYS[3]}.gradc", b"")
        target.writestr(f"../{KEYS[4]}.gradc", frame(KEYS[4], b"out"))
        target.writestr(f"/{KEYS[4]}.gradc", frame(KEYS[4], b"out"))
        target.writestr(f"below/{KEYS[4]}.gradc", frame(KEYS[4], b"out"))
        target.writestr("limit", b"1")
        target.writestr("../../outside.py", b"raise SystemExit")
    assert main(["cache", "import", str(archive)]) == 1
    assert "1 files imported, 8 refused" in capsys.readouterr().out
    assert [file.name for file in folder.iterdir()] == [f"{KEYS[0]}.gradc"]
    assert {file.name for file in tmp_path.iterdir()} == {"cache", "archive.zip"}


def test_files_that_are_no_archives(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"not a zip file")
    assert main(["cache", "import", str(archive)]) == 1
    assert "no archive" in capsys.readouterr().err
    assert main(["cache", "import", str(tmp_path / "nowhere.zip")]) == 1
    assert main(["cache", "export", str(tmp_path / "nowhere" / "x.zip")]) == 1


def test_an_archive_cut_off(filled: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = tmp_path / "archive.zip"
    main(["cache", "export", str(archive)])
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "elsewhere"))
    raw = archive.read_bytes()
    for size in (10, len(raw) // 2, len(raw) - 1):
        archive.write_bytes(raw[:size])
        assert main(["cache", "import", str(archive)]) == 1
    damaged = bytearray(raw)
    damaged[len(raw) // 3] ^= 0xFF
    archive.write_bytes(damaged)
    main(["cache", "import", str(archive)])
    other = Cache(str(tmp_path / "elsewhere"))
    assert all(other.get(e.key).data == filled.get(e.key).data for e in other.entries())


def test_no_cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GRADC_CACHE_DIR", "0")
    assert main(["cache"]) == 1
    assert "there is no cache" in capsys.readouterr().err
