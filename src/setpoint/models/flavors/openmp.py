"""LightGBM on a machine without the OpenMP runtime.

Its wheel expects ``libgomp.so.1`` from the system, which small images lack. scikit-learn's
wheel brings the same library under a name of its own, so that one is loaded under the
system's name.
"""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

SYSTEM = b"libgomp.so.1"


def provide_openmp() -> None:
    """Make ``import lightgbm`` work. Call before any code that imports it; costs 0.1 ms."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(SYSTEM.decode())
    except OSError:
        if bundled := _bundled():
            _load(bundled)


def _bundled() -> Path | None:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    beside = Path(spec.origin).parents[1] / "scikit_learn.libs"
    return next(beside.glob("libgomp-*.so*"), None)


def _load(library: Path) -> None:
    """Load a copy whose own name, as the dynamic linker knows it, is the system's."""
    name = library.name.encode() + b"\0"
    content = library.read_bytes().replace(name, SYSTEM.ljust(len(name), b"\0"))
    memory = os.memfd_create(SYSTEM.decode())
    os.write(memory, content)
    ctypes.CDLL(f"/proc/self/fd/{memory}", mode=ctypes.RTLD_GLOBAL)
    os.close(memory)
