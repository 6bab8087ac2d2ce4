"""What a run is told of itself without being asked: code, environment, command, host."""

import logging
import platform
import shlex
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import SetpointError
from setpoint.runs import code, environment
from setpoint.runs.entities import Code
from setpoint.sdk.records import Origin

_log = logging.getLogger("setpoint")


class Capture(Struct, frozen=True, kw_only=True):
    """What is captured of a run besides what it logs."""

    code: bool = True  #: git's commit and difference, and a snapshot of the folder's code
    environment: bool = True  #: interpreter, platform, installed distributions
    host: bool = True  #: host name and command line, as tags
    system: float = 10.0  #: seconds between measurements of CPU, memory, disk, GPU; 0: none


def tags(capture: Capture) -> dict[str, str]:
    """Return host and command line. Arguments may be secret: `Capture(host=False)`."""
    if not capture.host:
        return {}
    command = shlex.join(sys.orig_argv)
    return {"setpoint.host": platform.node(), "setpoint.command": command[:5_000]}


def origin(capture: Capture, folder: Path, store: ObjectStore, *, move: bool) -> Origin:
    """Store the code in `folder` and this process's environment.

    What cannot be captured is told in a warning and left out.

    Args:
        capture: What is wanted.
        folder: The project's.
        store: Where the objects go.
        move: Whether they have to go on to another store.
    """
    found, addresses = _code(folder, store) if capture.code else (None, [])
    address = None
    if capture.environment:
        try:
            address = environment.capture(store)
        except SetpointError as error:
            _log.warning("setpoint: the environment is not recorded: %s", error.message)
    if address is not None:
        addresses = [*addresses, address]
    return Origin(code=found, environment=address, objects=addresses if move else [])


def _code(folder: Path, store: ObjectStore) -> tuple[Code | None, list[str]]:
    try:
        found = code.capture(folder, store)
    except (SetpointError, OSError) as error:
        _log.warning("setpoint: the code is not recorded: %s", error)
        return None, []
    addresses = [found.diff] if found.diff else []
    if found.snapshot:
        files = msgspec.json.decode(store.get(found.snapshot), type=dict[str, str])
        addresses += [*files.values(), found.snapshot]
    return found, list(dict.fromkeys(addresses))
