"""Artifacts as the client sees them: types, collections, versions, aliases, files."""

import json
from datetime import datetime
from functools import cached_property
from typing import Any

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.server.wandb.artifacts import store
from setpoint.server.wandb.artifacts.manifests import Entry, entries
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.files import RunFile, content_url, hex_of
from setpoint.server.wandb.matching import matches, order_key
from setpoint.server.wandb.paging import Connection, Edge, cut, everything
from setpoint.server.wandb.scope import Scope, to_id

LATEST = "latest"  #: the alias of the newest version


class Tag(Struct, frozen=True):
    id: str
    name: str


def tags_of(names: list[str]) -> list[Tag]:
    """Return tags as nodes."""
    return [Tag(to_id("Tag", name), name) for name in names]


class TypeNode:
    """A type of artifacts in a project: it is there as soon as a collection has it."""

    typename = "ArtifactType"
    description = None

    def __init__(self, scope: Scope, experiment: str, name: str, created_at: datetime) -> None:
        self.scope = scope
        self.experiment = experiment
        self.name = name
        self.created_at = created_at
        self.id = to_id("ArtifactType", f"{experiment}/{name}")

    def artifact_collection(self, name: str) -> "CollectionNode | None":
        found = store.collection(self.scope.conn, self.experiment, name)
        there = found is not None and found.type == self.name
        return CollectionNode(self.scope, found) if found and there else None

    def artifact_collections(
        self,
        after: str | None = None,
        first: int | None = None,
        filters: Parsed | None = None,
        order: str | None = None,
    ) -> Connection:
        found = store.collections(self.scope.conn, self.experiment, self.name)
        return _collections(self.scope, found, filters, order, after, first)


class CollectionNode:
    """A sequence of versions, or a portfolio of links."""

    state = "READY"

    def __init__(self, scope: Scope, of: store.Collection) -> None:
        self.scope = scope
        self.of = of
        self.typename = "ArtifactSequence" if of.kind == store.SEQUENCE else "ArtifactPortfolio"
        self.id = to_id("ArtifactCollection", of.id)
        self.name = of.name
        self.description = of.description
        self.created_at = of.created_at
        self.updated_at = of.updated_at

    @property
    def default_artifact_type(self) -> TypeNode:
        return TypeNode(self.scope, self.of.experiment, self.of.type, self.of.created_at)

    @property
    def tags(self) -> Connection:
        return everything(tags_of(self.of.tags))

    @property
    def digest_algorithm(self) -> str | None:
        return self.latest_artifact.digest_algorithm if self.latest_artifact else None

    @property
    def latest_artifact(self) -> "ArtifactNode | None":
        found = store.members(self.scope.conn, self.of.id)[:1]
        return artifact(self.scope, found[0].artifact_id) if found else None

    def aliases(self, after: str | None = None, first: int | None = None) -> Connection:
        found = store.aliases(self.scope.conn, self.of.id)
        return cut([AliasNode(self.scope, alias) for alias in found], after, first)

    def artifacts(
        self,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        filters: Parsed | None = None,
    ) -> Connection:
        """Return the versions, the newest first if no order is asked for."""
        found = [
            ArtifactNode(self.scope, store.get(self.scope.conn, one.artifact_id), one)
            for one in store.members(self.scope.conn, self.of.id)
        ]
        query = filters.value if filters else {}
        kept = [node for node in found if matches(query, node.document)]
        page = cut(_ordered(kept, order), after, first)
        edges = [Edge(e.node, e.cursor, f"v{e.node.version_index}") for e in page.edges]
        return Connection(edges, page.page_info, page.total_count)

    def artifact_membership(self, alias_name: str) -> "MembershipNode | None":
        found = store.member(self.scope.conn, self.of.id, alias_name)
        return MembershipNode(self.scope, found) if found else None

    @property
    def document(self) -> dict[str, Any]:
        """The collection as filters name its parts."""
        return {
            "name": self.name,
            "description": self.description,
            "type": self.of.type,
            "tags": self.of.tags,
            "tag": self.of.tags,
            "createdAt": self.created_at.isoformat(),
            "created_at": self.created_at.isoformat(),
            "updatedAt": self.updated_at.isoformat(),
        }


