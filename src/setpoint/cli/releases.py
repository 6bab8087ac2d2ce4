"""``setpoint releases``: how versions took over, and a person's decisions about them."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.core.operations import Operation
from setpoint.releases.entities import Release
from setpoint.releases.service import (
    Decide,
    ListReleases,
    ReleaseDetail,
    Which,
    hold,
    ls,
    promote,
    resume,
    rollback,
    show,
)


@click.group()
def releases() -> None:
    """How versions took over, and your decisions about it."""


@releases.command("ls")
@home_option
@json_option
@click.argument("model", required=False)
def ls_(home: str | None, as_json: bool, model: str | None) -> None:
    """List releases, newest first."""
    found = backend(home).call(ls, ListReleases(model=model))
    rows = [
        [
            r.id,
            r.model,
            f"{r.from_version or '-'} → {r.version}",
            r.state,
            when(r.started_at),
            r.verdict_why,
        ]
        for r in found.releases
    ]
    headers = ["release", "model", "versions", "state", "started (UTC)", "why"]
    say(
        table(headers, rows, empty="no releases yet: setpoint apply"),
        found,
        as_json=as_json,
    )


@releases.command("show", epilog="Example: setpoint releases show flights-late")
@home_option
@json_option
@click.argument("release")
def show_(home: str | None, as_json: bool, release: str) -> None:
    """Show RELEASE (an id, or a model for its newest) with its evidence."""
    found = backend(home).call(show, Which(release=release))
    say(_detail(found), found, as_json=as_json)


def _decision(name: str, operation: Operation[Decide, Release], help_: str) -> None:
    @releases.command(
        name, help=help_, epilog=f'Example: setpoint releases {name} churn --reason "…"'
    )
    @home_option
    @json_option
    @click.argument("release")
    @click.option("--reason", required=True, help="Recorded with who decided.")
    def decide(home: str | None, as_json: bool, release: str, reason: str) -> None:
        found = backend(home).call(operation, Decide(release=release, reason=reason))
        state = found.state.replace("_", " ")
        text = f"{found.id} of {found.model} (version {found.version}): {state}"
        say(text, found, as_json=as_json)


_decision("hold", hold, "Stop RELEASE where it is: no step, no verdict, traffic as now.")
_decision("resume", resume, "Let a held RELEASE go on.")
_decision("promote", promote, "Make the candidate of RELEASE live now.")
_decision("rollback", rollback, "Go back to the version before.")


def _detail(found: ReleaseDetail) -> str:
    release, readings = found.release, found.readings
    state, share = release.state.replace("_", " "), f"{release.weight:.0%}"
    lines = [
        f"{release.id}: {release.model} version {release.from_version or '-'} → {release.version}",
        f"state     {state}, stage {release.stage}, share {share}",
        f"started   {when(release.started_at)} UTC, ended {when(release.ended_at)}",
        f"why       {release.verdict_why or '-'}",
        f"evidence  {readings.summary}",
    ]
    if release.open:
        lines.append(f"next      {type(found.next).__name__.lower()}: {found.next.why}")
    if release.override_by:
        lines.append(f"override  {release.override_by}: {release.override_reason}")
    return "\n".join(lines)
