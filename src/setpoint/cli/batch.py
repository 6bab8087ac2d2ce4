"""``setpoint batch``: a table in, its scores out, as if every row had been asked for."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.control import store as specs
from setpoint.control.featuring import features_of
from setpoint.control.inforce import spec_of
from setpoint.core.ids import new_id
from setpoint.data import place, tables_delta
from setpoint.data.service import ShowDataset, show
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound
from setpoint.packaging.versions import version_of
from setpoint.serve.batch import run
from setpoint.serve.batch.entities import Asked, Plan, Scored, Source
from setpoint.serve.batch.scoring import chunk_rows, loaded, made
from setpoint.serve.batch.source import Features, Table, clash, columns_of, dataset_at, files_at
from setpoint.serve.batch.work import Work, decide
from setpoint.serve.endpoints import Endpoint


@click.command(
    epilog="Examples: setpoint batch churn customers.parquet    setpoint batch churn:3 "
    "customers.csv -o scores.parquet --id customer_id    setpoint batch churn@candidate "
    "customers:12 --no-log",
    short_help="Score a table with a version of a model.",
)
@home_option
@json_option
@click.argument("model", metavar="MODEL[@ALIAS|:NUMBER]")
@click.argument("table", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A .parquet file, or a folder of them. Default: NAME.scores.parquet.",
)
@click.option("--id", "id_", metavar="COLUMN", help="Kept beside the scores. Default: the entity.")
@click.option(
    "--prediction-id", metavar="COLUMN", help="Ids that labels will come by. Default: made."
)
@click.option("--keep-columns", is_flag=True, help="Keep all columns of the input.")
@click.option(
    "--features", is_flag=True, help="Have the project in this folder make the inputs of the rows."
)
@click.option("--no-log", is_flag=True, help="Leave the prediction log and monitoring out.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes."
)
@click.option("--chunk", type=click.IntRange(1, 1_000_000), help="Rows scored at once.")
@click.option("--overwrite", is_flag=True, help="Replace what is at the output.")
def batch(
    *,
    home: str | None,
    as_json: bool,
    model: str,
    table: str,
    output: Path | None,
    id_: str | None,
    prediction_id: str | None,
    keep_columns: bool,
    features: bool,
    no_log: bool,
    workers: int,
    chunk: int | None,
    overwrite: bool,
) -> None:
    """Score the rows of INPUT: a Parquet or CSV file, a folder of Parquet, or a dataset.

    Rows are scored, guarded and logged as if they had been asked for one by one. MODEL alone is
    its live version; the version stays the same for all rows. Killed, run it again: it goes on
    where it was, and no row is scored or logged twice.
    """
    began = time.monotonic()
    store = backend(home)
    source = _source(store, table)
    asked = Asked(
        model=model,
        source=source,
        id=id_ or _entity(store, model, source),
        prediction_id=prediction_id,
        keep=keep_columns,
        log=not no_log,
        chunk=chunk,
        features=str(Path.cwd()) if features else "",
    )
    work = Work(output or Path(f"{_name(table)}.scores.parquet"))
    with work.held() as lock:
        plan, done = decide(work, asked, store.settings.log, overwrite=overwrite)
        if plan is not None and done:
            rows = 0
            work.clear()
        else:
            plan, rows = _score(store, work, plan, asked, workers=workers, lock=lock)
    if plan.asked.log:
        run.hand_over(store.settings.log)
    scored = Scored(
        id=plan.id,
        model=plan.model,
        version=plan.version,
        rows=plan.rows,
        output=str(work.output),
        logged=plan.asked.log,
        rows_now=rows,
        seconds=round(time.monotonic() - began, 3),
    )
    say(_said(scored), scored, as_json=as_json)


def _score(
    store: LocalBackend, work: Work, plan: Plan | None, asked: Asked, *, workers: int, lock: int
) -> tuple[Plan, int]:
    """Begin a batch or go on with one; return it, and how many rows were scored now."""
    settings = store.settings
    if asked.log:
        with store.reading() as conn:
            place.require(conn, settings)
    if plan is None:
        version = version_of(store, asked.model)
        if not version.trained_here:
            raise Invalid(f"version {version.number} of {version.model!r} was not trained here")
        which = version.model, version.number
    else:
        which = plan.model, plan.version
    endpoint = loaded(settings, *which)
    features, now = None, store.clock.now() if plan is None else plan.begun_at
    if asked.features:
        features = features_of(asked.features, endpoint.model, now)
    if plan is None:
        plan = _plan(asked, endpoint, features, now)
        work.begin(plan)
    numbers = run.missing(settings, work, plan)
    rows = sum(map(plan.size, numbers))
    with _progress(plan, plan.rows - rows) as told:
        if workers == 1 or len(numbers) < 2:
            run.score(settings, work, plan, endpoint, numbers, told, features=features)
        else:
            run.score_by(settings, work, numbers, told, workers=workers, lock=lock)
    run.finish(work, plan)
    return plan, rows


def _plan(asked: Asked, endpoint: Endpoint, features: Features | None, now: datetime) -> Plan:
    table = Table(asked, endpoint.inputs, features)
    if asked.keep:
        clash(list(table.schema), made(endpoint))
    elif asked.id is not None:
        clash([asked.id], made(endpoint))
    return Plan(
        id=new_id("bat", now),
        asked=asked,
        model=endpoint.model,
        version=endpoint.live.version,
        rows=table.count(),
        chunk=asked.chunk or chunk_rows(endpoint.inputs),
        begun_at=now,
    )


def _source(store: LocalBackend, said: str) -> Source:
    """Return the input: what is a file or a folder, else a dataset of the store."""
    path = Path(said)
    if path.exists() or path.suffix or "/" in said:
        return files_at(said)
    name, _, which = said.partition(":")
    if which and not which.isdecimal():
        raise Invalid(f"{which!r} is no version of a dataset", hint=f"such as {name}:3")
    try:
        found = store.call(show, ShowDataset(dataset=name, number=int(which) if which else None))
    except NotFound as error:
        if which:
            raise
        raise NotFound(f"there is no file or dataset {said!r}", hint=error.hint) from None
    version = found.version
    uris = tables_delta.files(store.settings, version.dataset, version.delta_version)
    return dataset_at(said, version.dataset, version.number, uris)


def _entity(store: LocalBackend, said: str, source: Source) -> str | None:
    """Return the column that identifies rows by the model's spec, if the input has it."""
    model = re.split("[@:]", said)[0]
    with store.reading() as conn:
        applied = specs.applied(conn, model)
    entity = None if applied is None else spec_of(applied).data.entity
    return entity if entity in columns_of(source) else None


