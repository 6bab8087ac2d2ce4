"""What is a version, and may I trust it?"""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from setpoint.artifacts.store import open_store
from setpoint.errors import Invalid, NotFound
from setpoint.models.entities import Check, ModelVersion
from setpoint.models.graphs import running
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Entry
from setpoint.models.review import rules
from setpoint.models.review import service as review
from setpoint.models.review.entities import Approval, Asked
from setpoint.models.review.service import AboutVersion, AskApproval, Decide, ListAsked
from setpoint.models.service import SetAlias, Which, alias, get
from setpoint.profiles.reference import Reference, decode_reference
from setpoint.releases import store as release_store
from setpoint.runs.entities import Run
from setpoint.runs.service import ShowRun, show
from setpoint.serve.outputs import signed_outputs
from setpoint.server.ui import history, markdown, words
from setpoint.server.ui.page import Ask, Drawn, Page, Redirect, Table
from setpoint.server.ui.pages import talk, version_example, version_files, version_pictures
from setpoint.server.ui.pages.registry import reason_in, tags_in


class Standing(Struct, frozen=True, kw_only=True):
    """Where a role stands about a version: its newest decision, or that it is asked."""

    role: str
    held: Approval | None
    asked: Asked | None  #: waiting since, also where an older decision holds


def version(ask: Ask) -> Page:
    """Answer "what is it, and may I trust it?"."""
    name, number = ask.params["model"], ask.params["number"]
    found: ModelVersion = ask.call(get, Which(model=name, number=number))
    lives = ask.read(history.lives, name)
    releases = ask.read(release_store.of_version, name, number)
    checks = [] if found.gate is None else found.gate.checks
    decided: review.Approvals = ask.call(review.approvals, AboutVersion(model=name, number=number))
    reference = _reference(ask, found)
    run, roles = _run(ask, found), _roles(ask, found, decided.approvals)
    return Page(
        template="version.html",
        title=f"{name} v{number}",
        active="Models",
        values={
            "version": found,
            "told": signed_outputs(found.signature).specs,
            "entry": _entry(ask, found),
            "run": run,
            "heading": _trust(found, roles),
            "was_live": [each for each in lives if each.version == number],
            "releases": releases,
            "checks": [c for c in checks if not c.name.startswith("slice")],
            "slices": [c for c in checks if c.name.startswith("slice")],
            "bound": bound_words,
            "roles": roles,
            "approvals": decided.approvals,
            "description": markdown.render(found.description, person=words.person),
            "describing": "describe" in ask.query,
            "files": version_files.of(ask, found),
            "request": version_example.request(found, reference),
            "talk": talk.of(ask, found.ref),
        },
        figures={
            "lineage": partial(version_pictures.origin, found, releases, run),
            **_nodes(ask, found),
            **version_pictures.calibrated(found, reference),
        },
        tables=_tables(found, checks, decided.approvals),
    )


def _nodes(ask: Ask, found: ModelVersion) -> dict[str, Drawn]:
    """Return the picture of a graph, if the version is one and its files are here."""
    objects = open_store(ask.backend.settings)
    if not found.parts or not objects.has(found.artifact):
        return {}
    composed = running.opened(objects, found.artifact)
    return {"nodes": partial(version_pictures.made_of, found, composed)}


def _tables(
    found: ModelVersion, checks: list[Check], approvals: list[Approval]
) -> dict[str, Table]:
    return {
        "gate": Table(
            columns=["check", "passed", "value", "low", "high", "bound", "detail"],
            rows=[[c.name, c.passed, c.value, c.low, c.high, c.bound, c.detail] for c in checks],
        ),
        "metrics": Table(
            columns=["metric", "value"], rows=[list(pair) for pair in found.metrics.items()]
        ),
        "signature": Table(
            columns=["name", "datatype"],
            rows=[[i.name, i.datatype] for i in found.signature.inputs],
        ),
        "approvals": Table(
            columns=["at", "role", "approved", "actor", "reason"],
            rows=[[a.at, a.role, a.approved, a.actor, a.reason] for a in approvals],
        ),
    }


