"""Code from the disk: hits, keys, and every way in which a folder or a file can be wrong."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.api import backend
from gradc.api.cached import Cached
from gradc.codegen import driver, elf, jit
from gradc.codegen.target import host
from gradc.ir.errors import Source
from gradc.passes import pipeline
from gradc.runtime import cache as store
from gradc.runtime import environment
from gradc.runtime.cache import Cache, UnusableError

ROOT = Path(__file__).parents[2]
KEYS = [f"{i:040x}" for i in range(200)]

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes of files")


class Log(list[str]):
    """An observer that keeps what is said of the cache."""

    wants_stages = wants_code = False

    def cache(self, text: str) -> None:
        self.append(text)

    def stage(self, name: str, graph: Any, seconds: float) -> None: ...
    def time(self, name: str, seconds: float) -> None: ...
    def rule(self, name: str, node: Any) -> None: ...
    def code(self, name: str, kind: str, text: str) -> None: ...

    def take(self) -> list[str]:
        """The first words of what was said since the last time."""
        words = [text.split()[0] for text in self]
        self.clear()
        return words


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("GRADC_CACHE_DIR", str(place))
    return place


@pytest.fixture
def log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(backend, "observe", lambda: log)
    return log


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What has been compiled by LLVM, and which graphs went through passes."""
    seen: list[str] = []
    for module, name in ((driver, "object_codes"), (driver, "generate"), (pipeline, "run")):
        real = getattr(module, name)

        def spy(*args: Any, real: Callable[..., Any] = real, name: str = name, **kwargs: Any) -> Any:
            seen.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, spy)
    yield seen


def loss(w: Any, x: Any) -> Any:
    return np.sum(np.tanh(x @ w) ** 2)


rng = np.random.default_rng(0)
W, X = rng.normal(size=(5, 3)), rng.normal(size=(4, 5))


def bits(result: Any) -> Any:
    value, gradient = result
    return np.asarray(value).tobytes(), np.asarray(gradient).tobytes()


# Hits


def test_a_hit_runs_no_pass_and_no_compiler(folder: Path, log: Log, compilations: list[str]):
    first = gradc.compile(loss).value_and_grad(W, X)
    assert compilations == ["run", "generate", "object_codes"] and log.take() == ["miss"]
    compilations.clear()
    again = gradc.compile(loss)
    assert bits(again.value_and_grad(W, X)) == bits(first)
    assert not compilations and log.take() == ["hit"]
    again(W, X)
    assert compilations and log.take() == ["miss"]  # the value alone is another function


SECOND = """
import sys, numpy as np
import gradc
def loss(p, x):
    return np.mean((np.tanh(x @ p["w"] + p["b"]) - 0.5) ** 2)
p = {"w": np.arange(15.0).reshape(5, 3) / 10, "b": np.ones(3)}
x = np.linspace(-1, 1, 20).reshape(4, 5)
value, g = gradc.compile(loss).value_and_grad(p, x)
print(value.tobytes().hex(), g["w"].tobytes().hex(), g["b"].tobytes().hex())
print("llvmlite" in sys.modules, "gradc.codegen.driver" in sys.modules, "gradc.passes.fuse" in sys.modules)
"""


