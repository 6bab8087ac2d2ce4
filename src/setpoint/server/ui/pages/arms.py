"""Which version does better: a test of versions beside one another."""

from functools import partial
from typing import Any

from msgspec import Struct

from setpoint.charts.palette import of_version
from setpoint.charts.small import Arm as Interval
from setpoint.charts.small import intervals
from setpoint.control.splitting import Arms, WhichArms
from setpoint.control.splitting import arms as show_arms
from setpoint.events import store as events
from setpoint.models.service import ShowModel
from setpoint.models.service import show as show_model
from setpoint.serve.entities import ArmTally, SplitArm
from setpoint.server.ui import words
from setpoint.server.ui.page import Ask, Page, Table


class Line(Struct, frozen=True, kw_only=True):
    """An arm as the page shows it."""

    name: str
    version: int
    share: float | None  #: of all keys; None: it has no keys of its own now
    tally: ArmTally | None  #: what it answered; None: nothing yet

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where its mean squared error lies, at 95%; None below two labels."""
        found = self.tally
        if found is None or found.error is None or found.error_half is None:
            return None
        return found.error - found.error_half, found.error + found.error_half


def arms(ask: Ask) -> Page:
    """Answer "which of these versions does better?"."""
    model = ask.params["model"]
    ask.call(show_model, ShowModel(model=model))
    found: Arms = ask.call(show_arms, WhichArms(model=model))
    lines = _lines(found)
    begun = ask.read(events.newest, f"model:{model}", "model.split")
    return Page(
        template="arms.html",
        title=f"{model}: versions beside one another",
        active="Models",
        values={
            "model": model,
            "heading": heading(model, found.arms),
            "lead": _lead(lines),
            "running": bool(found.arms),
            "rest": 1 - sum(arm.share for arm in found.arms),
            "lines": lines,
            "said": begun[0] if begun else None,
        },
        figures={"errors": partial(_errors, lines)},
        tables={"arms": _table(lines)},
    )


def heading(model: str, arms: list[SplitArm]) -> str:
    """Return in words how many versions are tested on how many of a model's keys."""
    if not arms:
        return f"No test of versions of {model} runs"
    share = words.percent(sum(arm.share for arm in arms))
    plural = "s" if len(arms) > 1 else ""
    return f"{len(arms)} arm{plural} answer{'' if plural else 's'} {share} of the keys of {model}"


def _lines(found: Arms) -> list[Line]:
    """Return the arms there are, then what is beside them and those of earlier tests."""
    counted = {(one.arm, one.version): one for one in found.tallies}
    now = [
        Line(
            name=arm.name,
            version=arm.version,
            share=arm.share,
            tally=counted.pop((arm.name, arm.version), None),
        )
        for arm in found.arms
    ]
    beside = [
        Line(name=name, version=version, share=None, tally=tally)
        for (name, version), tally in counted.items()
    ]
    return now + sorted(beside, key=lambda line: (line.name not in {"live", "canary"}, line.name))


def _lead(lines: list[Line]) -> str:
    """Return which arm errs least, and whether chance could explain it."""
    known = [(line, *line.interval) for line in lines if line.interval is not None]
    if len(known) < 2:
        return "Too few labels yet to tell the arms apart."
    known.sort(key=lambda each: each[1] + each[2])
    (best, _, high), *others = known
    name = f"{best.name} (version {best.version})"
    if all(low > high for _, low, _ in others):
        return f"{name} errs least: no other interval reaches its own."
    return f"{name} errs least so far, but its interval meets another: it may be chance."


def _errors(lines: list[Line], width: float) -> str:
    """Return the mean squared error of each arm with its 95% interval."""
    shown = []
    for line in lines:
        if line.tally is None or line.tally.error is None:
            continue
        low, high = line.interval or (None, None)
        name, color = f"{line.name} v{line.version}", of_version(line.version)
        shown.append(Interval(name=name, value=line.tally.error, low=low, high=high, color=color))
    return intervals(shown, title="Mean squared error of each arm", width=min(width, 720))


def _table(lines: list[Line]) -> Table:
    columns = ["arm", "version", "share", "rows", "labels", "mean_score", "mean_label"]
    return Table(
        columns=[*columns, "squared_error", "half_interval"],
        rows=[[line.name, line.version, line.share, *_facts(line.tally)] for line in lines],
    )


def _facts(tally: ArmTally | None) -> list[Any]:
    if tally is None:
        return [0, 0, None, None, None, None]
    means = [tally.score, tally.label, tally.error, tally.error_half]
    return [tally.rows, tally.labelled, *means]
