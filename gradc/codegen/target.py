"""What machine the code is for, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Target:
    """A machine: LLVM's triple, processor and features, and the width of its vectors in bytes."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int


@lru_cache(maxsize=1)
def host() -> Target:
    """The machine we run on."""
    import llvmlite.binding as llvm

    flags = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    if flags.get("avx512f") and flags.get("avx512vl") and flags.get("avx512dq") and flags.get("avx512bw"):
        width = 64
    elif flags.get("avx2") and flags.get("fma"):
        width = 32
    else:
        width = 16
    return Target(triple, llvm.get_host_cpu_name(), flags.flatten(), width)
