"""All SQL about the client's artifacts: collections, versions, aliases, manifests, uses."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, Table, delete, insert, select, update

from setpoint.db.upsert import upsert
from setpoint.errors import NotFound
from setpoint.server.wandb.tables import (
    wandb_aliases,
    wandb_artifacts,
    wandb_collections,
    wandb_entries,
    wandb_manifests,
    wandb_memberships,
    wandb_uses,
)

T = TypeVar("T")

_BATCH = 1_000  #: values a statement

SEQUENCE, PORTFOLIO = "sequence", "portfolio"
PENDING, COMMITTED, DELETED = "PENDING", "COMMITTED", "DELETED"


class Collection(Struct, frozen=True, kw_only=True):
    """A sequence of an artifact's versions, or a portfolio of links to versions."""

    id: int
    experiment: str
    kind: str
    type: str
    name: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    tags: list[str] = field(default_factory=list)
    client_id: str | None = None
    versions: int = 0  #: handed out so far


class Artifact(Struct, frozen=True, kw_only=True):
    """One version, or what will be one when it is whole."""

    id: int
    collection_id: int  #: its sequence
    state: str
    digest: str
    digest_algorithm: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    metadata: str | None = None  #: JSON
    tags: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)  #: aliases it gets when it is whole
    client_id: str | None = None
    run_id: str | None = None
    step: int | None = None
    ttl: int | None = None  #: seconds
    size: int = 0  #: bytes
    files: int = 0


class Membership(Struct, frozen=True, kw_only=True):
    """An artifact as a version of a collection."""

    collection_id: int
    version: int
    artifact_id: int
    created_at: datetime


class Alias(Struct, frozen=True, kw_only=True):
    collection_id: int
    alias: str
    version: int


class Manifest(Struct, frozen=True, kw_only=True):
    """What an artifact is made of, as a file that the client writes."""

    id: int
    artifact_id: int
    type: str  #: FULL, INCREMENTAL, PATCH
    base_id: int | None = None
    digest: str | None = None
    md5: str | None = None  #: of the file, base 64; None: not here yet


# Collections


def collection(conn: Connection, experiment: str, name: str) -> Collection | None:
    """Read a collection by its name."""
    c = wandb_collections.c
    return _first(conn, wandb_collections, Collection, c.experiment == experiment, c.name == name)


def collection_of(conn: Connection, number: int) -> Collection:
    """Read a collection.

    Raises:
        NotFound: If there is none of this id.
    """
    found = _first(conn, wandb_collections, Collection, wandb_collections.c.id == number)
    if found is None:
        raise NotFound("there is no such collection of artifacts")
    return found


def collections(conn: Connection, experiment: str, kind: str | None = None) -> list[Collection]:
    """Return the collections of a project, the newest first; of one type, if it is named."""
    where = [wandb_collections.c.experiment == experiment]
    if kind is not None:
        where.append(wandb_collections.c.type == kind)
    found = _all(conn, wandb_collections, Collection, *where)
    return sorted(found, key=lambda one: -one.id)


def every(conn: Connection) -> list[Collection]:
    """Return the collections of all projects, those changed last first."""
    found = _all(conn, wandb_collections, Collection)
    return sorted(found, key=lambda one: (one.updated_at, one.id), reverse=True)


def add_collection(conn: Connection, **values: Any) -> Collection:
    """Insert a collection."""
    row = {"tags": [], "versions": 0} | values
    return collection_of(conn, _insert(conn, wandb_collections, row))


def change_collection(conn: Connection, number: int, **values: Any) -> Collection:
    """Write columns of a collection."""
    conn.execute(update(wandb_collections).where(wandb_collections.c.id == number).values(values))
    return collection_of(conn, number)


def artifacts_of(conn: Connection, collection_id: int) -> list[int]:
    """Return the artifacts whose sequence a collection is, deleted ones too."""
    a = wandb_artifacts.c
    return list(conn.execute(select(a.id).where(a.collection_id == collection_id)).scalars())


def delete_collection(conn: Connection, number: int) -> None:
    """Delete a collection: a sequence with its versions, a portfolio with its links."""
    for artifact_id in artifacts_of(conn, number):
        for table in (wandb_uses, wandb_manifests):
            conn.execute(delete(table).where(table.c.artifact_id == artifact_id))
        leave(conn, artifact_id)
    for table in (wandb_aliases, wandb_memberships, wandb_artifacts):
        conn.execute(delete(table).where(table.c.collection_id == number))
    conn.execute(delete(wandb_collections).where(wandb_collections.c.id == number))


