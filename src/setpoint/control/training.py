"""Carrying out a training: from the intent to a registered version, once.

Everything long happens outside of transactions, in steps whose results are named by their
content: a process killed at any point resumes after its last step. The end is one
transaction: the run, the version, its alias and the job's outcome exist together or not.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from setpoint import __version__
from setpoint.artifacts.store import open_store
from setpoint.control import sources, store
from setpoint.control.contracts import contracts_of
from setpoint.control.entities import Applied, Job, JobState
from setpoint.control.gating import Candidate, Judged, judge
from setpoint.control.making import Made, Making, datasets_of
from setpoint.control.project import Project, code_hash, code_of, load
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import from_canonical
from setpoint.core.operations import Context
from setpoint.data.entities import DatasetVersion
from setpoint.data.ingest import ingest
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError, Unavailable
from setpoint.events.store import record
from setpoint.models import service as models
from setpoint.models import store as registry
from setpoint.models.entities import ModelVersion, Stored
from setpoint.pipelines.graph import step
from setpoint.pipelines.local import StepRun, Workshop, run
from setpoint.runs import code, environment
from setpoint.runs import service as runs
from setpoint.runs.handle import Handle
from setpoint.runs.store import runs as run_store
from setpoint.serve import store as serving
from setpoint.serve.entities import Role


def train(home: LocalBackend, job: Job, told: Callable[[StepRun], None] = lambda _: None) -> Job:
    """Do what `job` asks for; return it with its outcome.

    A failure of the user's code or data ends the job as failed, with what to do. What may
    pass by itself (a full disk, a database that is away) is raised, and the job stays open.

    Args:
        home: The store.
        job: A requested training.
        told: Called after each step, for progress.
    """
    with home.engine.begin() as conn:
        applied = store.need(conn, job.model)
        now = store.job(conn, job.id)
        if now.state is not JobState.REQUESTED:
            return now  # another process has done it
        store.began(conn, job)
    try:
        return _train(home, job, applied, told)
    except Unavailable:
        raise
    except SetpointError as error:
        return failed(home, job, error)


def ingest_all(
    home: LocalBackend, project: Project, spec: Spec, job: Job
) -> dict[str, DatasetVersion]:
    """Bring in what every source knows by the time of the job, checked by the contract."""
    contracts = contracts_of(project, spec)
    found = {}
    for name in datasets_of(spec):
        rows = sources.table(project, spec, name, job.requested_at)
        found[name] = ingest(home, name, rows, job.requested_at, contracts.get(name))
    return found


def _train(home: LocalBackend, job: Job, applied: Applied, told: Callable[[StepRun], None]) -> Job:
    objects = open_store(home.settings)
    spec = from_canonical(objects.get(job.spec))
    project = load(Path(applied.file))
    versions = ingest_all(home, project, spec, job)
    numbers = {name: version.number for name, version in versions.items()}
    started = runs.Start(
        experiment=job.model,
        id=job.id.replace("job_", "run_"),
        params={"why": job.why, "seed": spec.train.seed, "spec": applied.hash},
        inputs=numbers,
        code=code.capture(project.folder, objects),
        environment=environment.capture(objects),
    )
    run_id = home.call(runs.start, started).id
    with Handle(home, objects, run_id) as handle:
        making = Making(home.settings, project, spec, known_by=job.requested_at, run=handle)
        version = _live(home, job.model)
        identity = f"{__version__} {code_hash(project, code_of(spec))} {job.spec}"

        def judged(
            table: pl.DataFrame,
            fitted: Stored,
            baseline: Stored | None,
            scores: NDArray[np.float64],
        ) -> Judged:
            new = Candidate(fitted=fitted, scores=scores, baseline=baseline, live=version)
            return judge(making, project, spec, objects, table, new)

        steps = [
            step(making.table, code=identity),
            step(making.fitted, code=identity),
            step(making.baseline, code=identity),
            step(making.scores, code=identity),
            step(making.made, code=identity),
            step(judged, code=f"{identity} {version and version.number}"),
        ]
        workshop = Workshop(engine=home.engine, objects=objects, clock=home.clock)
        deltas = {name: version.delta_version for name, version in versions.items()}
        results = run(steps, {"datasets": numbers, "deltas": deltas}, workshop, told=told)
        outcome: Judged = results["judged"]
        for name, value in outcome.metrics.items():
            handle.metric(name, value)
    fallback = results["baseline"] if spec.serve.fallback.use == "baseline" else None
    return _register(home, job, run_id, numbers, results["made"], outcome, fallback)


def _register(
    home: LocalBackend,
    job: Job,
    run_id: str,
    numbers: dict[str, int],
    made: Made,
    judged: Judged,
    fallback: Stored | None,
) -> Job:
    stored = made.stored
    command = models.Register(
        model=job.model,
        run_id=run_id,
        why=job.why,
        flavor=stored.flavor,
        artifact=stored.artifact,
        signature=stored.signature,
        onnx=stored.onnx,
        parity=stored.parity,
        metrics=judged.metrics,
        gate=judged.gate,
        reference=made.reference,
        rows=made.rows,
        background=stored.background,
        spec=job.spec,
        datasets=numbers,
        size=stored.size,
        baseline=fallback,
    )
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        version = models.register(ctx, command)
        runs.finish(ctx, runs.Finish(run=run_id))
        state, said = _outcome(version)
        done = replace(job, state=state, finished_at=ctx.now, version=version.number, outcome=said)
        if _finish(ctx, done) and state is JobState.REGISTERED:
            models.set_alias(ctx, job.model, "candidate", version.number, job.why)
    return done


def _outcome(version: ModelVersion) -> tuple[JobState, str]:
    if version.may_serve:
        return JobState.REGISTERED, f"version {version.number} passed its gate"
    failing = version.gate.failing if version.gate else []
    said = "; ".join(f"{check.name}: {check.detail}" for check in failing[:3])
    return JobState.REFUSED, f"the gate refused version {version.number}: {said}"


def failed(home: LocalBackend, job: Job, error: SetpointError) -> Job:
    """End a training, and its run if it began one, as failed with `error` as the reason."""
    said = error.message + (f" ({error.where})" if error.where else "")
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        run_id = job.id.replace("job_", "run_")
        done = replace(job, state=JobState.FAILED, finished_at=ctx.now, outcome=said)
        if _finish(ctx, done) and run_store.find(conn, run_id) is not None:
            runs.finish(ctx, runs.Finish(run=run_id, error=str(error)))
    return done


def _finish(ctx: Context, job: Job) -> bool:
    """End the job; False where another process already had."""
    ended = store.finish(ctx.conn, job)
    if ended:
        record(
            ctx,
            f"training.{job.state}",
            f"model:{job.model}",
            job=job.id,
            version=job.version,
            outcome=job.outcome,
        )
    return ended


def _live(home: LocalBackend, model: str) -> ModelVersion | None:
    with home.reading() as conn:
        deployed = serving.deployments(conn, model)
        for one in deployed:
            if one.role is Role.LIVE:
                return registry.get(conn, model, one.version)
    return None
