"""What machine the code is for, as data."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Target(NamedTuple):
    """A machine: LLVM's triple, processor and features, and the width of its vectors in bytes."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int

    @property
    def _is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i386", "i686", "amd64"))

    @property
    def avx512(self) -> bool:
        """Whether it has AVX-512's F, VL, DQ and BW."""
        return self._is_x86 and self.vector_bytes == 64

    @property
    def baseline(self) -> bool:
        """Whether it is an x86 that need not have more than SSE2: no fused multiply-add, no rounding."""
        return self._is_x86 and self.vector_bytes == 16


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
