"""What the client changes about artifacts: make, commit, name, link, delete."""

from typing import Any

import msgspec
from msgspec import Struct, field

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import record
from setpoint.runs import service
from setpoint.runs.commands import Log
from setpoint.runs.entities import Link
from setpoint.server.wandb.artifacts import manifests, store
from setpoint.server.wandb.artifacts.collections import collection
from setpoint.server.wandb.artifacts.nodes import (
    LATEST,
    ArtifactNode,
    MembershipNode,
    manifest_node,
)
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.files import RunFile, content_url, hex_of, safe
from setpoint.server.wandb.paging import everything
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import dumps
from setpoint.server.wandb.scope import Scope, experiment_of, number_in

Fields = dict[str, Any]


class Create(Struct, frozen=True, kw_only=True):
    """What `createArtifact` says."""

    entity_name: str
    project_name: str
    digest: str
    artifact_type_name: str
    artifact_collection_name: str | None = None
    artifact_collection_names: list[str] = field(default_factory=list)
    run_name: str | None = None
    client_id: str | None = None
    sequence_client_id: str | None = None
    digest_algorithm: str = "MANIFEST_MD5"
    description: str | None = None
    aliases: list[dict[str, str]] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    metadata: Parsed | None = None
    history_step: int | None = None
    ttl_duration_seconds: int | None = None


def create(scope: Scope, fields: Fields) -> Fields:
    """Begin a version. One with the same contents is found, and named by the aliases asked for."""
    asked = msgspec.convert(fields, Create, strict=False)
    known = store.by_client_id(scope.conn, asked.client_id) if asked.client_id else None
    if known is not None:
        return {"artifact": ArtifactNode(scope, known)}
    run_id = None
    if asked.run_name:
        run_id = changing_runs.one(
            scope, asked.entity_name, asked.project_name, asked.run_name
        ).run_id
    sequence = _sequence(scope, asked)
    wanted = [alias["alias"] for alias in asked.aliases]
    same = store.same(scope.conn, sequence.id, asked.digest)
    if same is not None:
        _name(scope, same, wanted)
        return {"artifact": ArtifactNode(scope, same)}
    made = store.add_artifact(
        scope.conn,
        collection_id=sequence.id,
        state=store.PENDING,
        digest=asked.digest,
        digest_algorithm=asked.digest_algorithm,
        description=asked.description,
        metadata=dumps(asked.metadata.value) if asked.metadata else None,
        tags=[tag["tag_name"] for tag in asked.tags],
        wanted=wanted,
        client_id=asked.client_id,
        run_id=run_id,
        step=asked.history_step,
        ttl=asked.ttl_duration_seconds,
        created_at=scope.ctx.now,
        updated_at=scope.ctx.now,
    )
    return {"artifact": ArtifactNode(scope, made)}


def _sequence(scope: Scope, asked: Create) -> store.Collection:
    experiment = experiment_of(asked.entity_name, asked.project_name)
    names = [asked.artifact_collection_name, *asked.artifact_collection_names]
    name = next((name for name in names if name), None)
    if name is None:
        raise Invalid("an artifact needs the name of its collection")
    found = store.collection(scope.conn, experiment, name)
    if found is None:
        return store.add_collection(
            scope.conn,
            experiment=experiment,
            kind=store.SEQUENCE,
            type=asked.artifact_type_name,
            name=name,
            client_id=asked.sequence_client_id,
            created_at=scope.ctx.now,
            updated_at=scope.ctx.now,
        )
    if found.kind != store.SEQUENCE:
        raise Conflict(f"{name!r} is a portfolio: it takes links", hint="choose another name")
    if found.type != asked.artifact_type_name:
        raise Conflict(
            f"artifact {name!r} has the type {found.type!r}, not {asked.artifact_type_name!r}",
            hint="use that type, or another name",
        )
    return found


def _name(scope: Scope, artifact: store.Artifact, aliases: list[str]) -> None:
    own = store.join(scope.conn, artifact.collection_id, artifact.id, scope.ctx.now)
    newest = store.members(scope.conn, artifact.collection_id)[0]
    names = [name for name in aliases if name != LATEST or newest == own]
    store.point(scope.conn, artifact.collection_id, names, own.version)


# Manifests and files


def create_manifest(scope: Scope, fields: Fields) -> Fields:
    """Begin, or describe, the list of an artifact's files; tell where it is sent."""
    artifact = _pending(scope, fields["artifact_id"])
    base = fields.get("base_artifact_id")
    values = {
        "type": fields.get("type") or "FULL",
        "digest": fields.get("digest"),
        "base_id": _number(base) if base else None,
    }
    found = [m for m in store.manifests(scope.conn, artifact.id) if m.type == values["type"]]
    if found:
        manifest = store.change_manifest(scope.conn, found[0].id, **values)
    else:
        manifest = store.add_manifest(scope.conn, artifact_id=artifact.id, **values)
    return {"artifact_manifest": manifest_node(scope, manifest)}


