"""What answers the client's documents: the roots, and the ways from type to type."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from graphql import GraphQLSchema

from setpoint.db.local import LocalBackend
from setpoint.server.wandb import projects
from setpoint.server.wandb.artifacts import changes as changing_artifacts
from setpoint.server.wandb.artifacts import collections as changing_collections
from setpoint.server.wandb.artifacts import nodes as artifacts
from setpoint.server.wandb.artifacts import store
from setpoint.server.wandb.artifacts.nodes import ArtifactNode, CollectionNode, MembershipNode
from setpoint.server.wandb.asked import Question
from setpoint.server.wandb.graphql import Answer, answer, build
from setpoint.server.wandb.paging import Connection, cut, everything
from setpoint.server.wandb.people import Entity, Organization, User
from setpoint.server.wandb.projects import ProjectNode
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import sending
from setpoint.server.wandb.runs.nodes import RunNode
from setpoint.server.wandb.scope import Scope, number_in, to_id
from setpoint.server.wandb.sweeps import changes as changing_sweeps
from setpoint.server.wandb.sweeps import nodes as sweeps

#: What newer clients ask for before they use it.
_FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "STRUCTURED_CONSOLE_LOGS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "MARK_RUN_FILES_UPLOADED",
    "SWEEPS_QUERY_FILTERING",
    "FILESTREAM_GZIP",
)

_TESTED = "0.31.0"  #: the newest client that the tests run


class Root:
    """Where every document begins."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @property
    def viewer(self) -> User:
        return User(self.scope)

    @property
    def server_info(self) -> dict[str, Any]:
        features = [{"name": name, "is_enabled": True} for name in _FEATURES]
        return {"features": features, "cli_version_info": {"max_cli_version": _TESTED}}

    def entity(self, name: str | None = None) -> Entity:
        return Entity(self.scope, name) if name else Entity(self.scope)

    def organization(self, name: str | None = None) -> Organization:
        return Organization(self.scope, name) if name else Organization(self.scope)

    def project(self, name: str | None = None, entity_name: str | None = None) -> Any:
        return projects.project(self.scope, name, entity_name)

    model = project

    def models(
        self,
        entity_name: str | None = None,
        after: str | None = None,
        first: int | None = None,
    ) -> Connection:
        return projects.projects(self.scope, entity_name, after, first)

    def users(self, query: str | None = None) -> Connection:
        user = User(self.scope)
        return everything([user] if query in {None, "", user.username} else [])

    def artifact(self, id: str) -> ArtifactNode | None:  # noqa: A002 - the client's name
        return artifacts.artifact(self.scope, number_in("Artifact", id))

    def artifact_collection(self, id: str) -> CollectionNode:  # noqa: A002 - the client's name
        number = number_in("ArtifactCollection", id)
        return CollectionNode(self.scope, store.collection_of(self.scope.conn, number))

    def client_id_mapping(self, client_id: str) -> dict[str, str] | None:
        found = store.by_client_id(self.scope.conn, client_id)
        return {"server_id": to_id("Artifact", found.id)} if found else None


# From type to type


def _project_of_run(run: RunNode) -> ProjectNode | None:
    return ProjectNode.of(run.scope, run.run.experiment)


def _project_of_collection(node: CollectionNode) -> ProjectNode | None:
    return ProjectNode.of(node.scope, node.of.experiment)


def _membership(project: ProjectNode, name: str) -> MembershipNode | None:
    found = artifacts.named(project.scope, project.experiment.name, name)
    return MembershipNode(project.scope, found) if found else None


def _artifact(project: ProjectNode, name: str) -> ArtifactNode | None:
    found = artifacts.named(project.scope, project.experiment.name, name)
    return artifacts.artifact(project.scope, found.artifact_id) if found else None


def _type(project: ProjectNode, name: str) -> artifacts.TypeNode | None:
    found = artifacts.types(project.scope, project.experiment.name)
    return next((one for one in found if one.name == name), None)


def _types(
    project: ProjectNode, after: str | None = None, first: int | None = None, **_: Any
) -> Connection:
    return cut(artifacts.types(project.scope, project.experiment.name), after, first)


def _collection(project: ProjectNode, name: str) -> CollectionNode | None:
    found = store.collection(project.scope.conn, project.experiment.name, name)
    return CollectionNode(project.scope, found) if found else None


def _collections(project: ProjectNode, **arguments: Any) -> Connection:
    return artifacts.collections(project.scope, project.experiment.name, **arguments)


def _made(run: RunNode, after: str | None = None, first: int | None = None) -> Connection:
    return cut(artifacts.made_by(run.scope, run.run.id), after, first)


def _used(run: RunNode, after: str | None = None, first: int | None = None) -> Connection:
    return cut(artifacts.used_by(run.scope, run.run.id), after, first)


def _users(artifact: ArtifactNode) -> Connection:
    ids = store.users(artifact.scope.conn, artifact.of.id)
    found = (changing_runs.there(artifact.scope, run_id) for run_id in ids)
    return everything([run for run in found if run is not None])


def _maker(artifact: ArtifactNode) -> RunNode | User:
    run_id = artifact.of.run_id
    run = changing_runs.there(artifact.scope, run_id) if run_id else None
    return run or User(artifact.scope)


_LINKS: dict[str, Callable[..., Any]] = {
    "Entity.project": lambda entity, name=None: projects.project(entity.scope, name, entity.name),
    "Project.entity": lambda project: Entity(project.scope, project.entity_name),
    "Project.user": lambda project: User(project.scope),
    "Project.artifact": _artifact,
    "Project.artifactType": _type,
    "Project.artifactTypes": _types,
    "Project.artifactCollection": _collection,
    "Project.artifactCollections": _collections,
    "Project.artifactCollectionMembership": _membership,
    "Run.user": lambda run: User(run.scope),
    "Run.project": _project_of_run,
    "Run.outputArtifacts": _made,
    "Run.inputArtifacts": _used,
    "ArtifactSequence.project": _project_of_collection,
    "ArtifactPortfolio.project": _project_of_collection,
    "Artifact.usedBy": _users,
    "Artifact.createdBy": _maker,
    **sweeps.LINKS,
}

_CHANGES: dict[str, Callable[[Scope, dict[str, Any]], Any]] = {
    **projects.CHANGES,
    **changing_runs.CHANGES,
    **sending.CHANGES,
    **changing_artifacts.CHANGES,
    **changing_collections.CHANGES,
    **changing_sweeps.CHANGES,
}


@cache
def schema() -> GraphQLSchema:
    """Return all that is answered."""
    changes = {f"Mutation.{name}": _changing(change) for name, change in _CHANGES.items()}
    return build(_LINKS | changes)


def _changing(change: Callable[[Scope, dict[str, Any]], Any]) -> Callable[..., Any]:
    return lambda root, input: change(root.scope, input)  # noqa: A006 - GraphQL's name


def ask(backend: LocalBackend, base: str, question: Question) -> Answer:
    """Answer one document, in one transaction."""

    @contextmanager
    def opens(changes: bool) -> Iterator[Root]:  # noqa: FBT001 - the one thing there is to say
        with backend.engine.begin() if changes else backend.reading() as conn:
            yield Root(Scope(ctx=backend.context(conn), base=base))

    return answer(schema(), question, opens)
