"""Which object a path of MLflow's artifact store stands for.

A path ``EXPERIMENT/RUN/artifacts/…`` is a run's artifact and kept with the run, where our pages
and our client see it; ``setpoint/MODEL/NUMBER/…`` a file of a version that was trained here, which
can be read only. Every other path (of a logged model, of a trace) is kept here.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.core.operations import Context
from setpoint.errors import NotFound, Unavailable
from setpoint.runs import commands, service
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow import errors, store, trained
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call

_LONGEST = 4_000  #: characters of a path
_OF_RUN = re.compile(r"\d+/([^/]+)/artifacts(?:/(.*))?")
_CLIMBING = {"", ".", ".."}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


class Entry(NamedTuple):
    """A file or folder in a listing."""

    name: str
    size: int | None  #: bytes; None: a folder


def clean(path: str) -> str:
    """Return a path without a slash at its end.

    No path is ever one of a file system here. Those that would climb out of theirs on a
    client's disk are refused, however often they were quoted.

    Raises:
        Refused: If it is absolute, climbs, or has a control character or a backslash.
    """
    seen, plain = "", path
    while plain != seen:
        seen, plain = plain, unquote(plain)
    bare = path.removesuffix("/")
    climbs = bare and any(part in _CLIMBING for part in plain.removesuffix("/").split("/"))
    if climbs or len(path) > _LONGEST or _UNPRINTABLE.search(plain):
        raise Refused("Invalid path")
    return bare


def put(call: Call, path: str, artifact: Artifact) -> None:
    """Let a path stand for an object, instead of what it stood for.

    Raises:
        Unavailable: If the last that named the same bytes was deleted at this very moment.
    """
    if trained.owns(path):
        raise Refused(f"'{path}' is of a version that was trained here; it never changes")
    run, within = of_run(path)
    if not (within and _put_to_run(call, run, within, artifact)):
        call.write(lambda ctx: store.put_file(ctx, path, artifact))
    require(open_store(call.backend.settings), artifact.address)


def require(objects: ObjectStore, address: str) -> None:
    """Refuse to go on with an object that was freed between being stored and being named."""
    if not objects.has(address):
        raise _deleted()


def _put_to_run(call: Call, run: str, path: str, artifact: Artifact) -> bool:
    """Tell whether there is such a run, which then has the artifact."""
    try:
        call.run(service.log, commands.Log(run=run, artifacts={path: artifact}))
    except NotFound as error:
        if error.where == artifact.address:
            raise _deleted() from None
        return False
    return True


def _deleted() -> Unavailable:
    return Unavailable("the same bytes were just deleted elsewhere", hint="send them again")


def get(call: Call, path: str) -> Artifact | bytes:
    """Return the object of a path; the bytes, where they are made when they are asked for.

    Raises:
        Refused: If there is none.
    """
    if trained.owns(path):
        made = trained.files(call, path).get(path)
        if made is None:
            raise Refused(f"No such artifact: '{path}'", errors.MISSING)
        return made
    _, within = of_run(path)
    found = _of_its_run(call, path).get(within) if within else None
    found = found or call.read(lambda conn: store.get_file(conn, path))
    if found is None:
        raise Refused(f"No such artifact: '{path}'", errors.MISSING)
    return found


def listing(call: Call, path: str) -> list[Entry]:
    """Return what is directly in a folder, by name; of a file, itself."""
    if trained.owns(path):
        made = trained.files(call, path)
        sizes = {
            name: len(each) if isinstance(each, bytes) else each.size for name, each in made.items()
        }
        return _children(sizes, path)
    _, within = of_run(path)
    artifacts = _of_its_run(call, path)
    if artifacts:
        return _children({name: each.size for name, each in artifacts.items()}, within)
    found = call.read(lambda conn: store.files_under(conn, path))
    return _children({name: each.size for name, each in found.items()}, path)


def forget(call: Call, path: str) -> None:
    """Forget a file or everything in a folder, and free what only they had.

    What is not there is forgotten already.
    """
    run, within = of_run(path)
    artifacts = _of_its_run(call, path)
    if artifacts:
        paths = [within] if within else list(artifacts)
        call.run(service.forget, commands.Forget(run=run, artifacts=paths))
    gone = {each.address for each in artifacts.values()}

    def free(ctx: Context) -> None:
        store.hold_files(ctx.conn)
        store.free(ctx, gone | store.drop_files(ctx.conn, path))

    call.write(free)


def of_run(path: str) -> tuple[str, str]:
    """Return the run that a path may belong to, and the path within its artifacts."""
    found = _OF_RUN.fullmatch(path)
    return (found.group(1), found.group(2) or "") if found else ("", "")


def _of_its_run(call: Call, path: str) -> dict[str, Artifact]:
    """Return a run's artifacts at and under a path; none if it is no run's."""
    run, within = of_run(path)
    if not run:
        return {}
    try:
        asked = commands.ListArtifacts(run=run, under=within)
        return call.run(service.artifacts, asked).artifacts
    except NotFound:
        return {}


def _children(sizes: dict[str, int], folder: str) -> list[Entry]:
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Entry] = {}
    for path, size in sizes.items():
        if path == folder:
            found[path] = Entry(path.rpartition("/")[2], size)
        elif path.startswith(prefix):
            name, deeper, _ = path[len(prefix) :].partition("/")
            found[name] = Entry(name, None if deeper else size)
    return [found[name] for name in sorted(found)]