def second(code: str = SECOND, **environ: str) -> list[str]:
    """The lines that a process prints."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
        check=True,
    )
    return run.stdout.splitlines() + run.stderr.splitlines()


def test_a_second_process_gives_the_same_bits_without_llvm(folder: Path):
    first, loaded, *_ = second()
    assert loaded.split()[:2] == ["True", "True"]
    again, loaded, *_ = second()
    assert again == first and loaded.split()[:2] == ["False", "False"]
    off, loaded, *_ = second(GRADC_CACHE_DIR="0")
    assert off == first and loaded.split()[:2] == ["True", "True"]


def test_debug_says_hit_or_miss_and_why(folder: Path, tmp_path: Path):
    def said(**environ: str) -> list[str]:
        return [line for line in second(GRADC_DEBUG="1", **environ) if line.startswith("cache ")]

    (line,) = said()
    assert "miss" in line and "not there" in line
    (line,) = said()
    assert "hit" in line
    (line,) = said(GRADC_CACHE_DIR="0")
    assert "off: GRADC_CACHE_DIR=0" in line
    assert not any("hit" in line for line in second(GRADC_DEBUG="2"))  # graphs are asked for


def test_graphs_and_texts_of_a_hit(folder: Path, log: Log):
    f = gradc.compile(loss)
    texts = {stage: f.dump(W, X, stage=stage) for stage in backend.STAGES}
    lowered = f.lower(W, X)
    f.value_and_grad(W, X)
    log.take()
    again = gradc.compile(loss)
    assert again.lower(W, X).kernels == lowered.kernels and log.take() == ["hit"]
    assert again.lower(W, X).memory == lowered.memory
    assert {stage: again.dump(W, X, stage=stage) for stage in backend.STAGES} == texts
    assert str(again.edges(W, X)) == str(f.edges(W, X))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_one_file(folder: Path, log: Log, threads: int):
    x = np.linspace(0, 1, 300_000)
    fn = lambda x: np.sum(np.exp(np.sin(x)))  # noqa: E731
    expected = bits(gradc.compile(fn, threads=3 - threads).value_and_grad(x))
    log.take()
    f = gradc.compile(fn, threads=threads)
    assert bits(f.value_and_grad(x)) == expected and log.take() == ["hit"]


def test_llvms_loader_takes_what_is_kept_too(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch):
    expected = bits(gradc.compile(loss).value_and_grad(W, X))
    monkeypatch.setattr(elf, "runs_here", lambda: False)
    assert bits(gradc.compile(loss).value_and_grad(W, X)) == expected and log.take() == ["miss", "hit"]


@posix
def test_a_forked_child_reads_and_writes(folder: Path, log: Log):
    x = np.linspace(0, 1, 9)
    expected = gradc.compile(loss)(W, X)
    if (child := os.fork()) == 0:
        same = gradc.compile(loss)(W, X) == expected and log[-1].startswith("hit")
        gradc.compile(lambda x: np.sum(np.cos(x)))(x)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.take()
    assert gradc.compile(lambda x: np.sum(np.cos(x)))(x) == pytest.approx(np.sum(np.cos(x)))
    assert log.take() == ["hit"]


def test_all_ways_to_compile_go_through_it(folder: Path, log: Log, compilations: list[str]):
    def everything() -> list[Any]:
        run = gradc.fit(
            lambda w, x: np.mean((x @ w) ** 2), np.ones(5), (X,), optimizer=gradc.optim.adam(0.1), epochs=2,
            batch_size=3, progress=False,
        )  # fmt: skip
        return [
            run.params,
            np.asarray(run.history["loss"]),
            gradc.grad(lambda x: np.sum(np.sin(x)))(X),
            gradc.vmap(lambda row: row @ W)(X),
            gradc.hessian(lambda w: np.sum(w**3))(np.arange(3.0)),
            gradc.compile(np.linalg.inv)(np.eye(3) + W[:3]),
        ]

    first = everything()
    assert set(log.take()) == {"miss"}
    compilations.clear()
    again = everything()
    assert set(log.take()) == {"hit"} and not compilations
    for a, b in zip(first, again, strict=True):
        assert a.tobytes() == b.tobytes()


# Keys


def test_what_changes_the_code_changes_the_key(folder: Path, log: Log):
    def cases() -> list[Callable[[], Any]]:
        data = np.arange(20.0).reshape(4, 5) ** 2

        def with_data(data: Any) -> Callable[[Any], Any]:
            return lambda x: np.sum(x.astype(np.float32) * data)

        def two(a: Any, b: Any) -> Any:
            return np.sum(a * np.exp(b)), np.sum(b)

        return [
            lambda: gradc.compile(loss).value_and_grad(W, X),
            lambda: gradc.compile(loss).grad(W, X),
            lambda: gradc.compile(loss)(W, X),
            lambda: gradc.compile(loss, wrt=1).grad(W, X),
            lambda: gradc.compile(loss, wrt=(0, 1)).grad(W, X),
            lambda: gradc.compile(loss, fast_math=True).grad(W, X),
            lambda: gradc.compile(loss).grad(W.astype(np.float32), X.astype(np.float32)),
            lambda: gradc.compile(loss).grad(W, X[:3]),
            lambda: gradc.compile(lambda w, x: loss(w, x) * 2).grad(W, X),
            lambda: gradc.compile(lambda w, x: loss(w, x) * 3).grad(W, X),
            lambda: gradc.compile(lambda w, x: loss(w, x) * np.float64(-0.0)).grad(W, X),
            lambda: gradc.compile(lambda w, x: loss(w, x) * np.float64(0.0)).grad(W, X),
            lambda: gradc.compile(lambda w, x: loss(w, x) * np.nan).grad(W, X),
            lambda: gradc.compile(lambda w, x: loss(w, x) * -np.nan).grad(W, X),
            lambda: gradc.compile(lambda w: np.sum(w, axis=0))(W),
            lambda: gradc.compile(lambda w: np.sum(w, axis=1))(W),
            lambda: gradc.compile(lambda w, n: np.sum(w) * n)(W, 2),
            lambda: gradc.compile(lambda w, n: np.sum(w) * n)(W, 5),
            lambda: gradc.compile(with_data(data))(X),
            lambda: gradc.compile(with_data(data.astype(np.float32)))(X),
            lambda: gradc.compile(with_data(np.stack([data, data])))(X),
            lambda: gradc.compile(two, has_aux=True).grad(W, W),
            lambda: gradc.compile(two, has_aux=True).value_and_grad(W, W),
            lambda: gradc.compile(lambda x, y: (x + 1, y + 1))(1.0, np.float32(1)),
            lambda: gradc.compile(lambda x, y: (y + 1, x + 1))(1.0, np.float32(1)),
        ]

    for i, run in enumerate(cases()):
        run()
        assert log.take() == ["miss"], i
    for run in cases():
        run()
        assert log.take() == ["hit"]


def test_names_and_places_do_not_change_the_key(folder: Path, log: Log):
    expected = bits(gradc.compile(loss).value_and_grad(W, X))
    assert log.take() == ["miss"]

    def renamed(weights: Any, rows: Any) -> Any:
        # Elsewhere in the file, with other names.

        return np.sum(np.tanh(rows @ weights) ** 2)

    text = "import numpy as np\ndef elsewhere(w, x):\n    return np.sum(np.tanh(x @ w) ** 2)\n"
    scope: dict[str, Any] = {}
    exec("\n" * 40 + text, scope)
    for fn in (renamed, scope["elsewhere"], loss):
        assert bits(gradc.compile(fn).value_and_grad(W, X)) == expected
        assert log.take() == ["hit"]


def test_values_of_captured_arrays_are_not_in_the_key(folder: Path, log: Log):
    def scaled(data: Any) -> Any:
        return gradc.compile(lambda x: np.sum(np.exp(x * data)))

    one, two = np.linspace(0, 1, 50), np.linspace(1, 2, 50)
    x = np.linspace(-1, 1, 50)
    results = [scaled(data).value_and_grad(x) for data in (one, two)]
    assert log.take() == ["miss", "hit"]
    for data, (value, gradient) in zip((one, two), results, strict=True):
        np.testing.assert_allclose(value, np.sum(np.exp(x * data)), rtol=1e-14)
        np.testing.assert_allclose(gradient, data * np.exp(x * data), rtol=1e-14)


def test_captured_arrays_keep_their_order(folder: Path, log: Log):
    """Passes may order them otherwise than the trace does; one array twice is not two arrays."""
    one, two, three = (np.linspace(k, k + 1, 50) ** 2 for k in range(3))

    def fn(a: Any, b: Any, c: Any) -> Any:
        return gradc.compile(lambda x: np.sum(np.exp(x * c) * a) + np.sum(x * b) * np.sum(c * x))

    x = np.linspace(-1, 1, 50)
    for arrays in ((one, two, three), (three, one, two), (two, two, one), (one, one, one), (three, two, two)):
        a, b, c = arrays
        for _ in range(2):
            value, _ = fn(a, b, c).value_and_grad(x)
            expected = np.sum(np.exp(x * c) * a) + np.sum(x * b) * np.sum(c * x)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert log.take() == ["miss", "hit", "hit", "hit", "miss", "hit", "miss", "hit", "miss", "hit"]


def test_lines_of_errors_are_those_of_the_function_that_fails(folder: Path, log: Log, tmp_path: Path):
    head = "import numpy as np\n"
    body = "def pick(x, i, j):\n    a = x[i]\n    b = x[j] * 2\n    return np.sum(a) + np.sum(b)\n"

    def function(name: str, text: str) -> Any:
        path = tmp_path / name
        path.write_text(text)
        scope: dict[str, Any] = {}
        exec(compile(text, str(path), "exec"), scope)
        return gradc.compile(scope["pick"])

    x, good, bad = np.arange(10.0), np.array([0, 3]), np.array([0, 30])
    for name, text, start in (("one.py", head + body, 2), ("two.py", head + "\n" * 37 + body, 39)):
        f = function(name, text)
        assert f(x, good, good) == 9
        with pytest.raises(gradc.IndexOutOfBoundsError) as error:
            f(x, bad, good)
        assert error.value.source == Source(str(tmp_path / name), start + 1)
        with pytest.raises(gradc.IndexOutOfBoundsError) as error:
            f(x, good, bad)
        assert error.value.source == Source(str(tmp_path / name), start + 2)
    assert log.take() == ["miss", "hit"]


def test_another_machine_and_other_sources_have_other_keys(
    folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch
):
    f = lambda: gradc.compile(loss)(W, X)  # noqa: E731
    f()
    for module, name, value in (
        (environment, "processor", lambda: "another"),
        (environment, "sources", lambda cache: "others"),
        (environment, "llvm_version", lambda: "0.0"),
        (np, "__version__", "0.0"),
        (sys, "version", "another"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            environment.environment.cache_clear()
            f()
        environment.environment.cache_clear()
        f()
        assert log.take()[-2:] == ["miss", "hit"], name


def test_the_sources_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    cache = Cache(str(folder))
    known = environment.sources(cache)
    opened = []
    monkeypatch.setattr(environment, "open", lambda *args: opened.append(args), raising=False)
    assert environment.sources(cache) == known and not opened
    monkeypatch.delattr(environment, "open")
    # A package elsewhere, of other age: what is in the files counts.
    monkeypatch.setattr(environment, "IMPORTED", time.time_ns() + 10**12)
    digests = []
    for name, text in (("a", "x = 1\n"), ("b", "x = 1\n"), ("c", "x = 2\n")):
        package = tmp_path / name / "gradc"
        module = package / "runtime" / "environment.py"
        module.parent.mkdir(parents=True)
        module.write_text(text)
        (package / "__init__.py").write_text("")
        os.utime(module, (1e9, 1e9 + ord(name)))
        monkeypatch.setattr(environment, "__file__", str(module))
        digests.append(environment.sources(cache))
    assert digests[0] == digests[1] != digests[2]
    # Edited in place, with the same size, and its time set back.
    module.write_text("x = 3\n")
    os.utime(module, (1e9, 1e9 + ord("c")))
    assert environment.sources(cache) not in digests
    # Edited after it was imported: what runs is not what the file says.
    monkeypatch.setattr(environment, "IMPORTED", time.time_ns() - 10**10)
    with pytest.raises(environment.UnknownError, match="changed"):
        environment.sources(cache)


def test_off_where_sources_cannot_be_read(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "__file__", str(folder / "nowhere" / "runtime" / "environment.py"))
    environment.environment.cache_clear()
    assert gradc.compile(loss)(W, X) == pytest.approx(loss(W, X))
    assert log.take() == ["off:"] and not folder.exists()


def test_this_processor_is_told_from_others():
    assert environment.processor() == environment.processor() and len(environment.processor()) > 40
    assert host().cpu


# The folder


def put_all(cache: Cache, count: int, size: int = 1000) -> None:
    for i in range(count):
        assert cache.put(KEYS[i], bytes([i]) * size) == ""


@posix
def test_folders_and_files_are_private(folder: Path):
    old = os.umask(0)
    try:
        Cache(str(folder)).put(KEYS[0], b"x")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707, 0o722, 0o777])
def test_a_folder_others_may_write_to(folder: Path, log: Log, mode: int):
    folder.mkdir()
    folder.chmod(mode)
    refused = bool(mode & 0o022)
    for expected in ("off:", "off:") if refused else ("miss", "hit"):
        assert gradc.compile(loss)(W, X) == pytest.approx(loss(W, X))
        assert log.take() == [expected]
    assert bool(list(folder.iterdir())) != refused


@posix
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_another_user_owns(folder: Path, log: Log, what: str, monkeypatch: pytest.MonkeyPatch):
    expected = gradc.compile(loss)(W, X)
    log.take()
    me = os.geteuid()
    if what == "folder":
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    elif me == 0:
        for file in folder.iterdir():
            os.chown(file, 12345, 12345)
    else:
        real = os.fstat
        monkeypatch.setattr(os, "fstat", lambda fd: _owned_by(real(fd), me + 1))
    environment.environment.cache_clear()
    assert gradc.compile(loss)(W, X) == expected
    assert any("another user" in text for text in log) and not any(text.startswith("hit") for text in log)


def _owned_by(status: os.stat_result, user: int) -> os.stat_result:
    values = list(status)
    values[4] = user
    return os.stat_result(values)


@posix
def test_links_and_other_things_are_no_files(folder: Path, tmp_path: Path):
    cache = Cache(str(folder))
    put_all(cache, 1)
    original = Path(cache.path(KEYS[0]))
    moved = tmp_path / "elsewhere"
    original.rename(moved)
    original.symlink_to(moved)
    assert cache.get(KEYS[0]).data is None
    original.unlink()
    os.mkfifo(original)  # would wait for somebody to write
    assert cache.get(KEYS[0]).data is None
    original.unlink()
    original.mkdir()
    assert cache.get(KEYS[0]).data is None
    original.rmdir()
    moved.rename(original)
    assert cache.get(KEYS[0]).data == b"\0" * 1000


def test_a_folder_that_is_a_file(folder: Path, log: Log):
    folder.write_text("not a folder")
    assert gradc.compile(loss)(W, X) == pytest.approx(loss(W, X))
    assert log == [f"off: {folder} is no folder"]
    assert folder.read_text() == "not a folder"


@posix
def test_a_folder_that_cannot_be_written(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch):
    folder.mkdir(mode=0o500)
    real = os.open

    def denied(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(folder)):
            raise PermissionError(errno.EACCES, "Permission denied")  # root may write anywhere
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    assert gradc.compile(loss)(W, X) == pytest.approx(loss(W, X))
    assert any("Permission denied" in text for text in log) and not list(folder.iterdir())


@pytest.mark.parametrize("how", ["error", "short", "rename", "folder"])
def test_a_full_disk(folder: Path, log: Log, how: str, monkeypatch: pytest.MonkeyPatch):
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if how == "folder":
        monkeypatch.setattr(os, "makedirs", full)
    elif how == "rename":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(store, "open", lambda fd, *a, **k: _Full(fd, how), raising=False)
    assert gradc.compile(loss)(W, X) == pytest.approx(loss(W, X))
    assert any("cannot be kept" in text for text in log)
    assert not folder.exists() or not list(folder.iterdir()), "a half-written file is left"


class _Full:
    """A file on a disk that has room for a few bytes, or none."""

    def __init__(self, fd: int, how: str) -> None:
        self.file, self.how = os.fdopen(fd, "wb", buffering=0), how

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        if self.how == "error":
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data[:10]) or 0


# Files


def test_files_that_are_cut_off(folder: Path):
    cache = Cache(str(folder))
    data = bytes(range(256)) * 5
    whole = store.frame(KEYS[0], data)
    for size in [*range(0, 60), 100, 300, len(whole) - 1]:
        cache.put(KEYS[0], data)
        Path(cache.path(KEYS[0])).write_bytes(whole[:size])
        found = cache.get(KEYS[0])
        assert found.data is None and found.why != "hit"
        assert not os.path.exists(cache.path(KEYS[0])), "a wrong file stays"
    cache.put(KEYS[0], data)
    assert cache.get(KEYS[0]) == (data, "hit")


def test_files_that_were_changed(folder: Path):
    cache = Cache(str(folder))
    data = bytes(range(256)) * 2
    whole = store.frame(KEYS[0], data)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        cache.put(KEYS[0], data)
        Path(cache.path(KEYS[0])).write_bytes(changed)
        assert cache.get(KEYS[0]).data is None, place
    for foreign in (b"", b"\x7fELF" + whole, os.urandom(5000), whole + b"\0", whole * 2, b"\0" * 4096):
        cache.put(KEYS[0], data)
        Path(cache.path(KEYS[0])).write_bytes(foreign)
        assert cache.get(KEYS[0]).data is None


def test_a_file_under_another_name(folder: Path):
    cache = Cache(str(folder))
    put_all(cache, 2)
    os.replace(cache.path(KEYS[0]), cache.path(KEYS[1]))
    assert cache.get(KEYS[1]).data is None


def test_functions_run_whatever_is_in_the_files(folder: Path, log: Log):
    expected = bits(gradc.compile(loss).value_and_grad(W, X))
    log.take()
    random_bytes = random.Random(0)
    for trial in range(40):
        for file in folder.iterdir():
            raw = bytearray(file.read_bytes())
            if trial % 3 == 0:
                raw = raw[: random_bytes.randrange(len(raw))]
            elif trial % 3 == 1:
                raw[random_bytes.randrange(len(raw))] ^= 1 << random_bytes.randrange(8)
            else:
                raw = bytearray(random_bytes.randbytes(len(raw)))
            file.write_bytes(raw)
        environment.environment.cache_clear()
        assert bits(gradc.compile(loss).value_and_grad(W, X)) == expected
        assert log.take() == ["miss"]
        assert bits(gradc.compile(loss).value_and_grad(W, X)) == expected
        assert log.take() == ["hit"]


def test_content_that_is_authentic_but_no_code(folder: Path, log: Log):
    """As from an archive that somebody has made: it does not crash, and is compiled anew."""
    expected = gradc.compile(loss)(W, X)
    key = log[-1].split()[1].rstrip(":")
    good = Cache(str(folder)).get(key).data
    assert good is not None
    head, _, code = good.partition(b"\n\n")
    log.take()
    for data in (
        b"",
        b"\n\n",
        head,
        head + b"\n\n",
        head + b"\n\n" + code[:100],
        head.replace(b"inputs", b"outputs") + b"\n\n" + code,
        head.replace(b"types", b"kinds") + b"\n\n" + code,
        head.replace(b"f64[", b"f63[") + b"\n\n" + code,
        b"\xff" + good,
    ):
        Cache(str(folder)).put(key, data)
        assert gradc.compile(loss)(W, X) == expected
        assert log.take() == ["miss"]


# The limit


def test_what_was_used_longest_ago_goes_first(folder: Path):
    cache = Cache(str(folder))
    put_all(cache, 20)
    for i in range(20):
        os.utime(cache.path(KEYS[i]), (1e9 + i, 1e9 + i))
    size = os.path.getsize(cache.path(KEYS[0]))
    cache.get(KEYS[3])  # renews it
    assert cache.evict(10 * size) == 11  # down to nine tenths of the limit
    left = {entry.key for entry in cache.entries()}
    assert left == {KEYS[3], *KEYS[12:20]}


def test_writers_keep_the_folder_below_its_limit(folder: Path):
    cache = Cache(str(folder))
    cache.set_limit(20_000)
    assert Cache(str(folder)).limit() == 20_000
    for i in range(100):
        cache.put(KEYS[i], bytes(1000))
        assert sum(entry.size for entry in cache.entries()) <= 20_000 + 1100
    another = Cache(str(folder))
    another.put(KEYS[150], bytes(1000))
    assert sum(entry.size for entry in cache.entries()) <= 20_000
    assert another.get(KEYS[150]).data is not None


def test_a_hit_renews_a_file_once_an_hour(folder: Path):
    cache = Cache(str(folder))
    put_all(cache, 2)
    now = time.time()
    os.utime(cache.path(KEYS[0]), (now - 1000, now - 1000))
    os.utime(cache.path(KEYS[1]), (now - 5000, now - 5000))
    cache.get(KEYS[0])
    cache.get(KEYS[1])
    assert os.stat(cache.path(KEYS[0])).st_mtime == pytest.approx(now - 1000, abs=1)
    assert os.stat(cache.path(KEYS[1])).st_mtime > now - 100


def test_files_that_nobody_finished_are_removed(folder: Path):
    cache = Cache(str(folder))
    put_all(cache, 1)
    old, new = folder / "1-a.tmp", folder / "2-b.tmp"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    assert len(list(cache.entries())) == 1
    assert not old.exists() and new.exists()


def test_a_limit_that_is_no_number(folder: Path):
    cache = Cache(str(folder))
    cache.set_limit(1000)
    (folder / store.LIMIT_FILE).write_text("much")
    assert cache.limit() == store.LIMIT


def test_a_file_that_is_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "LARGEST", 500)
    cache = Cache(str(folder))
    assert "too large" in cache.put(KEYS[0], bytes(501)) and not folder.exists()
    assert cache.put(KEYS[0], bytes(500)) == "" and cache.get(KEYS[0]).data == bytes(500)


# Together


WORKER = """
import os, random, sys, time
from gradc.runtime.cache import Cache
seed, folder = int(sys.argv[1]), sys.argv[2]
rng, cache = random.Random(seed), Cache(folder)
cache.LOOK = 0
hits = 0
end = time.time() + 3
while time.time() < end:
    i = rng.randrange(30)
    key, data = f"{i:040x}", bytes([i]) * (1000 + 137 * i)
    action = rng.random()
    if action < 0.3:
        cache.put(key, data)
    elif action < 0.33:
        cache.remove(key)
    elif action < 0.36:
        cache.evict()
    else:
        found = cache.get(key)
        assert found.data in (None, data), (key, found.why)
        assert found.why in ("hit", "not there") or "no folder" in found.why, found.why
        hits += found.data is not None