class AliasNode:
    """A name of a version."""

    typename = "ArtifactAlias"

    def __init__(self, scope: Scope, of: store.Alias) -> None:
        self.scope = scope
        self.of = of
        self.alias = of.alias
        self.id = to_id("ArtifactAlias", f"{of.collection_id}/{of.alias}")

    @property
    def artifact_collection(self) -> CollectionNode:
        return CollectionNode(
            self.scope, store.collection_of(self.scope.conn, self.of.collection_id)
        )


class MembershipNode:
    """An artifact as a version of a collection."""

    typename = "ArtifactCollectionMembership"

    def __init__(self, scope: Scope, of: store.Membership) -> None:
        self.scope = scope
        self.of = of
        self.id = to_id("ArtifactCollectionMembership", f"{of.collection_id}/{of.version}")
        self.version_index = of.version
        self.created_at = of.created_at

    @property
    def aliases(self) -> list[AliasNode]:
        found = store.aliases(self.scope.conn, self.of.collection_id, self.of.version)
        return [AliasNode(self.scope, alias) for alias in found]

    @property
    def artifact_collection(self) -> CollectionNode:
        return CollectionNode(
            self.scope, store.collection_of(self.scope.conn, self.of.collection_id)
        )

    @property
    def artifact(self) -> "ArtifactNode":
        return ArtifactNode(self.scope, store.get(self.scope.conn, self.of.artifact_id))

    def files(
        self,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
    ) -> Connection:
        return self.artifact.files(names, after, first)


class ArtifactNode:
    """One version."""

    typename = "Artifact"
    commit_hash = None

    def __init__(
        self, scope: Scope, of: store.Artifact, member: store.Membership | None = None
    ) -> None:
        self.scope = scope
        self.of = of
        self._member = member
        self.id = to_id("Artifact", of.id)
        self.state = of.state
        self.digest = of.digest
        self.digest_algorithm = of.digest_algorithm
        self.description = of.description
        self.metadata = of.metadata
        self.ttl_duration_seconds = -1 if of.ttl is None else of.ttl  # -1: the default
        self.ttl_is_inherited = of.ttl is None
        self.history_step = of.step
        self.size = of.size
        self.file_count = of.files
        self.created_at = of.created_at
        self.updated_at = of.updated_at

    @cached_property
    def artifact_sequence(self) -> CollectionNode:
        return CollectionNode(
            self.scope, store.collection_of(self.scope.conn, self.of.collection_id)
        )

    @property
    def artifact_type(self) -> TypeNode:
        return self.artifact_sequence.default_artifact_type

    @cached_property
    def _memberships(self) -> list[store.Membership]:
        return store.memberships(self.scope.conn, self.of.id)

    @property
    def version_index(self) -> int | None:
        if self._member is not None:
            return self._member.version
        own = [m for m in self._memberships if m.collection_id == self.of.collection_id]
        return own[0].version if own else None

    def artifact_memberships(self, first: int | None = None) -> Connection:
        return cut([MembershipNode(self.scope, one) for one in self._memberships], None, first)

    @property
    def aliases(self) -> list[AliasNode]:
        nodes = (MembershipNode(self.scope, one) for one in self._memberships)
        return [alias for node in nodes for alias in node.aliases]

    @property
    def tags(self) -> list[Tag]:
        return tags_of(self.of.tags)

    @property
    def document(self) -> dict[str, Any]:
        """The version as filters name its parts."""
        return {
            "state": self.state,
            "digest": self.digest,
            "versionIndex": self.version_index,
            "tags": self.of.tags,
            "tag": self.of.tags,
            "alias": [alias.alias for alias in self.aliases],
            "metadata": json.loads(self.metadata or "{}"),
            "size": self.size,
            "createdAt": self.created_at.isoformat(),
            "created_at": self.created_at.isoformat(),
        }

    # Files

    @property
    def current_manifest(self) -> dict[str, Any] | None:
        found = [m for m in store.manifests(self.scope.conn, self.of.id) if m.md5]
        return manifest_node(self.scope, found[-1]) if found else None

    def files(
        self,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
    ) -> Connection:
        """Return what the manifest lists; the client fetches references where they lie."""
        found = entries(self.scope, self.of.id)
        if names is not None:
            found = [entry for entry in found if entry.name in set(names)]
        return cut([self._file(entry) for entry in found], after, first)

    def files_by_manifest_entries(
        self,
        entries: list[dict[str, Any]] | None = None,
        after: str | None = None,
        first: int | None = None,
        **_: Any,
    ) -> Connection:
        """Return where the files of some entries are, as the client holds them."""
        found = [Entry(one["name"], one["digest"], one.get("size") or 0) for one in entries or ()]
        return cut([self._file(entry) for entry in found], after, first or len(found))

    def _file(self, entry: Entry) -> RunFile:
        return RunFile(
            id=to_id("ArtifactFile", f"{self.of.id}/{entry.name}"),
            name=entry.name,
            direct_url=entry.ref or content_url(self.scope.base, entry.digest, entry.name),
            size_bytes=entry.size,
            md5=entry.digest,
            updated_at=self.updated_at,
            storage_path=None if entry.ref else f"wandb_artifacts/{hex_of(entry.digest)}",
        )


