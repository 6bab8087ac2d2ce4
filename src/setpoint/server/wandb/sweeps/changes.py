"""What the client changes about sweeps, and what it is told to run."""

import secrets
import string
from datetime import timedelta
from typing import Any

import numpy as np

from setpoint.core.ids import new_id
from setpoint.core.operations import Context
from setpoint.errors import Conflict, Invalid
from setpoint.events.store import record
from setpoint.runs import service
from setpoint.runs.columns import arrays, curve
from setpoint.runs.commands import CreateExperiment, History
from setpoint.runs.entities import Status
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.matching import matches
from setpoint.server.wandb.projects import ProjectNode, document
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import dumps
from setpoint.server.wandb.runs.store import Known
from setpoint.server.wandb.scope import Scope, experiment_of, from_id
from setpoint.server.wandb.sweeps import store, tuning
from setpoint.server.wandb.sweeps.nodes import AgentNode, SweepNode, key_of, read
from setpoint.server.wandb.sweeps.space import at, dimensions, grid_size, nth, parameters

Fields = dict[str, Any]

_LETTERS = string.ascii_lowercase + string.digits
_ALPHANUMERIC = 8  #: letters of an id

#: A run that was handed out and of which nothing was heard for so long is handed out again.
_LOST = timedelta(minutes=1)
_TWICE = 2

_STATES = (store.PENDING, store.RUNNING, store.PAUSED, store.FINISHED, store.CANCELED)


def upsert(scope: Scope, fields: Fields) -> Fields:
    """Make a sweep, or change one that is there."""
    if fields.get("id"):
        known = store.find(scope.conn, key_of(fields["id"]))
        if known is not None:
            return _changed(scope, known, fields)
    return _made(scope, fields)


def _made(scope: Scope, fields: Fields) -> Fields:
    config = fields.get("config")
    if not config:
        raise Invalid("a sweep needs a config")
    settings = read(config)
    experiment = experiment_of(fields.get("entity_name"), fields.get("project_name"))
    if ProjectNode.of(scope, experiment) is None:
        service.create_experiment(scope.ctx, CreateExperiment(name=experiment))
    sweep = store.Sweep(
        id=_name(),
        experiment=experiment,
        config=config,
        state=fields.get("state") or store.PENDING,
        created_at=scope.ctx.now,
        updated_at=scope.ctx.now,
        display_name=fields.get("display_name") or settings.get("name"),
        description=fields.get("description") or settings.get("description"),
        fields=_fields(fields),
    )
    store.add(scope.conn, sweep)
    if fields.get("prior_runs_filters"):
        _adopt(scope, sweep, fields["prior_runs_filters"])
    record(scope.ctx, "sweep.created", f"sweep:{sweep.id}", experiment=experiment)
    return {"sweep": SweepNode(scope, sweep), "config_validation_warnings": _warnings(settings)}


def _changed(scope: Scope, known: store.Sweep, fields: Fields) -> Fields:
    values: Fields = {"updated_at": scope.ctx.now}
    for name in ("config", "display_name", "description"):
        if fields.get(name) is not None:
            values[name] = fields[name]
    state = fields.get("state")
    if state is not None and state.upper() not in _STATES:
        raise Invalid(f"a sweep cannot be {state}", hint=f"it can be {', '.join(_STATES)}")
    if told := _fields(fields):
        values["fields"] = known.fields | told
    sweep = store.change(scope.conn, known.id, **values)
    if state is not None:
        sweep = become(scope.ctx, sweep, state.upper())
    warnings = _warnings(read(sweep.config)) if "config" in values else []
    return {"sweep": SweepNode(scope, sweep), "config_validation_warnings": warnings}


def become(ctx: Context, sweep: store.Sweep, state: str) -> store.Sweep:
    """Let a sweep be in a state; agents find out when they next ask for work."""
    if sweep.state == state:
        return sweep
    record(ctx, "sweep.changed", f"sweep:{sweep.id}", state=state, was=sweep.state)
    return store.change(ctx.conn, sweep.id, state=state, updated_at=ctx.now)


def _fields(fields: Fields) -> dict[str, str]:
    """Return what is kept of a sweep for the client alone."""
    names = ("controller", "scheduler", "launch_scheduler")
    found = {name: fields.get(name) for name in names}
    return {name: dumps(told.value) for name, told in found.items() if isinstance(told, Parsed)}


