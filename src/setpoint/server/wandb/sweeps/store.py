"""All SQL about sweeps: their agents, and the runs they ask for."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, Table, func, insert, select, update

from setpoint.errors import NotFound
from setpoint.server.wandb.tables import wandb_agents, wandb_runs, wandb_sweeps, wandb_trials

T = TypeVar("T")

PENDING, RUNNING, PAUSED = "PENDING", "RUNNING", "PAUSED"
FINISHED, CANCELED = "FINISHED", "CANCELED"


class Sweep(Struct, frozen=True, kw_only=True):
    """A search for the parameters of runs."""

    id: str
    experiment: str
    config: str  #: YAML
    state: str
    created_at: datetime
    updated_at: datetime
    display_name: str | None = None
    description: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)  #: controller, scheduler


class Agent(Struct, frozen=True, kw_only=True):
    """A process that runs what a sweep asks for."""

    id: str
    sweep: str
    host: str
    state: str
    created_at: datetime
    heartbeat_at: datetime


class Trial(Struct, frozen=True, kw_only=True):
    """A run that a sweep asks for."""

    sweep: str
    number: int
    name: str  #: of the run
    args: dict[str, Any]
    created_at: datetime
    agent: str | None = None  #: that it was handed to
    point: list[float] | None = None  #: of the unit cube
    display_name: str | None = None
    told_to_stop: bool = False
    handed: int = 0  #: how often


def get(conn: Connection, sweep: str, *, lock: bool = False) -> Sweep:
    """Read a sweep; locked, nobody else hands out its runs until the transaction ends.

    Raises:
        NotFound: If there is none of this id.
    """
    found = find(conn, sweep, lock=lock)
    if found is None:
        raise NotFound(f"there is no sweep {sweep!r}")
    return found


def find(conn: Connection, sweep: str, *, lock: bool = False) -> Sweep | None:
    """Read a sweep, if it is there."""
    query = select(wandb_sweeps).where(wandb_sweeps.c.id == sweep)
    rows = conn.execute(query.with_for_update() if lock else query)
    return next((msgspec.convert(row, Sweep, from_attributes=True) for row in rows), None)


def of_experiment(conn: Connection, experiment: str) -> list[Sweep]:
    """Return the sweeps of a project, the newest first."""
    found = _all(conn, wandb_sweeps, Sweep, wandb_sweeps.c.experiment == experiment)
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def every(conn: Connection) -> list[Sweep]:
    """Return the sweeps of all projects, the newest first."""
    found = _all(conn, wandb_sweeps, Sweep)
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def run_counts(conn: Connection) -> dict[str, int]:
    """Return how many runs each sweep has."""
    of = wandb_runs.c.sweep
    query = select(of, func.count()).where(of.is_not(None)).group_by(of)
    return {sweep: int(count) for sweep, count in conn.execute(query)}


def add(conn: Connection, sweep: Sweep) -> None:
    """Insert a sweep."""
    conn.execute(insert(wandb_sweeps).values(msgspec.structs.asdict(sweep)))


def change(conn: Connection, sweep: str, **values: Any) -> Sweep:
    """Write columns of a sweep."""
    conn.execute(update(wandb_sweeps).where(wandb_sweeps.c.id == sweep).values(values))
    return get(conn, sweep)


def agents(conn: Connection, sweep: str) -> list[Agent]:
    """Return the agents of a sweep, oldest first."""
    found = _all(conn, wandb_agents, Agent, wandb_agents.c.sweep == sweep)
    return sorted(found, key=lambda one: (one.created_at, one.id))


def agent(conn: Connection, number: str) -> Agent:
    """Read an agent.

    Raises:
        NotFound: If there is none of this id.
    """
    found = _all(conn, wandb_agents, Agent, wandb_agents.c.id == number)
    if not found:
        raise NotFound(f"there is no agent {number!r}")
    return found[0]


def add_agent(conn: Connection, made: Agent) -> None:
    """Insert an agent."""
    conn.execute(insert(wandb_agents).values(msgspec.structs.asdict(made)))


def change_agent(conn: Connection, number: str, **values: Any) -> None:
    """Write columns of an agent."""
    conn.execute(update(wandb_agents).where(wandb_agents.c.id == number).values(values))


def trials(conn: Connection, sweep: str) -> list[Trial]:
    """Return the runs that a sweep has asked for, by number."""
    found = _all(conn, wandb_trials, Trial, wandb_trials.c.sweep == sweep)
    return sorted(found, key=lambda one: one.number)


def trial(conn: Connection, sweep: str, name: str) -> Trial | None:
    """Read what a sweep asks of a run."""
    t = wandb_trials.c
    return next(iter(_all(conn, wandb_trials, Trial, t.sweep == sweep, t.name == name)), None)


def add_trial(conn: Connection, made: Trial) -> None:
    """Insert a run that a sweep asks for."""
    conn.execute(insert(wandb_trials).values(msgspec.structs.asdict(made)))


def change_trial(conn: Connection, made: Trial, **values: Any) -> None:
    """Write columns of a run that a sweep asks for."""
    t = wandb_trials.c
    where = (t.sweep == made.sweep, t.number == made.number)
    conn.execute(update(wandb_trials).where(*where).values(values))


def _all(conn: Connection, table: Table, kind: type[T], *where: Any) -> list[T]:
    rows = conn.execute(select(table).where(*where))
    return [msgspec.convert(row, kind, from_attributes=True) for row in rows]
