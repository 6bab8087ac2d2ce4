"""``setpoint runs``: what was executed, with what, and what came out."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.runs.commands import CommentRun, Expire, Expired, KeepRuns, ListRules
from setpoint.runs.commenting import comment_run
from setpoint.runs.entities import Run, RunRule, View
from setpoint.runs.expiring import expire, keep
from setpoint.runs.expiring import ls as list_rules
from setpoint.runs.service import (
    Collect,
    Compare,
    OneRun,
    SearchExperiments,
    SearchRuns,
    ShowRun,
    collect,
    compare,
    delete,
    restore,
    search,
    search_experiments,
    show,
)

_SHOWN = 3  #: metrics in the list


@click.group()
def runs() -> None:
    """What was executed, with what, and what came out."""


@runs.command(
    "ls", epilog="""Example: setpoint runs ls flights-late --filter "metrics.auc > 0.7" """
)
@home_option
@json_option
@click.argument("experiment", required=False)
@click.option("--filter", "said", default="", help="E.g. \"params.leaves = '31'\".")
@click.option("--order", multiple=True, help='E.g. "metrics.auc DESC"; newest first.')
@click.option("--deleted", is_flag=True, help="Deleted runs that can be restored.")
@click.option("--limit", default=30, show_default=True)
def ls_(
    home: str | None,
    as_json: bool,
    experiment: str | None,
    said: str,
    order: tuple[str, ...],
    deleted: bool,
    limit: int,
) -> None:
    """List runs, newest first, or those that a filter finds."""
    asked = SearchRuns(
        experiments=[experiment] if experiment else [],
        filter=said,
        order=list(order),
        view=View.DELETED if deleted else View.ACTIVE,
        limit=limit,
    )
    found = backend(home).call(search, asked)
    rows = [[r.id, r.experiment, r.status, when(r.started_at), _metrics(r)] for r in found.runs]
    headers = ["run", "experiment", "status", "started (UTC)", "metrics"]
    empty = "no such runs" if said or experiment else "no runs yet: setpoint apply"
    say(table(headers, rows, empty=empty), found, as_json=as_json)


@runs.command("experiments")
@home_option
@json_option
@click.option("--filter", "said", default="", help="E.g. \"name LIKE 'flights%'\".")
def experiments_(home: str | None, as_json: bool, said: str) -> None:
    """List experiments, newest first."""
    found = backend(home).call(search_experiments, SearchExperiments(filter=said))
    rows = [[e.id, e.name, when(e.created_at)] for e in found.experiments]
    say(table(["id", "experiment", "made (UTC)"], rows), found, as_json=as_json)


@runs.command("delete")
@home_option
@json_option
@click.argument("run")
def delete_(home: str | None, as_json: bool, run: str) -> None:
    """Take RUN out of every list; `runs restore` brings it back until `runs gc`."""
    found = backend(home).call(delete, OneRun(run=run))
    say(f"{found.id} is deleted; bring it back with: setpoint runs restore", found, as_json=as_json)


@runs.command("restore")
@home_option
@json_option
@click.argument("run")
def restore_(home: str | None, as_json: bool, run: str) -> None:
    """Bring the deleted RUN back."""
    found = backend(home).call(restore, OneRun(run=run))
    say(f"{found.id} is back", found, as_json=as_json)


@runs.command("gc", epilog="Example: setpoint runs gc --older-than 30 --dry")
@home_option
@json_option
@click.option("--older-than", default=0.0, metavar="DAYS", help="Days since they were deleted.")
@click.option("--dry", is_flag=True, help="Count, free nothing.")
def gc_(home: str | None, as_json: bool, older_than: float, dry: bool) -> None:
    """Free what deleted runs and experiments hold, for good."""
    found = backend(home).call(collect, Collect(older_than=older_than * 86_400, dry=dry))
    what = f"{found.runs:,} runs, {found.points:,} points, {found.objects:,} files"
    verb = "would free" if dry else "freed"
    say(f"{verb} {found.bytes:,} bytes: {what}", found, as_json=as_json)


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


@runs.command("keep", epilog='Example: setpoint runs keep --days 180 --tag paper --reason "disk"')
@home_option
@json_option
@click.option("--experiment", help="Of this one only; else of all without a rule of their own.")
@click.option("--days", type=int, help="Since a run ended; without it they are kept for ever.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    default=["keep"],
    show_default=True,
    help="A run that has it stays for ever.",
)
@click.option("--drop", is_flag=True, help="Have no rule any more.")
@click.option("--reason", required=True, help="Why; on record.")
def keep_(
    home: str | None,
    as_json: bool,
    experiment: str | None,
    days: int | None,
    tags: tuple[str, ...],
    drop: bool,
    reason: str,
) -> None:
    """Say how long runs are kept. Once a day the platform deletes those that are older."""
    cmd = KeepRuns(experiment=experiment, days=days, tags=list(tags), drop=drop, reason=reason)
    found = backend(home).call(keep, cmd)
    say(_rules(found.rules), found, as_json=as_json)


@runs.command("rules")
@home_option
@json_option
def rules_(home: str | None, as_json: bool) -> None:
    """Show how long runs are kept."""
    found = backend(home).call(list_rules, ListRules())
    say(_rules(found.rules), found, as_json=as_json)


@runs.command("expire", epilog="Example: setpoint runs expire --dry")
@home_option
@json_option
@click.option("--dry", is_flag=True, help="Only say what would go.")
def expire_(home: str | None, as_json: bool, dry: bool) -> None:
    """Delete runs that their rule lets go, now; they can be restored for a month."""
    store = backend(home)
    done = store.call(expire, Expire(dry=dry))
    counts, more = dict(done.experiments), done.more
    while more:
        again = store.call(expire, Expire())
        more = again.more
        for name, count in again.experiments.items():
            counts[name] = counts.get(name, 0) + count
    whole = Expired(runs=sum(counts.values()), experiments=counts)
    text = table(["experiment", "runs"], sorted(counts.items()), empty="no run is too old")
    verb = "would be deleted" if dry else "deleted"
    say(f"{whole.runs:,} runs {verb}\n\n{text}", whole, as_json=as_json)


def _rules(found: list[RunRule]) -> str:
    rows = [
        [
            "all others" if each.experiment is None else each.experiment,
            "for ever" if each.days is None else f"{each.days} days",
            ", ".join(each.tags),
            each.actor,
            each.reason,
        ]
        for each in found
    ]
    headers = ["experiment", "kept", "for ever if tagged", "by", "why"]
    return table(headers, rows, empty="every run is kept until somebody deletes it")


@runs.command("comment", epilog='Example: setpoint runs comment run_01… "@bob, look at the loss"')
@home_option
@json_option
@click.argument("run")
@click.argument("text")
def comment_(home: str | None, as_json: bool, run: str, text: str) -> None:
    """Say TEXT about RUN; @NAME in it mentions somebody."""
    say("said", backend(home).call(comment_run, CommentRun(run=run, text=text)), as_json=as_json)


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
