"""What a run ran on: the interpreter, the machine, the installed distributions."""

import os
import platform
from functools import cache
from importlib.metadata import distributions

import msgspec

from setpoint.artifacts.contract import ObjectStore
from setpoint.runs.entities import Environment


def capture(store: ObjectStore) -> str:
    """Store the description of this process's environment; return its address.

    The same environment has the same address, so comparing two runs is one comparison.
    """
    return store.put(msgspec.json.encode(describe(), order="sorted"))


def read(store: ObjectStore, address: str) -> Environment:
    """Return the environment stored under an address."""
    return msgspec.json.decode(store.get(address), type=Environment)


@cache
def describe() -> Environment:
    """Return the environment of this process. Names only: no variables, no paths."""
    installed = {
        f"{found.name.lower().replace('_', '-')}=={found.version}"
        for found in distributions()
        if found.name
    }
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpus=os.cpu_count() or 1,
        distributions=sorted(installed),
    )