def _name(said: str) -> str:
    return Path(said).stem.replace(":", "-") or "batch"


@contextmanager
def _progress(plan: Plan, done: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _rows: None
        return
    columns = (
        TextColumn(f"{plan.model} version {plan.version}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    began, scored = time.monotonic(), 0
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=plan.rows, completed=done, speed="")

        def told(rows: int) -> None:
            nonlocal scored
            scored += rows
            speed = scored / max(time.monotonic() - began, 1e-9)
            shown.update(task, advance=rows, speed=f"{speed:,.0f} rows/s")

        yield told


def _said(scored: Scored) -> str:
    which = f"by {scored.model} version {scored.version}"
    if not scored.rows_now and scored.rows:
        return f"{scored.rows:,} rows were scored {which} before: {scored.output}"
    speed = scored.rows_now / max(scored.seconds, 1e-9)
    before = scored.rows - scored.rows_now
    lines = [
        f"{scored.rows:,} rows scored {which}: {scored.output}",
        f"{scored.rows_now:,} rows in {scored.seconds:.1f} s, {speed:,.0f} rows/s"
        + (f"; {before:,} were done before" if before else ""),
        f"predictions {scored.id}.0 and on, "
        + ("in the prediction log" if scored.logged else "not logged"),
    ]
    return "\n".join(lines)