# Artifacts


def artifact(conn: Connection, number: int) -> Artifact | None:
    """Read an artifact."""
    return _first(conn, wandb_artifacts, Artifact, wandb_artifacts.c.id == number)


def get(conn: Connection, number: int) -> Artifact:
    """Read an artifact.

    Raises:
        NotFound: If there is none of this id.
    """
    found = artifact(conn, number)
    if found is None:
        raise NotFound("there is no such artifact")
    return found


def by_client_id(conn: Connection, client_id: str) -> Artifact | None:
    """Read the artifact that the client knows by an id of its own."""
    return _first(conn, wandb_artifacts, Artifact, wandb_artifacts.c.client_id == client_id)


def same(conn: Connection, collection_id: int, digest: str) -> Artifact | None:
    """Return the newest whole version of a sequence with these contents."""
    a = wandb_artifacts.c
    where = (a.collection_id == collection_id, a.digest == digest, a.state == COMMITTED)
    found = _all(conn, wandb_artifacts, Artifact, *where)
    return max(found, key=lambda one: one.id, default=None)


def made_by(conn: Connection, run_id: str) -> list[Artifact]:
    """Return the whole artifacts that a run made, oldest first."""
    a = wandb_artifacts.c
    found = _all(conn, wandb_artifacts, Artifact, a.run_id == run_id, a.state == COMMITTED)
    return sorted(found, key=lambda one: one.id)


def used_by(conn: Connection, run_id: str) -> list[Artifact]:
    """Return the artifacts that a run used, in the order of their making."""
    ids = select(wandb_uses.c.artifact_id).where(wandb_uses.c.run_id == run_id)
    found = _all(conn, wandb_artifacts, Artifact, wandb_artifacts.c.id.in_(ids))
    return sorted(found, key=lambda one: one.id)


def users(conn: Connection, artifact_id: int) -> list[str]:
    """Return the ids of the runs that used an artifact, in the order of first use."""
    u = wandb_uses.c
    query = select(u.run_id).where(u.artifact_id == artifact_id).order_by(u.at, u.run_id)
    return list(conn.execute(query).scalars())


def use(conn: Connection, artifact_id: int, run_id: str, used_as: str | None, at: datetime) -> None:
    """Write that a run used an artifact."""
    row = {"artifact_id": artifact_id, "run_id": run_id, "used_as": used_as, "at": at}
    upsert(conn, wandb_uses, [row], update=["used_as"])


def add_artifact(conn: Connection, **values: Any) -> Artifact:
    """Insert an artifact."""
    return get(conn, _insert(conn, wandb_artifacts, {"size": 0, "files": 0} | values))


def change_artifact(conn: Connection, number: int, **values: Any) -> Artifact:
    """Write columns of an artifact."""
    conn.execute(update(wandb_artifacts).where(wandb_artifacts.c.id == number).values(values))
    return get(conn, number)


# Contents


def put_entries(conn: Connection, artifact_id: int, md5s: Iterable[str]) -> None:
    """Write which contents an artifact has."""
    rows = [{"artifact_id": artifact_id, "md5": md5} for md5 in sorted(set(md5s))]
    upsert(conn, wandb_entries, rows)


def drop_entries(conn: Connection, artifact_id: int) -> list[str]:
    """Forget which contents an artifact had; return those that no other has."""
    e = wandb_entries.c
    own = list(conn.execute(select(e.md5).where(e.artifact_id == artifact_id)).scalars())
    conn.execute(delete(wandb_entries).where(e.artifact_id == artifact_id))
    held: set[str] = set()
    for start in range(0, len(own), _BATCH):
        some = own[start : start + _BATCH]
        held.update(conn.execute(select(e.md5).where(e.md5.in_(some))).scalars())
    return sorted(set(own) - held)


# Versions of collections, and their aliases


def join(conn: Connection, collection_id: int, artifact_id: int, at: datetime) -> Membership:
    """Make an artifact the next version of a collection; its present one, if it is in there."""
    m = wandb_memberships.c
    where = (m.collection_id == collection_id, m.artifact_id == artifact_id)
    found = _first(conn, wandb_memberships, Membership, *where)
    if found is not None:
        return found
    # The row of the collection is locked by its own update: no number is handed out twice.
    c = wandb_collections.c
    more = {"versions": c.versions + 1, "updated_at": at}
    conn.execute(update(wandb_collections).where(c.id == collection_id).values(more))
    taken = conn.execute(select(c.versions).where(c.id == collection_id)).scalar_one()
    made = Membership(
        collection_id=collection_id, version=taken - 1, artifact_id=artifact_id, created_at=at
    )
    conn.execute(insert(wandb_memberships).values(msgspec.structs.asdict(made)))
    return made