def _reference(ask: Ask, found: ModelVersion) -> Reference | None:
    """Return the profile of the rows that a version was trained and judged on, if it is here."""
    objects = open_store(ask.backend.settings)
    if found.reference is None or not objects.has(found.reference):
        return None
    return decode_reference(objects.get(found.reference))


def _run(ask: Ask, found: ModelVersion) -> Run | None:
    """Return the run that made a version, as far as it is known here."""
    if not found.run_id:
        return None
    try:
        run: Run = ask.call(show, ShowRun(run=found.run_id))
    except NotFound:
        return None
    return run


def _entry(ask: Ask, found: ModelVersion) -> Entry:
    """Return a version with its tags and aliases; one that is deleted has none."""
    if found.deleted_at is not None:
        return Entry(version=found)
    cmd = commands.OneVersion(model=found.model, number=found.number)
    entry: Entry = ask.call(registry.version, cmd)
    return entry


def _roles(ask: Ask, found: ModelVersion, approvals: list[Approval]) -> list[Standing]:
    """Return every role that has decided about a version or is asked to, by name."""
    held = rules.standing(approvals)
    waiting = ask.call(review.asked, ListAsked(model=found.model)).asked
    asked = {each.role: each for each in waiting if each.number == found.number}
    return [
        Standing(role=role, held=held.get(role), asked=asked.get(role))
        for role in sorted({*held, *asked})
    ]


def _trust(found: ModelVersion, roles: list[Standing]) -> str:
    name = f"{found.model} version {found.number}"
    if not found.trained_here:  # without a gate, people's word is all there is
        refused = [each.role for each in roles if each.held and not each.held.approved]
        approved = [each.role for each in roles if each.held and each.held.approved]
        if refused:
            return f"{name} was refused by {' and '.join(refused)}"
        if approved:
            return f"{name} was approved by {' and '.join(approved)}"
        return f"{name} is from elsewhere, and nobody has approved it"
    if found.parts:
        return f"{name} is a graph of {len(found.parts)} models and functions"
    if found.gate is None:
        return f"{name} was brought in, and never gated"
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


def change(ask: Ask) -> Redirect:
    """Do to a version what the form says."""
    model, number, what = ask.params["model"], ask.params["number"], ask.form.get("do", "")
    if what not in _CHANGES:
        raise Invalid(f"a version cannot be changed by {what!r}", hint=", ".join(_CHANGES))
    _CHANGES[what](ask, {"model": model, "number": number})
    return Redirect(to=f"/models/{quote(model)}/{number}")


_Which = dict[str, Any]


def _decide(ask: Ask, which: _Which) -> None:
    role, approved = ask.form.get("role", ""), ask.form.get("do") == "approve"
    reason = ask.form.get("reason", "")
    ask.call(review.approve, Decide(**which, role=role, approved=approved, reason=reason))


def _ask(ask: Ask, which: _Which) -> None:
    role, reason = ask.form.get("role", ""), ask.form.get("reason", "")
    ask.call(review.ask, AskApproval(**which, role=role, reason=reason))


def _alias(ask: Ask, which: _Which) -> None:
    name = ask.form.get("alias", "").strip()
    ask.call(alias, SetAlias(**which, alias=name, reason=reason_in(ask)))


def _describe(ask: Ask, which: _Which) -> None:
    text = ask.form.get("text", "").replace("\r\n", "\n").strip()
    ask.call(registry.update_version, commands.UpdateVersion(**which, description=text))


def _tag(ask: Ask, which: _Which) -> None:
    ask.call(registry.tag, commands.SetTags(**which, **tags_in(ask)))


def _delete(ask: Ask, which: _Which) -> None:
    ask.call(registry.delete_version, commands.DeleteVersion(**which, reason=reason_in(ask)))


def _restore(ask: Ask, which: _Which) -> None:
    ask.call(registry.restore_version, commands.OneVersion(**which))


_CHANGES: dict[str, Callable[[Ask, _Which], None]] = {
    "approve": _decide,
    "refuse": _decide,
    "ask": _ask,
    "alias": _alias,
    "describe": _describe,
    "tag": _tag,
    "untag": _tag,
    "delete": _delete,
    "restore": _restore,
}
