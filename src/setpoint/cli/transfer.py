"""``setpoint import`` and ``setpoint export``: runs and models from and for other systems."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from setpoint.artifacts.store import open_store
from setpoint.cli.console import backend, home_option, json_option, say, table
from setpoint.cli.exporting import version
from setpoint.runs.entities import Artifact
from setpoint.transfer.entities import Left, Report, Sent, Told
from setpoint.transfer.exporter import Target, send
from setpoint.transfer.importer import bring
from setpoint.transfer.mlflow import Login
from setpoint.transfer.sources import KINDS, open_source

_SHOWN = 20

F = TypeVar("F", bound=Callable[..., Any])


def _login(command: F) -> F:
    """Add whom a server is told that asks."""
    for name, variable, text in (
        ("password", "MLFLOW_TRACKING_PASSWORD", "Password for the server."),
        ("user", "MLFLOW_TRACKING_USERNAME", "User for the server."),
        ("token", "MLFLOW_TRACKING_TOKEN", "Token for the server."),
    ):
        command = click.option(f"--{name}", envvar=variable, default="", help=text)(command)
    return command


@click.command(
    "import",
    epilog="Examples: setpoint import mlflow http://127.0.0.1:5000    "
    "setpoint import wandb ./wandb    setpoint import tensorboard ./logs",
)
@home_option
@json_option
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("where", metavar="PATH_OR_URL")
@click.option("--experiment", help="Put all runs there instead of where they were.")
@click.option("--python", default=sys.executable, help="The interpreter that has Aim's package.")
@_login
def import_(
    *,
    home: str | None,
    as_json: bool,
    kind: str,
    where: str,
    experiment: str | None,
    python: str,
    token: str,
    user: str,
    password: str,
) -> None:
    """Bring the runs of another system here: history, params, tags, files; its models, too.

    Can be stopped and started again at any time: what is here is not brought twice.
    """
    ours = backend(home)
    login = Login(token=token, user=user, password=password)
    source = open_source(kind, where, login=login, python=python)
    store = open_store(ours.settings)
    with _progress("importing") as told:
        report = bring(ours, store, source, experiment=experiment, told=told)
    say(_brought(report), report, as_json=as_json)


@click.group()
def export() -> None:
    """Write runs and models for other systems."""


@export.command(
    "runs",
    epilog="Examples: setpoint export runs --to parquet ./runs    "
    "setpoint export runs --to mlflow http://127.0.0.1:5000 --experiment late",
)
@home_option
@json_option
@click.option("--to", "kind", type=click.Choice(["mlflow", "parquet"]), required=True)
@click.argument("where", metavar="FOLDER_OR_URL")
@click.option("--experiment", "experiments", multiple=True, help="Only its runs; may be repeated.")
@click.option("--filter", "text", default="", help="Only runs of this search.")
@_login
def runs(
    *,
    home: str | None,
    as_json: bool,
    kind: str,
    where: str,
    experiments: tuple[str, ...],
    text: str,
    token: str,
    user: str,
    password: str,
) -> None:
    """Write runs to a server that speaks MLflow's REST, or as Parquet files.

    Can be stopped and started again at any time: a run that is there, whole, is left alone.
    """
    ours = backend(home)
    target = _target(kind, where, Login(token=token, user=user, password=password))
    with _progress("exporting") as told:
        sent = send(
            ours,
            open_store(ours.settings),
            target,
            experiments=list(experiments),
            filter=text,
            told=told,
        )
    say(_sent(sent), sent, as_json=as_json)


@export.command(
    "models",
    epilog="Example: setpoint export models --to mlflow http://127.0.0.1:5000 --model late",
)
@home_option
@json_option
@click.option("--to", "kind", type=click.Choice(["mlflow"]), required=True)
@click.argument("where", metavar="URL")
@click.option("--model", "names", multiple=True, help="Only this one; may be repeated.")
@_login
def models(
    *,
    home: str | None,
    as_json: bool,
    kind: str,  # noqa: ARG001 - there is one
    where: str,
    names: tuple[str, ...],
    token: str,
    user: str,
    password: str,
) -> None:
    """Write registered models to a server that speaks MLflow's REST, with the runs they are of.

    Can be stopped and started again at any time: a version that is there is left alone.
    """
    from setpoint.server.mlflow.logged.store import files_of  # noqa: PLC0415 - a server's part
    from setpoint.transfer.mlflow_models import send_models  # noqa: PLC0415 - one of two
    from setpoint.transfer.mlflow_target import MlflowTarget  # noqa: PLC0415

    ours = backend(home)
    target = MlflowTarget(where, Login(token=token, user=user, password=password))

    def logged(model: str) -> dict[str, Artifact]:
        with ours.reading() as conn:
            return files_of(conn, model)

    store = open_store(ours.settings)
    with _progress("exporting") as told:
        sent = send_models(ours, store, target, list(names), logged, told)
    say(_sent(sent), sent, as_json=as_json)


export.add_command(version)


def _target(kind: str, where: str, login: Login) -> Target:
    if kind == "mlflow":
        from setpoint.transfer.mlflow_target import MlflowTarget  # noqa: PLC0415 - one of two

        return MlflowTarget(where, login)
    from setpoint.transfer.parquet import ParquetFolder  # noqa: PLC0415 - needs Polars

    return ParquetFolder(where)


@contextmanager
def _progress(verb: str) -> Iterator[Told]:
    """Show a bar on stderr while things are on their way, gone when they have arrived."""
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    name = TextColumn("{task.fields[what]}", markup=False)
    with Progress(*columns, name, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, what="")
        yield lambda done, all_, what: bar.update(task, completed=done, total=all_, what=what)


def _brought(report: Report) -> str:
    lines = [
        f"{report.brought} of {report.runs} runs brought from {report.where}"
        + (f", {report.known} were here" if report.known else ""),
        f"{report.points:,} points, {report.files:,} files ({_size(report.bytes)})",
    ]
    if report.models:
        known = f", {report.versions_known} were here" if report.versions_known else ""
        lines.append(f"{report.models} models, {report.versions} versions brought{known}")
    return "\n".join([*lines, *_left(report.left)])


def _sent(sent: Sent) -> str:
    known = f", {sent.known} were there" if sent.known else ""
    lines = [
        f"{sent.runs} runs written to {sent.to}{known}",
        f"{sent.points:,} points, {sent.files:,} files ({_size(sent.bytes)})",
    ]
    if sent.models:
        known = f", {sent.versions_known} were there" if sent.versions_known else ""
        lines.append(f"{sent.models} models, {sent.versions} versions written{known}")
    return "\n".join([*lines, *_left(sent.left)])


def _left(left: Sequence[Left]) -> list[str]:
    if not left:
        return ["nothing was left behind"]
    rows = [[each.run or "-", each.what, each.why] for each in left[:_SHOWN]]
    more = len(left) - _SHOWN
    told = [f"and {more} more: --json has them all"] if more > 0 else []
    return ["", f"left behind: {len(left)}", table(["run", "what", "why"], rows), *told]


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"
