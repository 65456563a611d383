"""Who takes part, and the virtual environments that the peers live in.

Each peer that is a package has an environment of its own below a folder, made when it is first needed; a
stamp in it says what was installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / ".venv/peers"


class UnavailableError(Exception):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A side: the module that speaks for it, and what is installed for it (nothing: this environment)."""

    title: str
    module: str
    environment: str = ""
    install: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    newest_python: tuple[int, int] | None = None
    needs: str = ""

    def python(self, folder: Path) -> str:
        """The interpreter, set up if it is not yet. Errors: `UnavailableError`."""
        if self.needs and shutil.which(self.needs) is None:
            raise UnavailableError(f"needs {self.needs}")
        if not self.environment:
            return sys.executable
        place = folder / self.environment
        python, stamp = place / "bin/python", place / "stamp"
        wanted = "\n".join(self.install)
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return str(python)
        if self.newest_python and sys.version_info[:2] > self.newest_python:
            newest = ".".join(map(str, self.newest_python))
            raise UnavailableError(f"has no wheels for Python above {newest}")
        print(f"setting up {self.title} in {place}", file=sys.stderr, flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", *self.install],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                raise UnavailableError(f"cannot be installed: {lines[-1] if lines else 'see pip'}"[:200])
        stamp.write_text(wanted, "utf-8")
        return str(python)


# The wheels of PyTorch's own index are for the CPU; PyPI's for Linux bring gigabytes for GPUs.
TORCH = ("--extra-index-url", "https://download.pytorch.org/whl/cpu", "torch==2.13.0", "numpy")

OLD_JAX = ("jax==0.4.31", "jaxlib==0.4.31", "numpy<2.2", "scipy<1.15")

PEERS = {
    peer.title: peer
    for peer in (
        Peer("gradc", "in_gradc"),
        Peer("NumPy", "in_numpy"),
        Peer("JAX 0.10.2", "in_jax", "jax-0.10.2", ("jax==0.10.2", "jaxlib==0.10.2")),
        Peer("JAX 0.4.31", "in_jax", "jax-0.4.31", OLD_JAX, newest_python=(3, 12)),
        Peer("PyTorch 2.13", "in_torch", "torch-2.13.0", TORCH),
        Peer("torch.compile", "in_torch", "torch-2.13.0", TORCH, options={"compiled": True}, needs="g++"),
    )
}
"""All sides by title, the order of columns."""
