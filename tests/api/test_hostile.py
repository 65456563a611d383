"""What other threads and processes may do to a call: either values, never a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import gradc

POSIX = pytest.mark.skipif(os.name != "posix", reason="posix only")


HERE = {**os.environ, "PYTHONPATH": str(Path(gradc.__file__).parents[1])}
"""The environment of programs elsewhere that import this gradc."""


def in_a_process(code: str, *, environment: dict[str, str] | None = None, timeout: float = 120) -> str:
    """What a program prints; it must end well, and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    return done.stdout


# While a call runs


def test_containers_that_change_during_a_call() -> None:
    """Another thread replaces what a dict, a list and a dataclass hold, so that only the call has it."""
    in_a_process(
        """
        import threading, time
        from dataclasses import dataclass
        import numpy as np, gradc

        @dataclass
        class Box:
            x: object

        @gradc.compile(threads=1)
        def f(d, l, box):
            return np.sum(np.exp(d["x"]) + np.exp(l[0]) + np.exp(box.x))

        N = 400_000
        def fresh(): return np.zeros(N)
        d, l, box = {"x": fresh()}, [fresh()], Box(fresh())
        stop = threading.Event()

        def replace():
            while not stop.is_set():
                d["x"], l[0], box.x = fresh(), fresh(), fresh()
                l.append(1.0); l.pop()
                d["y"] = 1; del d["y"]

        threads = [threading.Thread(target=replace, daemon=True) for _ in range(2)]
        for t in threads: t.start()
        end = time.monotonic() + 3
        good = other = 0
        while time.monotonic() < end:
            for call in (f, lambda *a: f.value_and_grad(*a)[0]):
                try:
                    assert abs(call(d, l, box) - 3 * N) < 1e-6
                    good += 1
                except (TypeError, ValueError, RuntimeError):
                    other += 1  # a tree that was longer for a moment
        stop.set()
        for t in threads: t.join()
        assert good > 20, (good, other)
        """
    )


def test_containers_that_grow_and_shrink_during_a_call() -> None:
    """A signature is that of one moment: calls that find no plan walk containers nobody else can change."""
    in_a_process(
        """
        import sys, threading, time
        from collections import OrderedDict, deque
        from dataclasses import dataclass
        import numpy as np, gradc

        @dataclass
        class Box:
            x: object

        def fn(d, l, box, more):
            return np.sum(np.exp(d["x"]) + np.exp(l[0]) + np.exp(box.x[0]) + more[0]["z"] + more[1][0])

        N = 100
        def fresh(): return np.zeros(N)
        d, l, box = {"x": fresh()}, [fresh()], Box([fresh()])
        more = OrderedDict(z=0.0), deque([0.0])
        stop = threading.Event()

        def replace():
            while not stop.is_set():
                d["x"], l[0], box.x = fresh(), fresh(), [fresh()]
                for grow, shrink in (
                    (l.append, l.pop),
                    (box.x.append, box.x.pop),
                    (more[1].append, more[1].pop),
                    (lambda x: d.update(y=x), lambda: d.pop("y", 0)),
                    (lambda x: more[0].update(y=x), lambda: more[0].pop("y", 0)),
                ):
                    grow(1.0)
                    time.sleep(0)  # lets the caller go on in between
                    shrink()

        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=replace, daemon=True) for _ in range(2)]
        for t in threads: t.start()
        end = time.monotonic() + 4
        signatures = 0
        while time.monotonic() < end:
            f = gradc.compile(fn, threads=1)
            for _ in range(30):
                for call in (f, lambda *a: f.value_and_grad(*a)[0]):
                    assert abs(call(d, l, box, more) - 3 * N) < 1e-6
            signatures = max(signatures, len(f._function.table))
        stop.set()
        for t in threads: t.join()
        assert signatures > 1
        """
    )


def test_indices_that_change_during_a_call() -> None:
    """What was checked is what is used: an index that changes in between cannot leave the array."""
    in_a_process(
        """
        import threading, time
        import numpy as np, gradc

        N = 200_000
        x, i = np.ones(N), np.zeros(N, np.int64)

        @gradc.compile(threads=1)
        def f(x, i):
            y = np.exp(x)
            return np.sum(y[i] * x[i])

        stop = threading.Event()

        def change():
            far = np.full(N, 1 << 40)
            while not stop.is_set():
                np.copyto(i, far)
                np.copyto(i, 0)

        t = threading.Thread(target=change)
        f(x, i)
        f.value_and_grad(x, i)
        t.start()
        end = time.monotonic() + 4
        seen = [0, 0]
        while time.monotonic() < end:
            for call in (f, f.value_and_grad):
                try:
                    call(x, i)
                    seen[0] += 1
                except IndexError:
                    seen[1] += 1
        stop.set()
        t.join()
        """
    )