def manifest_node(scope: Scope, manifest: store.Manifest) -> dict[str, Any]:
    """Return a manifest with where its file is sent and fetched."""
    url = f"{scope.base}/artifactsV2/manifests/{manifest.id}"
    file = RunFile(
        id=to_id("ManifestFile", manifest.id),
        name="wandb_manifest.json",
        direct_url=url,
        upload_url=url,
        md5=manifest.md5,
    )
    return {"id": to_id("ArtifactManifest", manifest.id), "digest": manifest.digest, "file": file}


def artifact(scope: Scope, number: int) -> ArtifactNode | None:
    """Return an artifact that is not deleted."""
    found = store.artifact(scope.conn, number)
    gone = found is None or found.state == store.DELETED
    return ArtifactNode(scope, found) if found and not gone else None


def named(scope: Scope, experiment: str, name: str) -> store.Membership | None:
    """Return the version of ``collection:alias``; of no alias: the newest."""
    collection, _, alias = name.partition(":")
    found = store.collection(scope.conn, experiment, collection)
    return store.member(scope.conn, found.id, alias or LATEST) if found else None


def types(scope: Scope, experiment: str) -> list[TypeNode]:
    """Return the types that collections of a project have, the oldest first."""
    first: dict[str, datetime] = {}
    for one in reversed(store.collections(scope.conn, experiment)):
        first.setdefault(one.type, one.created_at)
    return [TypeNode(scope, experiment, name, at) for name, at in first.items()]


def collections(
    scope: Scope,
    experiment: str,
    filters: Parsed | None = None,
    order: str | None = None,
    after: str | None = None,
    first: int | None = None,
) -> Connection:
    """Return the collections of a project."""
    found = store.collections(scope.conn, experiment)
    return _collections(scope, found, filters, order, after, first)


def _collections(
    scope: Scope,
    found: list[store.Collection],
    filters: Parsed | None,
    order: str | None,
    after: str | None,
    first: int | None,
) -> Connection:
    query = filters.value if filters else {}
    nodes = [CollectionNode(scope, one) for one in found]
    kept = [node for node in nodes if matches(query, node.document)]
    return cut(_ordered(kept, order), after, first)


def _ordered(nodes: list[Any], order: str | None) -> list[Any]:
    if not order:
        return nodes
    name = order.lstrip("+-")
    if nodes and name not in nodes[0].document:
        known = ", ".join(nodes[0].document)
        raise Invalid(f"artifacts cannot be sorted by {name!r}", hint=f"by {known}")
    key = order_key(name)
    return sorted(nodes, key=lambda node: key(node.document), reverse=order.startswith("-"))


def made_by(scope: Scope, run_id: str) -> list[ArtifactNode]:
    """Return what a run made."""
    return [ArtifactNode(scope, one) for one in store.made_by(scope.conn, run_id)]


def used_by(scope: Scope, run_id: str) -> list[ArtifactNode]:
    """Return what a run used."""
    return [ArtifactNode(scope, one) for one in store.used_by(scope.conn, run_id)]