def _warnings(settings: Fields) -> list[str]:
    """Return what is wrong with a config: such a sweep is kept, but asks for no run."""
    method = settings.get("method")
    if method not in tuning.METHODS:
        return [f"method is {method!r}; runs are chosen for {', '.join(tuning.METHODS)} only"]
    found = []
    for check in (_check_space, tuning.goal, tuning.hyperband):
        try:
            check(settings)
        except Invalid as error:
            found.append(f"{error.message}. {error.hint}".rstrip(". "))
    return found


def _check_space(settings: Fields) -> None:
    space = parameters(settings)
    if settings["method"] == "grid":
        grid_size(space)


def _adopt(scope: Scope, sweep: store.Sweep, filters: Parsed) -> None:
    """Make runs that are there runs of a sweep."""
    project = ProjectNode.of(scope, sweep.experiment)
    for edge in project.runs(first=1_000).edges if project else ():
        if matches(filters.value, document(edge.node)):
            known = changing_runs.kept(scope, changing_runs.known_of(scope, edge.node.id))
            store_runs.change(scope.conn, known.run_id, sweep=sweep.id)


def create_agent(scope: Scope, fields: Fields) -> Fields:
    """Take on an agent."""
    sweep = store.get(scope.conn, key_of(fields["sweep"]))
    agent = store.Agent(
        id=new_id("agent", scope.ctx.now),
        sweep=sweep.id,
        host=fields["host"],
        state="RUNNING",
        created_at=scope.ctx.now,
        heartbeat_at=scope.ctx.now,
    )
    store.add_agent(scope.conn, agent)
    return {"agent": AgentNode(scope, agent)}


def enqueue(scope: Scope, fields: Fields) -> Fields:
    """Ask for a run with arguments that somebody chose."""
    sweep = store.get(scope.conn, key_of(fields["id"]), lock=True)
    if sweep.state in {store.FINISHED, store.CANCELED}:
        raise Conflict(f"the sweep is {sweep.state.lower()}: it asks for no more runs")
    config = fields["config"].value
    args = {k: v["value"] if isinstance(v, dict) and "value" in v else v for k, v in config.items()}
    trials = store.trials(scope.conn, sweep.id)
    trial = _trial(scope, sweep, len(trials), args, None, fields.get("display_name"))
    return {"id": trial.name, "run_queue_item_id": None}


# What an agent is told


def heartbeat(scope: Scope, fields: Fields) -> Fields:
    """Hear what an agent runs; tell it what to run, or to stop."""
    agent = store.agent(scope.conn, from_id("Agent", fields["id"]))
    running = set(fields["run_state"].value or ()) if fields.get("run_state") else set()
    sweep = store.get(scope.conn, agent.sweep, lock=True)
    desk = Desk(scope, sweep, agent, running)
    commands = desk.commands()
    leaves = any(command["type"] == "exit" for command in commands)
    state = "FINISHED" if leaves else "RUNNING"
    store.change_agent(scope.conn, agent.id, heartbeat_at=scope.ctx.now, state=state)
    return {"agent": AgentNode(scope, agent), "commands": dumps(commands)}