def test_other_threads_run_during_a_long_call() -> None:
    count = in_a_process(
        """
        import threading, time
        import numpy as np, gradc

        f = gradc.compile(lambda x: np.sum(np.tanh(np.exp(np.sin(x)))), threads=1)
        x = np.ones(20_000_000)
        f(x)
        during = []
        done = threading.Event()

        def watch():
            while not done.is_set():
                during.append(time.monotonic())
                time.sleep(0.001)

        t = threading.Thread(target=watch)
        t.start()
        start = time.monotonic()
        f(x)
        end = time.monotonic()
        done.set()
        t.join()
        print(sum(start + 0.005 < moment < end - 0.005 for moment in during))
        """
    )
    assert int(count) >= 5


def test_threads_with_shapes_of_their_own() -> None:
    """32 threads call one function at once, each for the first time with its shape."""
    in_a_process(
        """
        import threading
        import numpy as np, gradc

        f = gradc.compile(lambda x, p: np.sum(x * p["w"]) * p["b"], wrt=(0, 1))
        barrier, wrong = threading.Barrier(32), []

        def work(k):
            x, p = np.full(k + 1, 2.0), {"w": np.full(k + 1, 0.5), "b": float(k)}
            barrier.wait()
            for _ in range(50):
                value, (gx, gp) = f.value_and_grad(x, p)
                if value != (k + 1) * k or gx.shape != (k + 1,) or gp["b"] != k + 1 or (gx != 0.5 * k).any():
                    wrong.append(k)
        threads = [threading.Thread(target=work, args=(k,)) for k in range(32)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert not wrong, wrong
        """
    )


# The end of a process, and other processes


def test_the_interpreter_ends_while_daemon_threads_call() -> None:
    for _ in range(3):
        in_a_process(
            """
            import threading, time
            import numpy as np, gradc

            f = gradc.compile(lambda x: np.sum(np.exp(x)), threads=3)
            g = gradc.compile(lambda p: p["a"] * 2.0)
            x = np.ones(1_000_000)
            f(x)
            g({"a": 1.0})

            def forever(call, *args):
                while True:
                    call(*args)

            for call, args in ((f, (x,)), (g, ({"a": 1.0},)), (f.value_and_grad, (x,))):
                threading.Thread(target=forever, args=(call, *args), daemon=True).start()
            time.sleep(0.1)
            """
        )


def test_calls_while_the_interpreter_ends() -> None:
    """From `atexit`, from finalizers at the end, and from what modules hold."""
    out = in_a_process(
        """
        import atexit, gc
        import numpy as np, gradc

        f = gradc.compile(lambda p: np.sum(p["x"] * 2.0))
        p = {"x": np.ones(3)}
        f.value_and_grad(p)
        value_and_grad = f.value_and_grad

        class Last:
            def __init__(self): self.me = self  # in a cycle
            def __del__(self, call=value_and_grad, p=p): print(call(p)[0])

        last, other = Last(), Last()
        atexit.register(lambda: print(f(p)))
        del other
        gc.collect()
        """
    )
    assert out.split()[:2] == ["6.0", "6.0"]


@POSIX
@pytest.mark.filterwarnings("ignore:This process")
def test_forks_while_other_threads_call() -> None:
    """A child is forked while the threads of the pool work: it computes with threads of its own."""
    in_a_process(
        """
        import os, threading, warnings
        import numpy as np, gradc
        warnings.simplefilter("ignore")

        f = gradc.compile(lambda x: np.sum(np.exp(x) * x), threads=3)
        x = np.ones(1_000_000)
        wanted = f(x)
        stop = threading.Event()

        def work():
            while not stop.is_set():
                f(x)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for t in threads: t.start()
        for k in range(8):
            child = os.fork()
            if child == 0:
                good = all(f(x) == wanted for _ in range(3))
                good = good and gradc.compile(lambda x: x * (k + 2.0))(1.0) == k + 2
                os._exit(0 if good else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        for t in threads: t.join()
        """
    )