print(hits)
"""


def test_processes_that_write_read_and_evict_at_once(folder: Path):
    Cache(str(folder)).set_limit(40_000)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(seed), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for seed in range(8)
    ]
    for process in processes:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert int(out) > 10
    cache = Cache(str(folder))
    for entry in cache.entries():
        cache.check(entry.key)
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
    cache.evict()
    assert sum(entry.size for entry in cache.entries()) <= 40_000


def test_processes_that_compile_at_once(folder: Path):
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SECOND],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(4)
    ]
    results = set()
    for run in runs:
        out, err = run.communicate(timeout=100)
        assert run.returncode == 0, err
        results.add(out.splitlines()[0])
    assert len(results) == 1


# Elsewhere


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GRADC_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(store, "_caches", {})
    found = store.cache()
    assert found is not None and found.folder == store.default_folder()
    if sys.platform == "linux":
        assert found.folder == str(tmp_path / "gradc")
    monkeypatch.setenv("GRADC_CACHE_DIR", "0")
    assert store.cache() is None
    for given, folder in (("relative", os.path.abspath("relative")), ("~/x", os.path.expanduser("~/x"))):
        monkeypatch.setenv("GRADC_CACHE_DIR", given)
        found = store.cache()
        assert found is not None and found.folder == folder
    monkeypatch.setenv("GRADC_CACHE_DIR", "")
    monkeypatch.setattr(store, "_caches", {})
    monkeypatch.setattr(store, "default_folder", lambda: "~/.cache/gradc")  # of a user without a home
    assert store.cache() is None


def test_what_a_graph_does_not_have_is_not_kept(folder: Path):
    f = gradc.compile(lambda x, i: x[i])
    f(np.arange(5.0), np.array([1, 2]))
    special, _ = f._function.specialize((np.arange(5.0), np.array([1, 2])), {})
    executable = special["value"].executable
    log = Log()
    there = Cached(special.program.whole, "test", log)
    assert executable.messages
    (message,) = executable.messages
    there.keep(executable.binary._replace(messages=(message._replace(source=Source("elsewhere.py", 1)),)))
    assert log == [f"miss {there._key}"] or any("not kept" in text for text in log)
    assert there.load(lambda binary: binary) is None
    there.keep(executable.binary)
    assert there.load(lambda binary: binary) == executable.binary


def test_the_runtimes_own_code_is_kept_too(folder: Path):
    second()
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(before) >= 4  # the function, the entry, the pool, the digest of the sources
    second()
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_checking_leaves_a_damaged_file(folder: Path):
    cache = Cache(str(folder))
    put_all(cache, 1)
    path = Path(cache.path(KEYS[0]))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnusableError, match="as it was written"):
        cache.check(KEYS[0])
    assert path.exists()
    assert jit.object_code  # the compiler is not needed for any of this
