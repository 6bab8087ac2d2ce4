"""What is a version, and may I trust it?"""

from functools import partial

from setpoint.artifacts.store import open_store
from setpoint.charts.draw import draw
from setpoint.charts.lineage import Node, lineage
from setpoint.charts.palette import of_version
from setpoint.charts.reliability import reliability
from setpoint.models.entities import Check, ModelVersion
from setpoint.models.service import Which, get
from setpoint.profiles.quality import calibration
from setpoint.profiles.reference import decode_reference
from setpoint.releases import store as release_store
from setpoint.releases.entities import Release
from setpoint.server.ui import history, words
from setpoint.server.ui.page import Ask, Drawn, Page, Table

_COLUMN = 520  #: px, of one of two columns


def version(ask: Ask) -> Page:
    """Answer "what is it, and may I trust it?"."""
    name, number = ask.params["model"], ask.params["number"]
    found: ModelVersion = ask.call(get, Which(model=name, number=number))
    lives = ask.read(history.lives, name)
    releases = ask.read(release_store.of_version, name, number)
    checks = [] if found.gate is None else found.gate.checks
    return Page(
        template="version.html",
        title=f"{name} v{number}",
        active="Overview",
        values={
            "version": found,
            "heading": _trust(found),
            "was_live": [each for each in lives if each.version == number],
            "releases": releases,
            "checks": [c for c in checks if not c.name.startswith("slice")],
            "slices": [c for c in checks if c.name.startswith("slice")],
            "bound": bound_words,
        },
        figures={
            "lineage": partial(_lineage, found, releases),
            **_calibration(ask, found),
        },
        tables={
            "gate": Table(
                columns=["check", "passed", "value", "low", "high", "bound", "detail"],
                rows=[
                    [c.name, c.passed, c.value, c.low, c.high, c.bound, c.detail] for c in checks
                ],
            ),
            "signature": Table(
                columns=["name", "datatype"],
                rows=[[i.name, i.datatype] for i in found.signature.inputs],
            ),
        },
    )


def _calibration(ask: Ask, found: ModelVersion) -> dict[str, Drawn]:
    """Return how true the version's probabilities were on the rows its gate judged it by."""
    objects = open_store(ask.backend.settings)
    if found.reference is None or not objects.has(found.reference):
        return {}
    joint = decode_reference(objects.get(found.reference)).joint
    if joint is None or not joint.labelled:
        return {}
    groups = calibration(joint)
    title = f"{joint.labelled:,} held-out rows, in groups of ascending score"
    drawn = reliability(
        groups.score.tolist(),
        groups.positives.tolist(),
        title=title,
        color=of_version(found.number),
    )
    return {"calibration": lambda width: draw(drawn, min(width, _COLUMN))}


def _trust(found: ModelVersion) -> str:
    name = f"{found.model} version {found.number}"
    if found.gate is None:
        return f"{name} was never gated"
    if found.gate.passed:
        return f"{name} passed all {len(found.gate.checks)} checks of its gate"
    failing = len(found.gate.failing)
    after = ", and was let through by a person" if found.override else ""
    return f"{name} failed {failing} of {len(found.gate.checks)} checks of its gate{after}"


def bound_words(check: Check) -> str:
    """Return a check's value with its interval."""
    if check.value is None:
        return ""
    said = words.number(check.value)
    if check.low is not None and check.high is not None:
        said += f" ({words.number(check.low)} … {words.number(check.high)})"
    return said


def _lineage(found: ModelVersion, releases: list[Release], width: float) -> str:
    me = f"v{found.number}"
    nodes = [
        Node(
            key=f"d{name}",
            column=0,
            kind="dataset",
            name=f"{name} {number}",
            href=f"/data/{name}/{number}",
        )
        for name, number in found.datasets.items()
    ]
    nodes += [
        Node(
            key="run",
            column=1,
            kind="run",
            name=words.short(found.run_id),
            href=f"/runs/{found.run_id}",
        ),
        Node(
            key=me,
            column=2,
            kind="version",
            name=f"{found.model} {me}",
            href=f"/models/{found.model}/{found.number}",
            color=of_version(found.number),
        ),
    ]
    edges = [(f"d{name}", "run") for name in found.datasets] + [("run", me)]
    for release in releases[:3]:
        nodes.append(
            Node(
                key=release.id,
                column=3,
                kind="release",
                name=words.said(release.state),
                href=f"/releases/{release.id}",
                color=f"state-{words.tone(release.state)}",
            )
        )
        edges.append((me, release.id))
    return lineage(nodes, edges, title=f"Where {found.model} {me} comes from", width=width)