def update_manifest(scope: Scope, fields: Fields) -> Fields:
    """Describe the list of an artifact's files anew; tell where it is sent."""
    number = number_in("ArtifactManifest", fields["artifact_manifest_id"])
    values: Fields = {}
    if fields.get("digest") is not None:
        values["digest"] = fields["digest"]
    if fields.get("base_artifact_id") is not None:
        values["base_id"] = _number(fields["base_artifact_id"])
    manifest = store.manifest(scope.conn, number)
    if values:
        manifest = store.change_manifest(scope.conn, number, **values)
    return {"artifact_manifest": manifest_node(scope, manifest)}


def create_files(scope: Scope, fields: Fields) -> Fields:
    """Tell where files are sent; those whose contents are here need not be sent."""
    specs = fields["artifact_files"]
    held = store_runs.contents(scope.conn, {spec["md5"] for spec in specs})
    artifacts = {i: _pending(scope, i) for i in {spec["artifact_id"] for spec in specs}}
    files = []
    for spec in specs:
        name, md5 = safe(spec["name"]), spec["md5"]
        url = content_url(scope.base, md5, name)
        files.append(
            RunFile(
                id=f"{spec['artifact_id']}/{name}",
                name=name,
                direct_url=url,
                upload_url=None if md5 in held else url,
                storage_path=f"wandb_artifacts/{hex_of(md5)}",
                artifact=ArtifactNode(scope, artifacts[spec["artifact_id"]]),
            )
        )
    return {"files": everything(files)}


def commit(scope: Scope, fields: Fields) -> Fields:
    """Make an artifact whose files are all here a version, and give it its aliases."""
    artifact = _artifact(scope, fields["artifact_id"])
    if artifact.state == store.COMMITTED:
        return {"artifact": ArtifactNode(scope, artifact)}
    lists = [one for one in store.manifests(scope.conn, artifact.id) if one.md5]
    if not lists:
        raise Conflict("the artifact has no manifest", hint="log it again")
    files = manifests.completed(scope, lists[-1])
    whole = store.change_artifact(
        scope.conn,
        artifact.id,
        state=store.COMMITTED,
        size=sum(file.size for file in files),
        files=len(files),
        updated_at=scope.ctx.now,
    )
    here = [file.digest for file in files if file.ref is None]
    store.put_entries(scope.conn, whole.id, here)
    own = store.join(scope.conn, whole.collection_id, whole.id, scope.ctx.now)
    store.point(scope.conn, whole.collection_id, {LATEST, *whole.wanted}, own.version)
    collection = store.collection_of(scope.conn, whole.collection_id)
    ref = f"{collection.experiment}/{collection.name}:v{own.version}"
    if whole.run_id:
        made = [Link(kind="artifact", ref=ref, step=whole.step or 0)]
        service.log(scope.ctx, Log(run=whole.run_id, outputs=made, late=True))
    record(scope.ctx, "artifact.committed", f"artifact:{ref}", type=collection.type)
    return {"artifact": ArtifactNode(scope, whole)}


# Describing and using


def update(scope: Scope, fields: Fields) -> Fields:
    """Describe a version anew."""
    artifact = _artifact(scope, fields["artifact_id"])
    values: Fields = {"updated_at": scope.ctx.now}
    for name, column in (("description", "description"), ("ttl_duration_seconds", "ttl")):
        if fields.get(name) is not None:
            values[column] = fields[name]
    if fields.get("metadata") is not None:
        values["metadata"] = dumps(fields["metadata"].value)
    added = [tag["tag_name"] for tag in fields.get("tags_to_add") or ()]
    gone = {tag["tag_name"] for tag in fields.get("tags_to_delete") or ()}
    values["tags"] = sorted({*artifact.tags, *added} - gone)
    changed = store.change_artifact(scope.conn, artifact.id, **values)
    if fields.get("aliases") is not None:
        _rename(scope, changed, {alias["alias"] for alias in fields["aliases"]})
    return {"artifact": ArtifactNode(scope, changed)}


def _rename(scope: Scope, artifact: store.Artifact, aliases: set[str]) -> None:
    """Give a version of its sequence these aliases and no other."""
    own = store.join(scope.conn, artifact.collection_id, artifact.id, scope.ctx.now)
    had = {one.alias for one in store.aliases(scope.conn, own.collection_id, own.version)}
    store.unpoint(scope.conn, own.collection_id, had - aliases, own.version)
    store.point(scope.conn, own.collection_id, aliases - had, own.version)


def use(scope: Scope, fields: Fields) -> Fields:
    """Write that a run used an artifact."""
    artifact = _artifact(scope, fields["artifact_id"])
    run = changing_runs.one(
        scope, fields["entity_name"], fields["project_name"], fields["run_name"]
    )
    store.use(scope.conn, artifact.id, run.run_id, fields.get("used_as"), scope.ctx.now)
    node = ArtifactNode(scope, artifact)
    collection = store.collection_of(scope.conn, artifact.collection_id)
    ref = f"{collection.experiment}/{collection.name}:v{node.version_index}"
    used = [Link(kind="artifact", ref=ref)]
    service.log(scope.ctx, Log(run=run.run_id, uses=used, late=True))
    return {"artifact": node}


