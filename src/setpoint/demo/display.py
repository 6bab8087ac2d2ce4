"""The replay as a person watches it: where it is, what happens, how quality holds."""

from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from setpoint.control.decide import Action, GoLive, Run, StartRelease, StepRelease, Train
from setpoint.demo import story
from setpoint.demo.report import Report
from setpoint.pipelines.local import StepRun
from setpoint.releases.rules import Advance, Hold, Promote, RollBack

_FEED = 12  #: lines of what happened that stay in sight
_EVERY_HOURS = 6  #: the picture is drawn anew this often

_COLOURS = {"promoted": "green", "rolled_back": "red", "held": "magenta", "running": "blue"}


class Display:
    """A live picture on a terminal; plain lines where there is none."""

    def __init__(self, console: Console, *, start: datetime, until: datetime) -> None:
        self._console = console
        self._start = start
        self._hours = max(int((until - start).total_seconds() // 3600), 1)
        self._bar = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            expand=True,
        )
        self._task = self._bar.add_task("1 Mar 2013", total=self._hours)
        self._feed: deque[Text] = deque(maxlen=_FEED)
        self._now = start
        self._counts = Text("")
        self._shown = 0
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Add one line to what happened."""
        line = Text(f"{self._now:%d %b %H:%M}  ", style="dim")
        line.append(text, style=style)
        self._feed.append(line)
        if self._console.is_terminal:
            self._draw()
        else:
            self._console.print(line, soft_wrap=True)

    def step(self, model: str, step: StepRun) -> None:
        """Show a step of a training."""
        del model
        if not step.cached and step.seconds >= 0.2:
            self.say(f"  {step.step}: {step.seconds:.1f} s", "dim")

    def progress(self, found: story.Progress) -> None:
        """Show an hour of the replay."""
        self._now = found.at
        hours = int((found.at - self._start).total_seconds() // 3600)
        self._bar.update(self._task, completed=hours, description=f"{found.at:%d %b %Y}")
        for _, action in found.tick.actions if found.tick else []:
            said = _in_words(action)
            if said is not None:
                self.say(*said)
        if hours - self._shown >= _EVERY_HOURS:
            self._shown = hours
            self._counts = Text(
                f"{found.asked:,} predictions over HTTP   {found.labelled:,} labels delivered"
            )
            if self._console.is_terminal:
                self._draw()

    def _draw(self) -> None:
        body = Group(self._bar, self._counts, Text(""), *self._feed)
        title = "[bold]Setpoint[/]  flights-late: will it arrive 15 minutes late?"
        self._live.update(Panel(body, title=title, title_align="left", border_style="cyan"))


def _in_words(action: Action) -> tuple[str, str] | None:
    if isinstance(action, Train):
        return f"retrain: {action.why}", "yellow"
    if isinstance(action, Run):
        return None
    if isinstance(action, GoLive):
        return f"version {action.version} goes live", "green"
    if isinstance(action, StartRelease):
        return f"version {action.version} is released: shadow first", "blue"
    return _decision(action)


def _decision(action: StepRelease) -> tuple[str, str] | None:
    version, decision = action.release.version, action.decision
    if isinstance(decision, Advance):
        share = action.release.policy.canary_steps[decision.step - 1]
        return f"version {version} answers {share:.0%} of flights: {_short(decision.why)}", "blue"
    if isinstance(decision, Promote):
        return f"version {version} promoted: {_short(decision.why)}", "bold green"
    if isinstance(decision, RollBack):
        return f"version {version} rolled back: {decision.why}", "bold red"
    if isinstance(decision, Hold):
        return f"version {version} held: {_short(decision.why)}", "magenta"
    return None


def _short(why: str) -> str:
    """Return the first two parts of the evidence; the release's page has all of it."""
    return "; ".join(why.split("; ")[:2])


def summary(found: Report) -> Group:
    """Return the tables that the replay ends with."""
    quality = found.quality
    gain = quality.live - quality.never_retrained
    verdict = Text.assemble(
        f"\n{found.predictions:,} predictions, {found.labels:,} labels. ROC AUC on the same "
        f"{quality.rows:,} flights: ",
        (f"{quality.live:.3f}", "bold"),
        f" kept on target, {quality.never_retrained:.3f} never retrained ({gain:+.3f}).",
        f"\n{found.seconds:.0f} s, {found.peak_memory_mb:,.0f} MB at the peak; ",
        "the record verifies." if found.events_verified else "THE RECORD DOES NOT VERIFY.",
    )
    return Group(_versions(found), _alarms(found), _months(found), verdict)


def _versions(found: Report) -> Table:
    table = Table(
        title="Versions",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("version", justify="right")
    for name in ("born", "why", "gate", "verdict", "evidence"):
        table.add_column(name, overflow="fold")
    verdicts = {release.version: release for release in found.releases}
    for version in found.versions:
        release = verdicts.get(version.number)
        word = (
            release.verdict
            if release
            else ("live first" if version.number == 1 else "not released")
        )
        table.add_row(
            str(version.number),
            f"{version.born_at.astimezone(UTC):%d %b}",
            version.why,
            version.gate,
            Text(word.replace("_", " "), style=_COLOURS.get(word, "")),
            _short(release.why) if release else "",
        )
    return table


def _alarms(found: Report) -> Table:
    table = Table(
        title="\nAlarms",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for name in ("opened", "monitor", "what"):
        table.add_column(name, overflow="fold")
    for alarm in found.alarms:
        table.add_row(f"{alarm.opened_at:%d %b}", alarm.monitor.replace("_", " "), alarm.text)
    if not found.alarms:
        table.add_row("-", "-", "none")
    return table


def _months(found: Report) -> Table:
    table = Table(
        title="\nROC AUC by month, same flights",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("")
    for month in found.quality.by_month:
        table.add_column(month.month, justify="right")
    months = found.quality.by_month
    table.add_row("kept on target", *(f"{m.live:.3f}" for m in months), style="green")
    table.add_row("never retrained", *(f"{m.never_retrained:.3f}" for m in months))
    table.add_row("versions promoted", *(str(m.retrained or "") for m in months), style="dim")
    return table
