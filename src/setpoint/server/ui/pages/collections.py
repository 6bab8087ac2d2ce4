"""Artifacts of the wandb client: their versions, what is in each, who made and who used it."""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from setpoint.charts.lineage import Node, lineage
from setpoint.errors import NotFound, SetpointError
from setpoint.runs.entities import Artifact
from setpoint.server.ui import markdown, queries, words
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages import previews
from setpoint.server.wandb.artifacts import manifests, store
from setpoint.server.wandb.artifacts.manifests import Entry
from setpoint.server.wandb.artifacts.store import Collection, Membership
from setpoint.server.wandb.files import content_url
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.store import Content
from setpoint.server.wandb.scope import Scope

_FILES = 500  #: in a list
_PICTURED = 5  #: runs that used a version, in the picture


class Version(Struct, frozen=True, kw_only=True):
    """A version of a collection."""

    number: int
    artifact: store.Artifact
    aliases: list[str]
    users: list[str]  #: ids of the runs that used it


def collections(ask: Ask) -> Page:
    """Answer "which artifacts are there?"."""
    wanted = ask.query.get("type", "")
    found = ask.read(store.every)
    types = sorted({each.type for each in found})
    listed = [each for each in found if wanted in {"", each.type}]
    return Page(
        template="collections.html",
        title="Artifacts",
        active="Runs",
        values={"collections": listed, "types": types, "wanted": wanted},
        tables={
            "artifacts": Table(
                columns=["id", "name", "type", "experiment", "versions", "updated_at"],
                rows=[
                    [c.id, c.name, c.type, c.experiment, c.versions, c.updated_at] for c in listed
                ],
            )
        },
    )


def collection(ask: Ask) -> Page:
    """Answer "which versions are there, and which is which?"."""
    found: Collection = ask.read(store.collection_of, ask.params["collection"])
    versions = ask.read(_versions, found.id)
    makers = [each.artifact.run_id for each in versions if each.artifact.run_id]
    return Page(
        template="collection.html",
        title=found.name,
        active="Runs",
        values={
            "collection": found,
            "html": markdown.render(found.description or ""),
            "versions": versions,
            "runs": ask.read(queries.run_names, sorted({*makers})),
        },
        tables={
            "versions": Table(
                columns=["version", "aliases", "size", "files", "made_by", "used_by", "created_at"],
                rows=[
                    [
                        *(v.number, v.aliases, v.artifact.size, v.artifact.files),
                        *(v.artifact.run_id, v.users, v.artifact.created_at),
                    ]
                    for v in versions
                ],
            )
        },
    )


def version(ask: Ask) -> Page:
    """Answer "what is in it, who made it and who used it?"."""
    found: Collection = ask.read(store.collection_of, ask.params["collection"])
    number = ask.params["version"]
    one = next((v for v in ask.read(_versions, found.id) if v.number == number), None)
    if one is None:
        raise NotFound(f"{found.name} has no version {number}", hint="its page lists them")
    entries, held = _contents(ask, one.artifact)
    runs = [*([one.artifact.run_id] if one.artifact.run_id else []), *one.users]
    names = ask.read(queries.run_names, sorted({*runs}))
    path = ask.query.get("file", "")
    return Page(
        template="collected.html",
        title=f"{found.name} v{number}",
        active="Runs",
        values={
            "collection": found,
            "version": one,
            "metadata": _laid(one.artifact.metadata),
            "entries": entries[:_FILES],
            "more": max(0, len(entries) - _FILES),
            "url": lambda entry: content_url("", entry.digest, entry.name),
            "held": held,
            "looked": _look(ask, entries, held, path) if path else None,
            "runs": names,
        },
        figures={"lineage": lambda width: _lineage(found, one, names, width)},
        tables={
            "files": Table(
                columns=["name", "size", "md5", "reference"],
                rows=[[e.name, e.size, e.digest, e.ref] for e in entries],
            )
        },
    )