class Desk:
    """Where one agent asks what to do next."""

    def __init__(
        self, scope: Scope, sweep: store.Sweep, agent: store.Agent, running: set[str]
    ) -> None:
        self.scope = scope
        self.sweep = sweep
        self.agent = agent
        self.running = running
        self.settings = read(sweep.config)
        self.trials = store.trials(scope.conn, sweep.id)
        known = store_runs.of_sweep(scope.conn, sweep.id)
        self.runs = {one.name: one for one in known}

    def commands(self) -> list[Fields]:
        """Return what the agent is to do; it takes one thing at a time."""
        if self.sweep.state == store.CANCELED:
            return [{"type": "exit"}]
        if self.sweep.state == store.PAUSED:
            return []
        if self.sweep.state == store.FINISHED:
            return [] if self.running else [{"type": "exit"}]
        stopped = self._stopped()
        if stopped or self.running:
            return stopped
        trial = self._lost() or self._queued() or self._next()
        if trial is None:
            return self._done()
        if self.sweep.state == store.PENDING:
            become(self.scope.ctx, self.sweep, store.RUNNING)
        return [self._handed(trial)]

    def _handed(self, trial: store.Trial) -> Fields:
        handed = {"agent": self.agent.id, "handed": trial.handed + 1}
        store.change_trial(self.scope.conn, trial, **handed)
        return {
            "type": "run",
            "run_id": trial.name,
            "program": self.settings.get("program"),
            "args": {name: {"value": value} for name, value in trial.args.items()},
        }

    def _done(self) -> list[Fields]:
        """Return what an agent does for whom nothing is left: wait for the others, or leave."""
        if any(self._goes_on(known) for known in self.runs.values()):
            return []
        become(self.scope.ctx, self.sweep, store.FINISHED)
        return [{"type": "exit"}]

    def _goes_on(self, known: Known) -> bool:
        return changing_runs.node(self.scope, known.run_id).running

    # Which run

    def _lost(self) -> store.Trial | None:
        """Return a run that was handed out and never began, as when an answer was lost."""
        for trial in self.trials:
            waited = self.scope.ctx.now - trial.created_at > _LOST
            once = 0 < trial.handed < _TWICE
            if once and waited and trial.name not in self.runs:
                return trial
        return None

    def _queued(self) -> store.Trial | None:
        return next((trial for trial in self.trials if not trial.handed), None)

    def _next(self) -> store.Trial | None:
        """Choose a run; None where none is left."""
        cap, method = self.settings.get("run_cap"), self.settings.get("method")
        if isinstance(cap, int) and len(self.trials) >= cap:
            return None
        if method not in tuning.METHODS:
            return None
        number, space = len(self.trials), parameters(self.settings)
        if method == "grid":
            drawn = sum(trial.point is not None for trial in self.trials)
            if drawn >= grid_size(space):
                return None
            return _trial(self.scope, self.sweep, number, nth(space, drawn), [])
        rng = np.random.default_rng([*self.sweep.id.encode(), number])
        tried = self._tried(dimensions(space)) if method == "bayes" else []
        point = tuning.bayes(space, tried, rng) if method == "bayes" else tuning.random(space, rng)
        return _trial(self.scope, self.sweep, number, at(space, point), list(point))

    def _tried(self, width: int) -> list[tuning.Trial]:
        """Return the points that were drawn so far, with their losses."""
        wanted = tuning.goal(self.settings)
        found = []
        for trial in self.trials:
            if wanted is None or trial.point is None or len(trial.point) != width:
                continue
            known = self.runs.get(trial.name)
            loss = self._loss(known, wanted) if known else None
            found.append(tuning.Trial(tuple(trial.point), loss))
        return found

    def _loss(self, known: Known, wanted: tuning.Goal) -> float | None:
        run = changing_runs.node(self.scope, known.run_id)
        if run.run.status in {Status.RUNNING, Status.SCHEDULED} and run.state != "crashed":
            return None
        return wanted.loss(document(run)["summary_metrics"].get(wanted.metric))

    # Which run to stop

    def _stopped(self) -> list[Fields]:
        """Return the order to stop one of the agent's runs, if the sweep or a person wants it."""
        mine = [name for name in self.running if name in self.runs]
        wanted = [name for name in mine if self.runs[name].stop]
        rule = tuning.hyperband(self.settings)
        if not wanted and mine and rule is not None:
            wanted = tuning.stopped(rule, self._curves(), mine)
        for name in sorted(wanted)[:1]:
            for trial in self.trials:
                if trial.name == name:
                    store.change_trial(self.scope.conn, trial, told_to_stop=True)
            return [{"type": "stop", "run_id": name}]
        return []

    def _curves(self) -> dict[str, list[float]]:
        wanted = tuning.goal(self.settings)
        if wanted is None:
            return {}
        found = {}
        for name, known in self.runs.items():
            cmd = History(run=known.run_id, metric=wanted.metric)
            values = curve(arrays(service.history(self.scope.ctx, cmd))).values.tolist()
            found[name] = [wanted.loss(value) for value in values]
        return found


def _trial(
    scope: Scope,
    sweep: store.Sweep,
    number: int,
    args: Fields,
    point: list[float] | None,
    display_name: str | None = None,
) -> store.Trial:
    made = store.Trial(
        sweep=sweep.id,
        number=number,
        name=_name(),
        args=args,
        point=point,
        display_name=display_name,
        created_at=scope.ctx.now,
    )
    store.add_trial(scope.conn, made)
    return made


def _name() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_ALPHANUMERIC))


CHANGES = {
    "upsertSweep": upsert,
    "createAgent": create_agent,
    "agentHeartbeat": heartbeat,
    "enqueueSweepRun": enqueue,
}
