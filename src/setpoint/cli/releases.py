"""``setpoint releases``: how versions took over, and a person's decisions about them."""

import re

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.control.splitting import Arm, Arms, Split, WhichArms
from setpoint.control.splitting import arms as show_arms
from setpoint.control.splitting import split as split_keys
from setpoint.control.starting import Deploy, Serve, StartRelease, serve
from setpoint.control.starting import deploy as deploy_version
from setpoint.control.starting import start as start_release
from setpoint.core.operations import Operation
from setpoint.releases.entities import Release, State
from setpoint.releases.service import (
    Answer,
    Decide,
    ListReleases,
    ReleaseDetail,
    Which,
    approve,
    hold,
    ls,
    promote,
    reject,
    resume,
    rollback,
    show,
)
from setpoint.serve.entities import ArmTally


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


@releases.command(
    "start", epilog='Example: setpoint releases start churn 4 --reason "back to the old features"'
)
@home_option
@json_option
@click.argument("model")
@click.argument("version", type=int)
@click.option("--reason", required=True, help="Recorded with who started it.")
def start_(home: str | None, as_json: bool, model: str, version: int, reason: str) -> None:
    """Begin to release VERSION of MODEL, by the spec in force."""
    command = StartRelease(model=model, version=version, reason=reason)
    _said(backend(home).call(start_release, command), as_json=as_json)


@releases.command("deploy", epilog='Example: setpoint releases deploy iris 1 --reason "the first"')
@home_option
@json_option
@click.argument("model")
@click.argument("version", type=int)
@click.option("--reason", required=True, help="Recorded with who put it live.")
def deploy_(home: str | None, as_json: bool, model: str, version: int, reason: str) -> None:
    """Put VERSION of MODEL, which no spec holds, before all its traffic at once."""
    command = Deploy(model=model, version=version, reason=reason)
    _said(backend(home).call(deploy_version, command), as_json=as_json)


@releases.command(
    "serve",
    epilog='Example: setpoint releases serve iris --versions "latest 2" --reason "to compare"',
)
@home_option
@json_option
@click.argument("model")
@click.option(
    "--versions",
    required=True,
    help="Such as: latest 2, or all, or 1, 4, or an alias; '' for only those deployed.",
)
@click.option("--reason", required=True, help="Recorded with who said so.")
def serve_(home: str | None, as_json: bool, model: str, versions: str, reason: str) -> None:
    """Have versions of MODEL, which no spec holds, answer who names them."""
    found = backend(home).call(serve, Serve(model=model, versions=versions, reason=reason))
    numbers = ", ".join(map(str, found.numbers)) or "none besides those deployed"
    labels = "".join(f"; {label}: {number}" for label, number in found.labels.items())
    say(f"versions of {model} that can be named: {numbers}{labels}", found, as_json=as_json)


@releases.command(
    "split",
    epilog='Example: setpoint releases split churn blue=3:20% green=4:10% --reason "new features"',
)
@home_option
@json_option
@click.argument("model")
@click.argument("arms", nargs=-1, required=False, metavar="NAME=VERSION:SHARE…")
@click.option("--end", is_flag=True, help="End the test: all keys go to live version and canary.")
@click.option("--reason", required=True, help="Recorded with who split it.")
def split_(
    home: str | None, as_json: bool, model: str, arms: tuple[str, ...], end: bool, reason: str
) -> None:
    """Have these arms, and no others, answer shares of MODEL's keys, for as long as you want."""
    if end == bool(arms):
        raise click.UsageError("name the arms that are to be, such as blue=3:20%, or give --end")
    command = Split(model=model, arms=[_arm(text) for text in arms], reason=reason)
    found = backend(home).call(split_keys, command)
    say(_arms(found), found, as_json=as_json)


def _arm(text: str) -> Arm:
    found = _ARM.fullmatch(text)
    if found is None:
        raise click.UsageError(f"{text!r} is no arm: write NAME=VERSION:SHARE, such as blue=3:20%")
    number = float(found["share"])
    share = number / 100 if found["percent"] else number
    return Arm(name=found["name"], version=int(found["version"]), share=share)


_ARM = re.compile(
    r"(?P<name>[^=:]+)=(?P<version>[0-9]{1,9}):(?P<share>[0-9]+(\.[0-9]+)?)(?P<percent>%?)"
)


@releases.command("arms", epilog="Example: setpoint releases arms churn")
@home_option
@json_option
@click.argument("model")
def arms_(home: str | None, as_json: bool, model: str) -> None:
    """Show the arms of MODEL's test, and how well each of them answers."""
    found = backend(home).call(show_arms, WhichArms(model=model))
    say(_arms(found), found, as_json=as_json)


def _arms(found: Arms) -> str:
    counted = {(one.arm, one.version) for one in found.tallies}
    now = {(arm.name, arm.version): _share(arm.share) for arm in found.arms}
    idle = ["0", *["-"] * 4]
    rows = [[name, str(v), share, *idle] for (name, v), share in now.items()
            if (name, v) not in counted]  # fmt: skip
    rows += [
        [
            one.arm,
            str(one.version),
            now.get((one.arm, one.version), "-"),
            f"{one.rows:,}",
            f"{one.labelled:,}",
            _number(one.score),
            _number(one.label),
            _error(one),
        ]
        for one in found.tallies
    ]
    headers = ["arm", "version", "share", "rows", "labels", "mean score", "mean label", "error"]
    return table(headers, rows, empty="no test: setpoint releases split")


def _share(share: float) -> str:
    return f"{share * 100:.6g}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _error(tally: ArmTally) -> str:
    """Return the mean squared error with the half of its 95% interval."""
    if tally.error is None or tally.error_half is None:
        return "-"
    return f"{tally.error:.4g} ± {tally.error_half:.2g}"


def _answer(name: str, operation: Operation[Answer, Release], help_: str) -> None:
    @releases.command(
        name, help=help_, epilog=f'Example: setpoint releases {name} churn --reason "…" --as risk'
    )
    @home_option
    @json_option
    @click.argument("release")
    @click.option("--reason", required=True, help="Recorded with who answered.")
    @click.option(
        "--as",
        "role",
        default="",
        metavar="ROLE",
        help="The role you answer as; needed where the spec names several.",
    )
    def answer(home: str | None, as_json: bool, release: str, reason: str, role: str) -> None:
        command = Answer(release=release, reason=reason, role=role)
        _said(backend(home).call(operation, command), as_json=as_json)


_answer("approve", approve, "Let RELEASE, which waits for approval, begin.")
_answer("reject", reject, "End RELEASE, which waits for approval: its version never serves.")


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
        _said(found, as_json=as_json)


_decision("hold", hold, "Stop RELEASE where it is: no step, no verdict, traffic as now.")
_decision("resume", resume, "Let a held RELEASE go on.")
_decision("promote", promote, "Make the candidate of RELEASE live now.")
_decision("rollback", rollback, "Go back to the version before.")


def _said(found: Release, *, as_json: bool) -> None:
    state = found.state.replace("_", " ")
    text = f"{found.id} of {found.model} (version {found.version}): {state}"
    if found.state is State.WAITING:
        text += f" for approval by {' or '.join(found.policy.approvers)}"
    say(text, found, as_json=as_json)


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
    if (answer := release.approval) is not None:
        did = "approved" if answer.given else "rejected"
        lines.append(
            f"approval  {did} by {answer.by} as {answer.role}, {when(answer.at)} UTC: "
            f"{answer.reason}"
        )
    if release.override_by:
        lines.append(f"override  {release.override_by}: {release.override_reason}")
    return "\n".join(lines)
