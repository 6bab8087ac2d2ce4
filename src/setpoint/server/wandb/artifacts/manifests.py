"""Manifests: which files an artifact is made of, as the client writes them."""

import base64
import hashlib
import json
from typing import Any, NamedTuple

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import free, open_store
from setpoint.db import references
from setpoint.errors import Conflict, Invalid
from setpoint.server.wandb.artifacts import store
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.store import Content
from setpoint.server.wandb.scope import Scope


class Entry(NamedTuple):
    """A file of an artifact."""

    name: str
    digest: str  #: MD5, base 64; of a reference what its place tells
    size: int = 0
    ref: str | None = None  #: where it lies, if not here


def read(text: bytes) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        Invalid: If it is none.
    """
    try:
        found = json.loads(text)
        contents = found["contents"]
        entries_of(contents)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Invalid("this is no manifest of an artifact") from None
    manifest: dict[str, Any] = found
    return manifest


def entries_of(contents: dict[str, Any]) -> list[Entry]:
    """Return the entries of a manifest's contents, by name."""
    return [
        Entry(name, one["digest"], int(one.get("size") or 0), one.get("ref"))
        for name, one in sorted(contents.items())
    ]


def entries(scope: Scope, artifact_id: int) -> list[Entry]:
    """Return the files of an artifact; none while its manifest is not here."""
    found = [one for one in store.manifests(scope.conn, artifact_id) if one.md5]
    return entries_of(load(scope, found[-1])["contents"]) if found else []


def load(scope: Scope, manifest: store.Manifest) -> dict[str, Any]:
    """Return a manifest's content.

    Raises:
        Conflict: If its file has not arrived.
    """
    held = store_runs.contents(scope.conn, [manifest.md5] if manifest.md5 else [])
    if not held:
        raise Conflict("the manifest of this artifact has not arrived", hint="send it first")
    (content,) = held.values()
    return read(_store(scope).get(content.address))


def completed(scope: Scope, manifest: store.Manifest) -> list[Entry]:
    """Return the files of an artifact whose manifest is here, the base's added to an increment.

    Raises:
        Conflict: If a file that it lists has not arrived.
    """
    own = load(scope, manifest)
    if manifest.type != "FULL" and manifest.base_id is not None:
        base = [one for one in store.manifests(scope.conn, manifest.base_id) if one.md5]
        if base:
            own["contents"] = load(scope, base[-1])["contents"] | own["contents"]
            _keep(scope, manifest, json.dumps(own).encode())
    found = entries_of(own["contents"])
    here = [entry for entry in found if entry.ref is None]
    held = store_runs.contents(scope.conn, {entry.digest for entry in here})
    missing = [entry.name for entry in here if entry.digest not in held]
    if missing:
        raise Conflict(
            f"{len(missing)} files of the artifact have not arrived, e.g. {missing[0]!r}",
            hint="log it again",
        )
    return found


def release(scope: Scope, artifact_id: int) -> int:
    """Free the contents that only this artifact had; return their bytes."""
    lists = [one.md5 for one in store.manifests(scope.conn, artifact_id) if one.md5]
    gone = [*store.drop_entries(scope.conn, artifact_id), *lists]
    addresses = store_runs.drop_contents(scope.conn, gone)
    return free(_store(scope), addresses - references.named(scope.conn, addresses, rows={})).bytes


def _keep(scope: Scope, manifest: store.Manifest, text: bytes) -> None:
    address = _store(scope).put(text)
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    md5 = base64.b64encode(digest).decode()
    store_runs.put_content(scope.conn, Content(md5=md5, address=address, size=len(text)))
    store.change_manifest(scope.conn, manifest.id, md5=md5)


def _store(scope: Scope) -> ObjectStore:
    return open_store(scope.ctx.settings)
