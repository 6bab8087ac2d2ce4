"""``setpoint runs``: what was executed, with what, and what came out."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.runs.entities import Run
from setpoint.runs.service import Compare, ListRuns, ShowRun, compare, ls, show

_SHOWN = 3  #: metrics in the list


@click.group()
def runs() -> None:
    """What was executed, with what, and what came out."""


@runs.command("ls", epilog="Example: setpoint runs ls flights-late --limit 10")
@home_option
@json_option
@click.argument("experiment", required=False)
@click.option("--limit", default=30, show_default=True)
def ls_(home: str | None, as_json: bool, experiment: str | None, limit: int) -> None:
    """List runs, newest first."""
    found = backend(home).call(ls, ListRuns(experiment=experiment, limit=limit))
    rows = [[r.id, r.experiment, r.status, when(r.started_at), _metrics(r)] for r in found.runs]
    headers = ["run", "experiment", "status", "started (UTC)", "metrics"]
    say(table(headers, rows, empty="no runs yet: setpoint apply"), found, as_json=as_json)


@runs.command("show")
@home_option
@json_option
@click.argument("run")
def show_(home: str | None, as_json: bool, run: str) -> None:
    """Show RUN: params, metrics, inputs, code, environment, artifacts."""
    found = backend(home).call(show, ShowRun(run=run))
    say(_run(found), found, as_json=as_json)


@runs.command("compare", epilog="Example: setpoint runs compare run_01… run_01…")
@home_option
@json_option
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
def compare_(home: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Show what differs between runs."""
    found = backend(home).call(compare, Compare(runs=list(names)))
    rows = [[d.kind, d.name, *d.values] for d in found.differences]
    headers = ["kind", "name", *(run.id for run in found.runs)]
    say(table(headers, rows, empty="no difference"), found, as_json=as_json)


def _metrics(run: Run) -> str:
    return "  ".join(f"{name}={value:.4g}" for name, value in sorted(run.metrics.items())[:_SHOWN])


def _run(run: Run) -> str:
    code = run.code
    origin = "not recorded"
    if code is not None:
        commit = (
            f"commit {code.commit[:12]}{' with changes' if code.dirty else ''}, "
            if code.commit
            else ""
        )
        origin = f"{commit}snapshot {code.snapshot} of {code.files} files"
    lines = [
        f"{run.id} of {run.experiment}: {run.status}",
        f"started      {when(run.started_at)} UTC by {run.actor}, ended {when(run.ended_at)}",
        f"inputs       {', '.join(f'{name}/{n}' for name, n in run.inputs.items()) or '-'}",
        f"code         {origin}",
        f"environment  {run.environment or 'not recorded'}",
    ]
    if run.error:
        lines.append(f"error        {run.error}")
    values = [["param", k, v] for k, v in sorted(run.params.items())]
    values += [["metric", k, v] for k, v in sorted(run.metrics.items())]
    values += [["tag", k, v] for k, v in sorted(run.tags.items())]
    values += [["artifact", k, v.address] for k, v in sorted(run.artifacts.items())]
    return "\n".join([*lines, "", table(["", "name", "value"], values)])