def delete(scope: Scope, fields: Fields) -> Fields:
    """Delete a version, and free what only it had. With aliases it goes only if that is said."""
    artifact = _artifact(scope, fields["artifact_id"])
    node = ArtifactNode(scope, artifact)
    names = [alias.alias for alias in node.aliases if alias.alias != LATEST]
    if names and not fields.get("delete_aliases"):
        raise Conflict(
            f"the version has the aliases {', '.join(names)}", hint="delete with its aliases"
        )
    gone = store.change_artifact(
        scope.conn, artifact.id, state=store.DELETED, updated_at=scope.ctx.now
    )
    store.leave(scope.conn, artifact.id)
    left = store.members(scope.conn, artifact.collection_id)
    if left:
        store.point(scope.conn, artifact.collection_id, {LATEST}, left[0].version)
    freed = manifests.release(scope, artifact.id)
    record(scope.ctx, "artifact.deleted", f"artifact:{artifact.id}", bytes=freed)
    return {"artifact": ArtifactNode(scope, gone)}


# Aliases and links


def add_aliases(scope: Scope, fields: Fields) -> Fields:
    """Make aliases name a version."""
    for alias, place in _places(scope, fields):
        store.point(scope.conn, place.collection_id, {alias}, place.version)
    return {"success": True}


def delete_aliases(scope: Scope, fields: Fields) -> Fields:
    """Take aliases from a version."""
    for alias, place in _places(scope, fields):
        store.unpoint(scope.conn, place.collection_id, {alias}, place.version)
    return {"success": True}


def _places(scope: Scope, fields: Fields) -> list[tuple[str, store.Membership]]:
    artifact = _artifact(scope, fields["artifact_id"])
    found = {}
    for place in store.memberships(scope.conn, artifact.id):
        found[store.collection_of(scope.conn, place.collection_id).name] = place
    named = []
    for alias in fields["aliases"]:
        name = alias["artifact_collection_name"]
        if name not in found:
            raise NotFound(f"the artifact is in no collection {name!r}")
        named.append((alias["alias"], found[name]))
    return named


def link(scope: Scope, fields: Fields) -> Fields:
    """Make an artifact a version of a portfolio, which is made if it is not there."""
    artifact = _linked(scope, fields)
    sequence = store.collection_of(scope.conn, artifact.collection_id)
    experiment = experiment_of(fields["entity_name"], fields["project_name"])
    name = fields["artifact_portfolio_name"]
    portfolio = store.collection(scope.conn, experiment, name)
    if portfolio is None:
        portfolio = store.add_collection(
            scope.conn,
            experiment=experiment,
            kind=store.PORTFOLIO,
            type=sequence.type,
            name=name,
            created_at=scope.ctx.now,
            updated_at=scope.ctx.now,
        )
    if portfolio.kind != store.PORTFOLIO or portfolio.type != sequence.type:
        raise Conflict(
            f"{name!r} takes no links to artifacts of the type {sequence.type!r}",
            hint="choose another name",
        )
    place = store.join(scope.conn, portfolio.id, artifact.id, scope.ctx.now)
    names = {alias["alias"] for alias in fields.get("aliases") or ()} | {LATEST}
    store.point(scope.conn, portfolio.id, names, place.version)
    return {
        "version_index": place.version,
        "artifact_membership": MembershipNode(scope, place),
    }


def _linked(scope: Scope, fields: Fields) -> store.Artifact:
    if fields.get("artifact_id"):
        return _artifact(scope, fields["artifact_id"])
    found = store.by_client_id(scope.conn, fields.get("client_id") or "")
    if found is None:
        raise NotFound("there is no such artifact")
    return found


def unlink(scope: Scope, fields: Fields) -> Fields:
    """Take an artifact out of a portfolio."""
    artifact = _artifact(scope, fields["artifact_id"])
    portfolio = collection(scope, fields["artifact_portfolio_id"])
    store.leave(scope.conn, artifact.id, portfolio.id)
    return {"success": True}


def _number(text: str) -> int:
    return number_in("Artifact", text)


def _artifact(scope: Scope, text: str) -> store.Artifact:
    return store.get(scope.conn, _number(text))


def _pending(scope: Scope, text: str) -> store.Artifact:
    found = _artifact(scope, text)
    if found.state != store.PENDING:
        raise Conflict("the artifact is whole: it takes no more files", hint="make a new version")
    return found


CHANGES = {
    "createArtifact": create,
    "createArtifactManifest": create_manifest,
    "updateArtifactManifest": update_manifest,
    "createArtifactFiles": create_files,
    "commitArtifact": commit,
    "updateArtifact": update,
    "useArtifact": use,
    "deleteArtifact": delete,
    "addAliases": add_aliases,
    "deleteAliases": delete_aliases,
    "linkArtifact": link,
    "unlinkArtifact": unlink,
}
