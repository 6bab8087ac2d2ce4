"""Sweeps and their agents as the client sees them."""

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Any

import yaml

from setpoint.errors import Invalid
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.matching import matches
from setpoint.server.wandb.paging import Connection, cut, everything
from setpoint.server.wandb.projects import ProjectNode, document
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.nodes import RunNode
from setpoint.server.wandb.scope import Scope, from_id, to_id
from setpoint.server.wandb.sweeps import store
from setpoint.server.wandb.sweeps.space import grid_size, parameters
from setpoint.server.wandb.sweeps.tuning import goal

#: An agent asks for work each few seconds.
_SILENCE = timedelta(minutes=2)


class SweepNode:
    """One sweep."""

    typename = "Sweep"
    early_stop_job_running = False
    controller_run_name = None

    def __init__(self, scope: Scope, of: store.Sweep) -> None:
        self.scope = scope
        self.of = of
        self.id = to_id("Sweep", of.id)
        self.name = of.id
        self.display_name = of.display_name
        self.description = of.description
        self.config = of.config
        self.state = of.state
        self.created_at = of.created_at
        self.updated_at = self.heartbeat_at = of.updated_at
        self.controller = of.fields.get("controller")
        self.scheduler = of.fields.get("scheduler")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the config, read."""
        return read(self.of.config)

    @property
    def method(self) -> str:
        return str(self.settings.get("method", "custom"))

    @cached_property
    def run_nodes(self) -> list[RunNode]:
        """Return its runs, oldest first."""
        known = store_runs.of_sweep(self.scope.conn, self.of.id)
        return [changing_runs.node(self.scope, one.run_id) for one in known]

    @property
    def run_count(self) -> int:
        return len(store_runs.of_sweep(self.scope.conn, self.of.id))

    @property
    def run_count_expected(self) -> int | None:
        return expected(self.settings)

    @property
    def best_loss(self) -> float | None:
        """Return the best value of its metric; of one to maximize, its negative."""
        wanted = goal(self.settings)
        if wanted is None:
            return None
        losses = [
            wanted.loss(document(run)["summary_metrics"].get(wanted.metric))
            for run in self.run_nodes
        ]
        found = min(losses, default=float("inf"))
        return found if found != float("inf") else None

    def runs(self, after: str | None = None, first: int | None = None) -> Connection:
        return cut(self.run_nodes, after, first or len(self.run_nodes))

    def agent(self, agent_name: str) -> "AgentNode | None":
        wanted = agent_name if agent_name.startswith("agent_") else from_id("Agent", agent_name)
        found = [a for a in store.agents(self.scope.conn, self.of.id) if a.id == wanted]
        return AgentNode(self.scope, found[0]) if found else None

    @property
    def agents(self) -> Connection:
        found = store.agents(self.scope.conn, self.of.id)
        return everything([AgentNode(self.scope, agent) for agent in found])

    @property
    def document(self) -> dict[str, Any]:
        """The sweep as filters name its parts."""
        return {
            "name": self.name,
            "displayName": self.display_name,
            "display_name": self.display_name,
            "state": self.state,
            "method": self.method,
            "description": self.description,
            "created_at": self.created_at.isoformat(),
        }


class AgentNode:
    """One agent."""

    typename = "Agent"

    def __init__(self, scope: Scope, of: store.Agent) -> None:
        self.scope = scope
        self.of = of
        self.id = to_id("Agent", of.id)
        self.name = of.id
        self.host = of.host
        self.created_at = of.created_at
        self.heartbeat_at = of.heartbeat_at

    @property
    def state(self) -> str:
        silent = self.scope.ctx.now - self.of.heartbeat_at > _SILENCE
        return "FINISHED" if silent and self.of.state == "RUNNING" else self.of.state

    @cached_property
    def _runs(self) -> list[RunNode]:
        known = store_runs.of_sweep(self.scope.conn, self.of.sweep)
        mine = [one for one in known if one.agent == self.of.id]
        return [changing_runs.node(self.scope, one.run_id) for one in mine]

    @property
    def total_runs(self) -> int:
        return len(self._runs)

    def runs(
        self,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        **_: Any,
    ) -> Connection:
        found = self._runs[::-1] if (order or "").startswith("-") else self._runs
        return cut(found, after, first)


def expected(settings: dict[str, Any]) -> int | None:
    """Return how many runs a sweep's config asks for; None: as many as agents ask for."""
    if settings.get("method") != "grid":
        cap = settings.get("run_cap")
        return cap if isinstance(cap, int) else None
    try:
        return grid_size(parameters(settings))
    except Invalid:
        return None


def read(config: str) -> dict[str, Any]:
    """Read a sweep's config.

    Raises:
        Invalid: If it is no object in YAML.
    """
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise Invalid(f"the config of the sweep is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("the config of a sweep is an object")
    return found


def key_of(text: str) -> str:
    """Return the id of a sweep from either of the names that the client has for it."""
    try:
        return from_id("Sweep", text)
    except Invalid:
        return text


def _sweep(project: ProjectNode, sweep_name: str) -> SweepNode | None:
    found = store.find(project.scope.conn, key_of(sweep_name))
    there = found is not None and found.experiment == project.experiment.name
    return SweepNode(project.scope, found) if found and there else None


def _sweeps(
    project: ProjectNode,
    after: str | None = None,
    first: int | None = None,
    filters: Parsed | None = None,
) -> Connection:
    found = store.of_experiment(project.scope.conn, project.experiment.name)
    nodes = [SweepNode(project.scope, one) for one in found]
    query = filters.value if filters else {}
    return cut([node for node in nodes if matches(query, node.document)], after, first)


def _count(project: ProjectNode) -> int:
    return len(store.of_experiment(project.scope.conn, project.experiment.name))


def _of_run(run: RunNode) -> SweepNode | None:
    found = store.find(run.scope.conn, run.sweep_name) if run.sweep_name else None
    return SweepNode(run.scope, found) if found else None


def _agent_of_run(run: RunNode) -> AgentNode | None:
    agent = run.known.agent if run.known else None
    return AgentNode(run.scope, store.agent(run.scope.conn, agent)) if agent else None


LINKS: dict[str, Callable[..., Any]] = {
    "Project.sweep": _sweep,
    "Project.sweeps": _sweeps,
    "Project.totalSweeps": _count,
    "Run.sweep": _of_run,
    "Run.agent": _agent_of_run,
    "Sweep.project": lambda sweep: ProjectNode.of(sweep.scope, sweep.of.experiment),
}