def leave(conn: Connection, artifact_id: int, collection_id: int | None = None) -> None:
    """Take an artifact out of a collection, or out of all, with its aliases there."""
    for one in memberships(conn, artifact_id):
        if collection_id not in {None, one.collection_id}:
            continue
        for table in (wandb_aliases, wandb_memberships):
            here = (
                table.c.collection_id == one.collection_id,
                table.c.version == one.version,
            )
            conn.execute(delete(table).where(*here))


def memberships(conn: Connection, artifact_id: int) -> list[Membership]:
    """Return the versions that an artifact is, that of its own sequence first."""
    found = _all(
        conn, wandb_memberships, Membership, wandb_memberships.c.artifact_id == artifact_id
    )
    return sorted(found, key=lambda one: one.collection_id)


def members(conn: Connection, collection_id: int) -> list[Membership]:
    """Return the versions of a collection, the newest first."""
    where = wandb_memberships.c.collection_id == collection_id
    found = _all(conn, wandb_memberships, Membership, where)
    return sorted(found, key=lambda one: -one.version)


def member(conn: Connection, collection_id: int, alias: str) -> Membership | None:
    """Return the version of an alias, of ``v3``, or of no alias: the newest."""
    m, a = wandb_memberships.c, wandb_aliases.c
    here = m.collection_id == collection_id
    named = select(a.version).where(a.collection_id == collection_id, a.alias == alias)
    found = _first(conn, wandb_memberships, Membership, here, m.version.in_(named))
    if found is None and alias[:1] == "v" and alias[1:].isdecimal():
        return _first(conn, wandb_memberships, Membership, here, m.version == int(alias[1:]))
    return found


def aliases(conn: Connection, collection_id: int, version: int | None = None) -> list[Alias]:
    """Return the aliases of a collection, or of one version of it."""
    where = [wandb_aliases.c.collection_id == collection_id]
    if version is not None:
        where.append(wandb_aliases.c.version == version)
    found = _all(conn, wandb_aliases, Alias, *where)
    return sorted(found, key=lambda one: one.alias)


def point(conn: Connection, collection_id: int, names: Iterable[str], version: int) -> None:
    """Make aliases name a version of a collection, whatever they named before."""
    rows = [
        {"collection_id": collection_id, "alias": name, "version": version} for name in set(names)
    ]
    if rows:
        upsert(conn, wandb_aliases, rows, update=["version"])


def unpoint(conn: Connection, collection_id: int, names: Iterable[str], version: int) -> None:
    """Delete aliases, where they name this version of a collection."""
    a = wandb_aliases.c
    where = (a.collection_id == collection_id, a.version == version, a.alias.in_(list(names)))
    conn.execute(delete(wandb_aliases).where(*where))


# Manifests


def manifest(conn: Connection, number: int) -> Manifest:
    """Read a manifest.

    Raises:
        NotFound: If there is none of this id.
    """
    found = _first(conn, wandb_manifests, Manifest, wandb_manifests.c.id == number)
    if found is None:
        raise NotFound("there is no such manifest")
    return found


def manifests(conn: Connection, artifact_id: int) -> list[Manifest]:
    """Return the manifests of an artifact, oldest first."""
    where = wandb_manifests.c.artifact_id == artifact_id
    found = _all(conn, wandb_manifests, Manifest, where)
    return sorted(found, key=lambda one: one.id)


def add_manifest(conn: Connection, **values: Any) -> Manifest:
    """Insert a manifest."""
    return manifest(conn, _insert(conn, wandb_manifests, values))


def change_manifest(conn: Connection, number: int, **values: Any) -> Manifest:
    """Write columns of a manifest."""
    conn.execute(update(wandb_manifests).where(wandb_manifests.c.id == number).values(values))
    return manifest(conn, number)


def _insert(conn: Connection, table: Table, row: dict[str, Any]) -> int:
    made = conn.execute(insert(table).values(row).returning(table.c.id))
    return int(made.scalar_one())


def _all(conn: Connection, table: Table, kind: type[T], *where: Any) -> list[T]:
    rows = conn.execute(select(table).where(*where))
    return [msgspec.convert(row, kind, from_attributes=True) for row in rows]


def _first(conn: Connection, table: Table, kind: type[T], *where: Any) -> T | None:
    return next(iter(_all(conn, table, kind, *where)), None)
