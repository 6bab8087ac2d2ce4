"""What the client changes about collections of artifacts: describe, move, tag, delete."""

from typing import Any

from setpoint.errors import Conflict, NotFound
from setpoint.events.store import record
from setpoint.server.wandb.artifacts import manifests, store
from setpoint.server.wandb.artifacts.nodes import CollectionNode, tags_of
from setpoint.server.wandb.scope import Scope, experiment_of, number_in, project_of

Fields = dict[str, Any]


def _update_collection(scope: Scope, fields: Fields, key: str) -> Fields:
    found = collection(scope, fields[key])
    named = {name: fields.get(name) for name in ("name", "description")}
    values = {name: value for name, value in named.items() if value is not None}
    taken = store.collection(scope.conn, found.experiment, values.get("name") or "")
    if taken is not None and taken.id != found.id:
        raise Conflict(f"there is a collection {taken.name!r} already")
    changed = store.change_collection(scope.conn, found.id, **values, updated_at=scope.ctx.now)
    return {"artifact_collection": CollectionNode(scope, changed)}


def update_sequence(scope: Scope, fields: Fields) -> Fields:
    """Rename or describe an artifact."""
    return _update_collection(scope, fields, "artifact_sequence_id")


def update_portfolio(scope: Scope, fields: Fields) -> Fields:
    """Rename or describe a portfolio."""
    return _update_collection(scope, fields, "artifact_portfolio_id")


def move_sequence(scope: Scope, fields: Fields) -> Fields:
    """Change the type of an artifact."""
    found = collection(scope, fields["artifact_sequence_id"])
    changed = store.change_collection(
        scope.conn,
        found.id,
        type=fields["destination_artifact_type_name"],
        updated_at=scope.ctx.now,
    )
    return {"artifact_collection": CollectionNode(scope, changed)}


def delete_sequence(scope: Scope, fields: Fields) -> Fields:
    """Delete an artifact with all its versions."""
    return _delete_collection(scope, fields["artifact_sequence_id"])


def delete_portfolio(scope: Scope, fields: Fields) -> Fields:
    """Delete a portfolio; what it links to stays."""
    return _delete_collection(scope, fields["artifact_portfolio_id"])


def _delete_collection(scope: Scope, number: str) -> Fields:
    found = collection(scope, number)
    freed = sum(manifests.release(scope, one) for one in store.artifacts_of(scope.conn, found.id))
    store.delete_collection(scope.conn, found.id)
    subject = f"artifact:{found.experiment}/{found.name}"
    record(scope.ctx, "artifact.deleted", subject, bytes=freed)
    node = CollectionNode(scope, found)
    node.state = store.DELETED
    return {"artifact_collection": node}


def add_tags(scope: Scope, fields: Fields) -> Fields:
    """Add tags to a collection."""
    found, names = _tagged(scope, fields)
    changed = sorted({*found.tags, *names})
    store.change_collection(scope.conn, found.id, tags=changed, updated_at=scope.ctx.now)
    return {"tags": tags_of(names)}


def delete_tags(scope: Scope, fields: Fields) -> Fields:
    """Take tags from a collection."""
    found, names = _tagged(scope, fields)
    left = sorted(set(found.tags) - set(names))
    store.change_collection(scope.conn, found.id, tags=left, updated_at=scope.ctx.now)
    return {"success": True}


def _tagged(scope: Scope, fields: Fields) -> tuple[store.Collection, list[str]]:
    experiment = experiment_of(fields["entity_name"], fields["project_name"])
    name = fields["artifact_collection_name"]
    found = store.collection(scope.conn, experiment, name)
    if found is None:
        entity, project = project_of(experiment)
        raise NotFound(f"there is no artifact {entity}/{project}/{name}")
    return found, [tag["tag_name"] for tag in fields["tags"]]


def collection(scope: Scope, text: str) -> store.Collection:
    return store.collection_of(scope.conn, number_in("ArtifactCollection", text))


CHANGES = {
    "updateArtifactSequence": update_sequence,
    "updateArtifactPortfolio": update_portfolio,
    "moveArtifactSequence": move_sequence,
    "deleteArtifactSequence": delete_sequence,
    "deleteArtifactPortfolio": delete_portfolio,
    "createArtifactCollectionTagAssignments": add_tags,
    "deleteArtifactCollectionTagAssignments": delete_tags,
}
