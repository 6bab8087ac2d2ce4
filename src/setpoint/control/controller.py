"""The loop that keeps models on target: observe, decide, act, until there is nothing to do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection

from setpoint.control import starting, store, watching
from setpoint.control.decide import (
    Action,
    GoLive,
    Observed,
    Run,
    StartRelease,
    StepRelease,
    Train,
    decide,
)
from setpoint.control.engine import Engine, in_process
from setpoint.control.entities import Applied, Job, JobState
from setpoint.control.follow import Followed, Follower
from setpoint.control.graphs import following
from setpoint.control.inforce import spec_of
from setpoint.control.keeping import Keeper
from setpoint.control.lease import Lease, LeaseLost
from setpoint.control.observe import observe
from setpoint.control.policies import errors_window
from setpoint.control.watching import Due
from setpoint.core.ids import new_id
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, SetpointError, Unavailable
from setpoint.events import chain
from setpoint.events import store as events
from setpoint.events.store import record
from setpoint.monitor.drift import aligned
from setpoint.monitor.quality import QualityPolicy
from setpoint.monitor.service import close_alarms
from setpoint.pipelines.local import StepRun
from setpoint.releases import service as releases
from setpoint.releases.entities import State
from setpoint.serve import store as serving
from setpoint.serve.client import Inference

_MOST_ACTIONS = 50  #: in one tick and model; more means that deciding goes in circles
_READ_ANEW = 20  #: looks after which everything is read again, changed or not
_LABELS_COME = timedelta(seconds=QualityPolicy(target=0).after)


class Tick(Struct, frozen=True, kw_only=True):
    """What one tick did."""

    followed: Followed
    actions: list[tuple[str, Action]]  #: (model, what was done)


class Controller:
    """Reconciles the models of one store. One at a time works on a store: see `leased`."""

    def __init__(
        self,
        home: LocalBackend,
        *,
        inference: str | None = None,
        told: Callable[[str, StepRun], None] = lambda _model, _step: None,
        engine: Engine = in_process,
    ) -> None:
        """Prepare a controller.

        Args:
            home: The store, with its clock.
            inference: Address of an inference server to tell of changed deployments at
                once; without one it finds out by itself within a fifth of a second.
            told: Called with the model and each step of a training, for progress.
            engine: Where trainings run: in this process (a tick then lasts as long), or
                in one of their own that ticks look after.
        """
        self._home = home
        self._lease = Lease(home)
        self._follower = Follower(home, may=self._lease.check)
        self._keeper = Keeper(home, self._follower, may=self._lease.check)
        self._inference = Inference(inference) if inference else None
        self._told = told
        self._engine = engine
        self._generations: dict[str, int] = {}
        self._judged: dict[str, tuple[tuple[datetime, datetime], datetime]] = {}
        self._seen: dict[str, tuple[int, Observed]] = {}
        self._due: dict[str, tuple[int, Due | None]] = {}
        self._in_force: tuple[int, list[Applied]] = (-1, [])
        self._sealed = -1
        self._composed = -1
        self._head = 0
        self._looks = 0

    def tick(self) -> Tick:
        """Bring in the log, judge the windows that are over, and do what is to be done.

        Ticking again at the same time does nothing: every action changes what the next
        decision observes.

        Raises:
            LeaseLost: If another controller took over; nothing more is done.
            SetpointError: What went wrong with a model first, after all the others had
                their turn. Tick again: it goes on where it was.
        """
        followed = self._follower.follow()
        self._keeper.seal()
        self._look()
        actions: list[tuple[str, Action]] = []
        trouble: SetpointError | None = None
        for applied in self._applied():
            try:
                if self._watch(applied):
                    self._look()
                actions += [(applied.model, action) for action in self._reconcile(applied)]
                self._keeper.expire(applied)
            except LeaseLost:
                raise
            except SetpointError as error:  # one model's must not stop the others
                trouble = trouble or error
        for rest in (self._graphs, self._keeper.runs):
            try:
                rest()
            except LeaseLost:
                raise
            except SetpointError as error:
                trouble = trouble or error
        self._seal()
        if trouble is not None:
            raise trouble
        return Tick(followed=followed, actions=actions)

    def close(self) -> None:
        """Close the connection to the inference server."""
        if self._inference is not None:
            self._inference.close()

    def _look(self) -> None:
        """Note the newest event: every change but a release's evidence records one.

        What was read before it need not be read again, except now and then: on PostgreSQL
        an event may become visible after one with a higher number.
        """
        self._looks += 1
        if self._looks % _READ_ANEW == 0:
            self._forget()
        with self._home.reading() as conn:
            self._head = events.head(conn)

    @contextmanager
    def leased(self, stopping: threading.Event) -> Iterator[bool]:
        """Hold the lease of the store, as `Lease.held`; what was remembered is read anew."""
        with self._lease.held(stopping) as mine:
            self._forget()
            yield mine

    @property
    def lost(self) -> bool:
        """Whether another controller took over: this one does nothing any more."""
        return self._lease.lost

    @contextmanager
    def _acting(self) -> Iterator[Connection]:
        """Begin a transaction that acts, which only the holder of the lease may."""
        with self._home.engine.begin() as conn:
            self._lease.check(conn)
            yield conn

    def _forget(self) -> None:
        self._seen.clear()
        self._due.clear()
        self._in_force = (-1, [])

    def _reconcile(self, applied: Applied) -> list[Action]:
        done: list[Action] = []
        for _ in range(_MOST_ACTIONS):
            seen = self._observe(applied)
            action = decide(seen, self._home.clock.now())
            if action is None:
                return done
            try:
                if not self._act(seen, action):
                    return done  # it goes on: the next tick asks again
                done.append(action)
            except Conflict:
                pass  # somebody was faster: look again
            self._look()
        raise SetpointError(
            f"{applied.model}: {_MOST_ACTIONS} actions in one tick and still no rest",
            hint="this is a defect of Setpoint: report it with the last events",
        )

    def _observe(self, applied: Applied) -> Observed:
        """Observe, or remember what nothing has changed since."""
        known = self._seen.get(applied.model)
        if known is not None and known[0] == self._head and not _running(known[1]):
            return known[1]
        with self._home.reading() as conn:
            seen = observe(self._home.context(conn), applied)
        self._seen[applied.model] = (self._head, seen)
        return seen

    def _graphs(self) -> None:
        """Have graphs follow the models in them, where anything has changed."""
        if self._head == self._composed:
            return
        for model in following.settle(self._home, self._acting):
            self._tell(model)
        self._look()
        self._composed = self._head

    def _act(self, seen: Observed, action: Action) -> bool:
        """Do `action`; return whether it is done."""
        if isinstance(action, Run):
            with self._acting():
                pass  # only the holder of the lease begins one
            job = action.job
            told = partial(self._told, job.model)
            return self._engine(self._home, job, told) is not None
        with self._acting() as conn:
            ctx = self._home.context(conn)
            if isinstance(action, Train):
                request_training(ctx, seen, why=action.why, cause=action.cause)
            elif isinstance(action, GoLive | StartRelease):
                _release(ctx, seen, action)
            else:
                _step(ctx, action)
        self._tell(seen.spec.model)
        return True

    def _tell(self, model: str) -> None:
        """Have the inference server take up changed deployments before anything else."""
        with self._home.reading() as conn:
            generation = serving.generation(conn, model)
        if self._inference is None or self._generations.get(model) == generation:
            return
        try:
            self._inference.sync(model, generation)
        except Unavailable:
            return  # it is away: when it is back it reads the deployments first
        self._generations[model] = generation

    def _watch(self, applied: Applied) -> bool:
        """Judge the windows that are over; return whether there was one."""
        now, spec = self._home.clock.now(), spec_of(applied)
        window = int(spec.watch.window.total_seconds())
        windows = (aligned(now, window), aligned(now - _LABELS_COME, window))
        requests = aligned(now, errors_window(spec)) if spec.guardrails.errors else windows[0]
        before = self._judged.get(applied.model)
        if before == (windows, requests):
            return False  # no window has ended since
        due = self._due_for(applied)
        if due is not None:
            with self._acting() as conn:
                watching.judge(
                    self._home.context(conn),
                    applied,
                    due,
                    self._follower.reference,
                    requests_only=before is not None and before[0] == windows,
                )
        self._judged[applied.model] = (windows, requests)
        return due is not None

    def _due_for(self, applied: Applied) -> Due | None:
        """Return the version to be judged, as it was when the newest event was recorded."""
        known = self._due.get(applied.model)
        if known is None or known[0] != self._head:
            with self._home.reading() as conn:
                known = self._head, watching.due(self._home.context(conn), applied)
            self._due[applied.model] = known
        return known[1]

    def _seal(self) -> None:
        if self._head == self._sealed:
            return
        with self._acting() as conn:
            chain.seal(conn)
        self._sealed = self._head

    def _applied(self) -> list[Applied]:
        if self._in_force[0] != self._head:
            with self._home.reading() as conn:
                self._in_force = (self._head, store.all_applied(conn))
        return self._in_force[1]


def request_training(
    ctx: Context, seen: Observed, *, why: str, cause: str | None = None
) -> Job | None:
    """Record the intent to train, in the caller's transaction; None if one is open.

    It is later than the last one even where the clock stands still, as in a replay.
    """
    now = ctx.now
    if seen.job is not None:
        now = max(now, seen.job.requested_at + timedelta(microseconds=1))
    job = Job(
        id=new_id("job", now),
        model=seen.spec.model,
        why=why,
        cause=cause,
        training=seen.training,
        spec=seen.spec_address,
        state=JobState.REQUESTED,
        requested_at=now,
    )
    if not store.request(ctx.conn, job):
        return None
    record(ctx, "training.requested", f"model:{job.model}", job=job.id, why=why, cause=cause)
    return job


def _release(ctx: Context, seen: Observed, action: GoLive | StartRelease) -> None:
    why = action.why if isinstance(action, StartRelease) else "first version"
    starting.begin(ctx, seen.spec, action.version, why=why)


def _step(ctx: Context, action: StepRelease) -> None:
    after = releases.apply_decision(ctx, action.release, action.decision)
    if after.state is State.PROMOTED:
        reason = f"version {after.version} took over"
        close_alarms(ctx, after.model, reason=reason, version=after.from_version)


def _running(seen: Observed) -> bool:
    return seen.release is not None and seen.release.state is State.RUNNING
