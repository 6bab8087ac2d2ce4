"""Projects as the client sees them: experiments of ours, with their runs."""

import json
from collections.abc import Iterator
from typing import Any

from setpoint.errors import NotFound
from setpoint.runs import service
from setpoint.runs.commands import (
    CreateExperiment,
    FindExperiment,
    SearchExperiments,
    SearchRuns,
    UpdateExperiment,
)
from setpoint.runs.entities import Experiment, Lifecycle, Run
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.matching import matches, order_key
from setpoint.server.wandb.paging import Connection, Edge, PageInfo, cut, everything, position, size
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import SYSTEM
from setpoint.server.wandb.runs.nodes import GROUP, JOB_TYPE, NOTES, RunNode
from setpoint.server.wandb.scope import Scope, experiment_of, project_of, to_id

_BATCH = 500  #: runs read at once
_DESCRIPTION = "mlflow.note.content"  #: the tag that pages and other clients keep notes in

_BY_TIME = {"created_at", "createdAt"}


class ProjectNode:
    """One project."""

    typename = "Project"
    access = "PRIVATE"
    views = "{}"
    is_benchmark = False
    read_only = False

    def __init__(self, scope: Scope, experiment: Experiment) -> None:
        self.scope = scope
        self.experiment = experiment
        self.entity_name, self.name = project_of(experiment.name)
        self.id = to_id("Project", experiment.id)
        self.internal_id = str(experiment.id)
        self.description = experiment.tags.get(_DESCRIPTION)
        self.created_at = experiment.created_at
        self.updated_at = experiment.updated_at

    @classmethod
    def of(cls, scope: Scope, experiment: str) -> "ProjectNode | None":
        """Return the project of an experiment, if it is there."""
        try:
            found = service.find_experiment(scope.ctx, FindExperiment(name=experiment))
        except NotFound:
            return None
        return cls(scope, found) if found.lifecycle is Lifecycle.ACTIVE else None

    def run(self, name: str, desc: str | None = None) -> RunNode | None:  # noqa: ARG002 - the client's
        known = changing_runs.find(self.scope, self.experiment.name, name)
        found = changing_runs.node(self.scope, known.run_id) if known else None
        return found if found and found.run.lifecycle is Lifecycle.ACTIVE else None

    def bucket(
        self,
        name: str,
        missing_ok: bool | None = None,  # noqa: FBT001, ARG002 - the client's argument
    ) -> RunNode | None:
        return self.run(name)

    def runs(
        self,
        filters: Parsed | None = None,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
    ) -> Connection:
        """Return runs that meet a filter, in an order: by time, or by a value of theirs."""
        descends, name = _order(order)
        query = filters.value if filters else {}
        if name not in _BY_TIME:
            return cut(self._sorted(query, name, descends=descends), after, first)
        wanted = size(first)
        edges: list[Edge] = []
        for cursor, run in self._runs(after or "", descends=descends):
            if query and not matches(query, document(run)):
                continue
            if len(edges) == wanted:
                return Connection(edges, PageInfo(edges[-1].cursor, has_next_page=True))
            edges.append(Edge(run, cursor))
        return Connection(edges, PageInfo(edges[-1].cursor if edges else None))

    def run_count(self, filters: Parsed | None = None) -> int:
        query = filters.value if filters else {}
        if not query:
            return store_runs.count(self.scope.conn, self.experiment.id)
        return sum(matches(query, document(run)) for _, run in self._runs())

    def _sorted(self, query: Any, name: str, *, descends: bool) -> list[RunNode]:
        key = order_key(name)
        found = [
            (key(found), run)
            for run, found in ((run, document(run)) for _, run in self._runs())
            if matches(query, found)
        ]
        there = [pair for pair in found if pair[0][0] < 2]
        there.sort(key=lambda pair: pair[0], reverse=descends)
        return [run for _, run in (*there, *(pair for pair in found if pair[0][0] == 2))]

    def _runs(self, after: str = "", *, descends: bool = False) -> Iterator[tuple[str, RunNode]]:
        """Yield cursor and run of every run by its time, those after a cursor.

        A cursor is how many runs of a page of ours lie before the next, and that page's token:
        going on costs no more than beginning.
        """
        skipped, _, token = after.partition(":")
        skip = position(skipped)
        while True:
            cmd = SearchRuns(
                experiment_ids=[self.experiment.id],
                order=[f"attributes.start_time {'DESC' if descends else 'ASC'}"],
                limit=_BATCH,
                token=token,
                latest=True,
            )
            page = service.search(self.scope.ctx, cmd)
            known = store_runs.among(self.scope.conn, [run.id for run in page.runs])
            for number, run in enumerate(page.runs[skip:], skip + 1):
                yield f"{number}:{token}", RunNode(self.scope, run, known.get(run.id))
            if not page.next:
                return
            token, skip = page.next, 0

    def all_views(self, **_: Any) -> Connection:
        """Return no report: they are made and kept elsewhere."""
        return everything([])


def document(run: RunNode) -> dict[str, Any]:
    """Return a run as filters name its parts."""
    config = json.loads(run.config)
    return {
        "name": run.name,
        "display_name": run.display_name,
        "state": run.state,
        "group": run.run.tags.get(GROUP),
        "job_type": run.run.tags.get(JOB_TYPE),
        "notes": run.run.tags.get(NOTES),
        "sweep": run.sweep_name,
        "tags": run.tags,
        "user": run.scope.ctx.actor,
        "created_at": run.created_at.isoformat(),
        "heartbeat_at": run.heartbeat_at.isoformat(),
        "host": run.host,
        "config": {k: _unwrapped(v) for k, v in config.items() if k != "_wandb"},
        "summary_metrics": _metrics(run.run) | json.loads(run.summary_metrics),
    }


def _unwrapped(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _metrics(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.metrics.items() if not name.startswith(SYSTEM)}


def _order(order: str | None) -> tuple[bool, str]:
    """Read an order: a field, after ``-`` if it descends."""
    text = order or "+created_at"
    descends = text.startswith("-")
    return descends, text.removeprefix("-").removeprefix("+")


def project(scope: Scope, name: str | None, entity: str | None) -> ProjectNode | None:
    """Return a project by its names, if it is there."""
    return ProjectNode.of(scope, experiment_of(entity, name))


def projects(scope: Scope, entity: str | None, after: str | None, first: int | None) -> Connection:
    """Return the projects of an entity, the newest first."""
    wanted = entity or project_of("")[0]
    token, found = "", []
    while True:
        page = service.search_experiments(scope.ctx, SearchExperiments(token=token))
        nodes = [ProjectNode(scope, experiment) for experiment in page.experiments]
        found += [node for node in nodes if node.entity_name == wanted]
        if not page.next:
            return cut(found, after, first)
        token = page.next


def upsert_model(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Make a project, or describe the one that is there."""
    name = experiment_of(fields.get("entity_name"), fields.get("name"))
    found = ProjectNode.of(scope, name)
    tags = {_DESCRIPTION: fields["description"]} if fields.get("description") else {}
    if found is None:
        made = service.create_experiment(scope.ctx, CreateExperiment(name=name, tags=tags))
        node = ProjectNode(scope, made)
    else:
        cmd = UpdateExperiment(id=found.experiment.id, tags=tags)
        node = ProjectNode(scope, service.update_experiment(scope.ctx, cmd))
    return {"project": node, "model": node, "inserted": found is None}


CHANGES = {"upsertModel": upsert_model}