def named(ask: Ask) -> Redirect:
    """Go to the page of an artifact by the name that runs know it by: ``EXPERIMENT/NAME:v3``."""
    whole, _, alias = ask.params["ref"].partition(":")
    experiment, _, name = whole.rpartition("/")
    found = ask.read(store.collection, experiment, name)
    if found is None:
        raise NotFound(f"there is no artifact {whole!r}", hint="it may have been deleted")
    if not alias:
        return Redirect(to=f"/collections/{found.id}")
    member: Membership | None = ask.read(store.member, found.id, alias)
    if member is None:
        raise NotFound(f"{whole} has no version {alias!r}", hint="it may have been deleted")
    return Redirect(to=f"/collections/{found.id}/{member.version}")


class Held(Struct, frozen=True, kw_only=True):
    """A version of a collection that a run made or used."""

    version: int
    digest: str
    size: int  #: bytes
    files: int


class Beside(Struct, frozen=True, kw_only=True):
    """What several runs have of one collection."""

    collection: Collection
    how: str  #: ``made`` or ``used``
    held: list[list[Held]]  #: in the order of the runs

    @property
    def differs(self) -> bool:
        """Whether the runs have not the same content of it."""
        return len({tuple(one.digest for one in each) for each in self.held}) > 1


def beside(conn: Any, runs: Sequence[str]) -> list[Beside]:
    """Return the collections of which these runs made or used versions, those that differ first."""
    found: dict[tuple[int, str], list[list[Held]]] = {}
    for place, run in enumerate(runs):
        for how, of in (("made", store.made_by), ("used", store.used_by)):
            for one in of(conn, run):
                version = store.memberships(conn, one.id)[:1]
                if one.state != store.COMMITTED or not version:
                    continue
                row = found.setdefault((one.collection_id, how), [[] for _ in runs])
                row[place].append(
                    Held(
                        version=version[0].version,
                        digest=one.digest,
                        size=one.size,
                        files=one.files,
                    )
                )
    rows = [
        Beside(collection=store.collection_of(conn, number), how=how, held=held)
        for (number, how), held in found.items()
    ]
    return sorted(rows, key=lambda row: (not row.differs, row.collection.name, row.how))


def _versions(conn: Any, collection: int) -> list[Version]:
    """Return the versions of a collection, the newest first."""
    aliases: dict[int, list[str]] = {}
    for each in store.aliases(conn, collection):
        aliases.setdefault(each.version, []).append(each.alias)
    return [
        Version(
            number=each.version,
            artifact=store.get(conn, each.artifact_id),
            aliases=aliases.get(each.version, []),
            users=store.users(conn, each.artifact_id),
        )
        for each in store.members(conn, collection)
    ]


def _contents(ask: Ask, of: store.Artifact) -> tuple[list[Entry], dict[str, Content]]:
    """Return the files of a version, and where the bytes are of those that are here."""
    with ask.backend.reading() as conn:
        try:
            found = manifests.entries(Scope(ask.backend.context(conn)), of.id)
        except SetpointError:  # its list is gone or not here yet: the page's rest is of use
            return [], {}
        return found, store_runs.contents(conn, {each.digest for each in found})


def _look(ask: Ask, entries: list[Entry], held: dict[str, Content], path: str) -> previews.Preview:
    entry = next((each for each in entries if each.name == path), None)
    content = held.get(entry.digest) if entry else None
    if entry is None or content is None:
        return previews.looked(ask, path, "", None)
    artifact = Artifact(address=content.address, size=content.size)
    return previews.looked(ask, path, content_url("", entry.digest, path), artifact)


def _laid(text: str | None) -> str:
    try:
        found = json.loads(text or "{}")
    except ValueError:  # as the client wrote it
        return text or ""
    return json.dumps(found, indent=2, ensure_ascii=False) if found else ""


def _lineage(found: Collection, one: Version, names: dict[str, str], width: float) -> str:
    me = f"{found.name} v{one.number}"
    nodes, edges = [Node(key="me", column=1, kind=found.type, name=me, color="accent")], []

    def add(run: str, column: int) -> str:
        key = f"{column}{run}"
        name = names.get(run) or words.short(run)
        nodes.append(Node(key=key, column=column, kind="run", name=name, href=f"/runs/{run}"))
        return key

    if one.artifact.run_id:
        edges.append((add(one.artifact.run_id, 0), "me"))
    edges += [("me", add(run, 2)) for run in one.users[:_PICTURED]]
    return lineage(nodes, edges, title=f"Who made {me}, and who used it", width=width)