@POSIX
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_in_the_middle_of_a_parallel_call() -> None:
    """One thread is inside of a long parallel call, its helpers too, when another one forks."""
    in_a_process(
        """
        import os, signal, threading, time, warnings
        import numpy as np, gradc
        warnings.simplefilter("ignore")

        f = gradc.compile(lambda x: np.sum(np.tanh(np.exp(np.sin(x)))), threads=3)
        small, x = np.ones(400_000), np.ones(6_000_000)
        wanted, wanted_of_all, slope = f(small), f(x), f.grad(small)[0]
        inside, found = 0, []
        for k in range(4):
            started = threading.Event()
            t = threading.Thread(target=lambda: (started.set(), found.append(f(x))))
            t.start()
            started.wait()
            time.sleep(0.003)
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                same = f(small) == wanted and f.grad(small)[0] == slope and f(x) == wanted_of_all
                os._exit(0 if same else 1)
            inside += t.is_alive()
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            t.join()
        assert found == [wanted_of_all] * 4 and inside, (found, inside)
        """
    )


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(how: str, tmp_path: Any) -> None:
    import multiprocessing

    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {how} here")
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, warnings
            import numpy as np, gradc
            warnings.simplefilter("ignore")

            @gradc.compile
            def loss(x):
                return np.sum(np.exp(x) * x)

            if __name__ == "__main__":
                xs = [np.full(300_000, float(k)) for k in range(4)]
                here = [loss(x) for x in xs]
                with multiprocessing.get_context("{how}").Pool(2) as pool:
                    assert pool.map(loss, xs) == here
                    there = pool.map(loss.value_and_grad, xs)
                assert [value for value, _ in there] == here
                print("done")
            """
        )
    )
    run = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False, env=HERE)
    assert done.stdout == "done\n", done.stderr[-3000:]


# Under tools that look on


@pytest.mark.parametrize("tool", ["settrace", "setprofile", "settrace_all", "monitoring"])
def test_under_tracers_of_lines(tool: str) -> None:
    """What debuggers, profilers and coverage do: the same results, and each user line is still run once."""
    in_a_process(
        f"""
        import sys, threading
        import numpy as np

        seen = []
        def look(frame, event, arg):
            if frame.f_code.co_name == "body" and event == "line":
                seen.append(frame.f_lineno)
            return look

        tool = {tool!r}
        if tool == "settrace":
            sys.settrace(look)
        elif tool == "setprofile":
            sys.setprofile(lambda *event: None)
        elif tool == "settrace_all":
            threading.settrace(look)
            threading.setprofile(lambda *event: None)
            sys.settrace(look)
            sys.setprofile(lambda *event: None)
        elif hasattr(sys, "monitoring"):
            events = sys.monitoring.events
            sys.monitoring.use_tool_id(1, "test")
            sys.monitoring.register_callback(1, events.LINE, lambda code, line: None)
            sys.monitoring.set_events(1, events.LINE)
        import gradc

        def body(p, x):
            h = np.tanh(x @ p["w"])
            for k in range(2):
                h = h * p["b"]
            return np.sum(h)

        p, x = {{"w": np.ones((3, 2)), "b": 0.5}}, np.ones((4, 3))
        f = gradc.compile(body)
        value, grads = f.value_and_grad(p, x)
        assert abs(value - body(p, x)) < 1e-12 and f(p, x) == value
        before = len(seen)
        for _ in range(3):
            assert f.value_and_grad(p, x)[0] == value
        assert len(seen) == before  # native calls run no line
        found = []
        t = threading.Thread(target=lambda: found.append(f(p, x)))
        t.start()
        t.join()
        assert found == [value]
        """
    )


def test_under_coverage(tmp_path: Path) -> None:
    """The lines of a traced function count as run; results and native calls are as ever."""
    coverage = pytest.importorskip("coverage")
    folders = HERE["PYTHONPATH"], str(Path(coverage.__file__).parents[1])
    environment = {**HERE, "PYTHONPATH": os.pathsep.join(folders)}
    program, report = tmp_path / "program.py", tmp_path / "report.json"
    program.write_text(
        textwrap.dedent(
            """
            import threading
            import numpy as np, gradc

            @gradc.compile
            def f(x, n):
                y = x * 2.0
                if n > 1:
                    return np.sum(y)
                return np.sum(y * y)

            found = []
            t = threading.Thread(target=lambda: found.append(f.value_and_grad(np.ones(3), 2)[0]))
            t.start()
            t.join()
            print(found, [f(np.ones(3), 2) for _ in range(3)])
            """
        )
    )
    for command in (["run", "--branch", "--source=.", str(program)], ["json", "-o", str(report)]):
        run = [sys.executable, "-m", "coverage", *command]
        done = subprocess.run(
            run, capture_output=True, text=True, timeout=100, check=False, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if command[0] == "run":
            assert "6.0" in done.stdout and done.stdout.count("6.0") == 4, done.stdout
    (lines,) = [
        file for name, file in json.loads(report.read_text())["files"].items() if name.endswith("program.py")
    ]
    assert {7, 8, 9} <= set(lines["executed_lines"]) and lines["missing_lines"] == [10]


def test_in_a_debugger(tmp_path: Any) -> None:
    """pdb steps through a program and through the function while it is traced."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import numpy as np, gradc

            @gradc.compile
            def f(x):
                y = x * 2.0
                return np.sum(y)

            f(np.ones(3))
            print("value", f(np.ones(3)))
            """
        )
    )
    commands = f"b {program}:7\nc\np y.shape\nc\nq\n"
    run = [sys.executable, "-m", "pdb", str(program)]
    done = subprocess.run(
        run, input=commands, capture_output=True, text=True, timeout=60, check=False, env=HERE
    )
    assert "value 6.0" in done.stdout and "(7)f()" in done.stdout and "(3,)" in done.stdout, (
        done.stdout + done.stderr
    )


# Memory, threads and CPUs that run out


@POSIX
def test_memory_that_runs_out() -> None:
    """`MemoryError`, and everything works after it."""
    in_a_process(
        """
        import resource
        import numpy as np, gradc

        f = gradc.compile(lambda x, n: np.sum(np.exp(x)) + np.zeros((n, n)) + x[0], threads=1)
        g = gradc.compile(lambda x: (x * 2.0, np.sort(np.outer(x, x), axis=0).sum(1)), threads=1)
        x = np.ones(4000)
        assert f(x, 3).shape == (3, 3)
        small = g(np.ones(10))
        f(x, 20_000) if False else None
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20), resource.RLIM_INFINITY))
        for _ in range(3):
            for call in (lambda: f(x, 20_000), lambda: g(np.ones(9000))):
                try:
                    call()
                except MemoryError:
                    pass
                else:
                    raise AssertionError("there was memory")
            assert f(x, 3).shape == (3, 3)
            np.testing.assert_array_equal(g(np.ones(10))[1], small[1])
        """
    )


@POSIX
def test_threads_that_cannot_be_started() -> None:
    in_a_process(
        """
        import resource
        import numpy as np, gradc
        from gradc.runtime import threads

        f = gradc.compile(lambda x: np.exp(x) * 2.0, threads=8)
        one = gradc.compile(lambda x: np.exp(x) * 2.0, threads=1)
        x = np.linspace(0, 1, 1_000_000)
        wanted = one(x)
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        f.lower(x).memory  # compiled now
        # Room for the result and a stack or two of 8 MB.
        resource.setrlimit(resource.RLIMIT_AS, (now + (30 << 20), resource.RLIM_INFINITY))
        found = f(x)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        np.testing.assert_array_equal(found, wanted)
        assert threads.count() < 7, threads.count()
        """,
        environment={"GRADC_THREADS": ""},
    )


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, None])
def test_numbers_of_threads(threads: Any) -> None:
    if threads is None:
        assert gradc.compile(lambda x: x * 2, threads=None)(1.0) == 2
        return
    with pytest.raises(gradc.ArgumentError, match="threads=") as caught:
        gradc.compile(lambda x: x * 2, threads=threads)
    assert caught.value.source is not None and caught.value.source.file == __file__


@pytest.mark.parametrize("given", ["0", "-1", "abc", "1.5", "1e3", "²"])
def test_numbers_of_threads_in_the_environment(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADC_THREADS", given)
    with pytest.raises(gradc.ArgumentError, match="GRADC_THREADS") as caught:
        gradc.compile(lambda x: x * 2)
    assert given in str(caught.value)
    assert gradc.compile(lambda x: x * 2, threads=1)(1.0) == 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_busy_neighbours_do_not_stop_the_threads() -> None:
    """Two processes that never sleep share the CPUs: more threads cost no more than waiting for a turn."""
    in_a_process(
        """
        import subprocess, sys, time
        import numpy as np, gradc

        x = np.linspace(0, 1, 500_000)
        one, two = (gradc.compile(lambda x: np.sum(np.exp(x)), threads=n) for n in (1, 2))
        one(x), two(x)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        try:
            time.sleep(0.2)
            def seconds(f):
                start = time.perf_counter()
                for _ in range(200): f(x)
                return time.perf_counter() - start
            times = [(seconds(one), seconds(two)) for _ in range(3)]
        finally:
            for process in busy:
                process.kill()
                process.wait()
        alone, shared = (min(column) for column in zip(*times))
        assert shared < 3 * alone, times
        """
    )


# Many functions


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_ten_thousand_functions() -> None:
    grown = in_a_process(
        """
        import ctypes, gc, resource
        import numpy as np, gradc

        def resident():
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        def make(k):
            f = gradc.compile(lambda p, x: np.tanh(p["w"] * (k + 0.25)) * x)
            value, grads = f.value_and_grad({"w": 0.5}, x=2.0)
            assert grads.keys() == {"w"}

        for k in range(300):
            make(-k)
        before = resident()
        for k in range(10_000):
            make(k)
        print(resident() - before)
        """,
        timeout=900,
    )
    assert int(grown) < 8 << 20
