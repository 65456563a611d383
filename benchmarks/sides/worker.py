"""The process of one side: it reads requests as lines of JSON, and answers each with one line.

    python -m benchmarks.sides.worker in_jax '{}'

A side is a class `Side` in one of the modules `in_*`; what can be asked for are its methods. Between requests
it waits for a line and sleeps. What libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, options = sys.argv[1], json.loads(sys.argv[2])

    def answer(work: Callable[[], Any]) -> None:
        try:
            done = {"done": work()}
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip().splitlines()
            done = {"error": f"{type(error).__name__}: {text[0][:200] if text else ''}"}
        answers.write(json.dumps(done) + "\n")
        answers.flush()

    side: Any = None

    def start() -> dict[str, Any]:
        nonlocal side
        side = importlib.import_module(f"benchmarks.sides.{module}").Side(**options)
        return side.info()

    answer(start)
    for line in sys.stdin:
        name, request = json.loads(line)
        answer(lambda name=name, request=request: getattr(side, name)(**request))
    answers.close()
    os._exit(0)  # threads of libraries have no say


if __name__ == "__main__":
    main()
