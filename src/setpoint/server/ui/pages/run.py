"""What happened in one training."""

from typing import Any

import msgspec
from markupsafe import Markup
from msgspec import Struct

from setpoint.artifacts.store import open_store
from setpoint.errors import Invalid, SetpointError
from setpoint.models.entities import ModelVersion
from setpoint.runs.commands import Forget, Histories, Log, OneRun, SearchRuns
from setpoint.runs.entities import Environment, Run
from setpoint.runs.service import (
    ShowRun,
    delete,
    forget,
    histories,
    log,
    restore,
    search,
    show,
)
from setpoint.runs.store import runs as store
from setpoint.server.ui import markdown, queries, words
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages import media, previews, talk
from setpoint.server.ui.pages.runs import shown

SYSTEM = "system/"  #: how names of the machine's metrics begin
_AT_ONCE = 2  #: curves whose points come with the page
_ITEMS = 240  #: of a curve: of a million points, summaries of chunks are enough
_FILES = 400
_CHILDREN = 50
_DIFF = 256 * 1024  #: bytes of a code difference that are shown
#: Tags that hold a run's notes: the first that it has is shown and written.
_NOTES = ("notes", "mlflow.note.content")


class Measured(Struct, frozen=True, kw_only=True):
    """A metric's last value, and how it stands beside the run before."""

    name: str
    value: float
    before: float | None
    change: str


def run(ask: Ask) -> Page | Redirect:
    """Answer "what happened in this training?"."""
    found: Run = ask.call(show, ShowRun(run=ask.params["run"]))
    made = ask.read(queries.versions_of_run, found.id)
    before = ask.read(store.before, found)
    sibling = None if before is None else ask.call(show, ShowRun(run=before))
    rows = [_measured(name, found, sibling) for name in sorted(found.metrics)]
    own = [row for row in rows if not row.name.startswith(SYSTEM)]
    values = {
        "run": found,
        "heading": _heading(found, made),
        "made": made,
        "metrics": own,
        "sibling": sibling,
        "environment": _environment(ask, found),
        "children": _children(ask, found),
        "note": _note(found),
        "talk": talk.of(ask, found.ref),
        "editing": "note" in ask.query,
        "view": {name: ask.query[name] for name in _VIEWED if name in ask.query},
        **_curves(ask, found),
        **_files(ask, found),
        "diff": _diff(ask, found),
    }
    table = [[r.name, r.value, r.before, r.change] for r in rows]
    return Page(
        template="run.html",
        title=f"Run {words.run_title(found)}",
        active="Runs",
        values=values,
        tables={
            "metrics": Table(columns=["metric", "value", "run_before", "change"], rows=table),
            "params": Table(
                columns=["name", "value"], rows=[[k, v] for k, v in found.params.items()]
            ),
        },
    )


_VIEWED = ("x", "smooth", "log", "logx", "from", "to")


def change(ask: Ask) -> Redirect:
    """Write the notes of a run, tag it, delete or restore it."""
    run_id, what = ask.params["run"], ask.form.get("do", "")
    path = f"/runs/{run_id}"
    if what == "note":
        found: Run = ask.call(show, ShowRun(run=run_id))
        _write(ask, found, ask.form.get("text", "").replace("\r\n", "\n").strip())
        return Redirect(to=path)
    if what == "untag":
        ask.call(forget, Forget(run=run_id, tags=[ask.form.get("tag", "")]))
        return Redirect(to=path)
    if what == "tag":
        name, sign, value = ask.form.get("tag", "").partition("=")
        if not sign or not name.strip():
            raise Invalid("this is not a tag", hint="write name=value, e.g. team=vision")
        ask.call(log, Log(run=run_id, tags={name.strip(): value.strip()}))
        return Redirect(to=path)
    if what in {"delete", "restore"}:
        ask.call(delete if what == "delete" else restore, OneRun(run=run_id))
        return Redirect(to=path)
    raise Invalid(f"a run cannot be changed by {what!r}", hint="note, tag, delete or restore")


def _write(ask: Ask, run: Run, text: str) -> None:
    name = _note_tag(run)
    if text:
        ask.call(log, Log(run=run.id, tags={name: text}))
    elif name in run.tags:
        ask.call(forget, Forget(run=run.id, tags=[name]))


def _note_tag(run: Run) -> str:
    return next((name for name in _NOTES if name in run.tags), _NOTES[0])


def _note(run: Run) -> dict[str, Any]:
    text = run.tags.get(_note_tag(run), "")
    return {"text": text, "html": markdown.render(text) if text else "", "tag": _note_tag(run)}


def _heading(run: Run, made: list[ModelVersion]) -> str:
    if made:
        return f"The training of {made[0].model} version {made[0].number}"
    return run.name or f"A run of {run.experiment}"


def _curves(ask: Ask, run: Run) -> dict[str, Any]:
    """Return which metrics are curves, and the points of the first."""
    long = sorted(name for name, last in run.latest.items() if last.count > 1)
    own = [name for name in long if not name.startswith(SYSTEM)]
    system = [name for name in long if name.startswith(SYSTEM)]
    data: dict[str, Markup] = {}
    if "part" not in ask.query and not ask.query.get("from"):
        cmd = Histories(runs=[run.id], metrics=own[:_AT_ONCE], at_most=_ITEMS)
        for curve in ask.call(histories, cmd).curves:
            text = msgspec.json.encode({"curves": [curve]}).decode()
            data[curve.metric] = Markup(text.replace("<", "\\u003c"))  # noqa: S704 - escaped
    named = [{**each, "color": "accent"} for each in shown([run])]
    return {"curves": own, "system": system, "data": data, "shown": named}


def _measured(name: str, run: Run, sibling: Run | None) -> Measured:
    value = run.metrics[name]
    before = None if sibling is None else sibling.metrics.get(name)
    change = ""
    if before is not None:
        sign = "+" if value >= before else ""
        change = f"{sign}{words.number(value - before)}"
    return Measured(name=name, value=value, before=before, change=change)


def _children(ask: Ask, run: Run) -> list[Run]:
    """Return the runs nested in this one."""
    cmd = SearchRuns(filter=f"parent = '{run.id}'", limit=_CHILDREN)
    found: list[Run] = ask.call(search, cmd).runs
    return found


def _files(ask: Ask, run: Run) -> dict[str, Any]:
    """Return the files of a run: its log, its media, the one that is looked at, and all paths."""
    logs = sorted((p for p in run.artifacts if p.endswith(".log")), key=lambda p: (p.count("/"), p))
    preferred = [path for path in logs if path.rpartition("/")[2] == "output.log"]
    chosen = (preferred or logs or [""])[0]
    path = ask.query.get("file", "")
    paths = [each for each in sorted(run.artifacts) if not each.startswith(media.FOLDER)]
    beside = [each for each in sorted(run.artifacts) if each.startswith(media.FOLDER)]
    return {
        "log": previews.of(ask, run, chosen, tail=True) if chosen else None,
        "media": media.of(ask, run),
        "file": previews.of(ask, run, path) if path else None,
        "paths": paths[:_FILES],
        "media_paths": beside[:_FILES],
        "more_files": max(0, len(paths) - _FILES),
        "bytes": sum(each.size for each in run.artifacts.values()),
    }


def _diff(ask: Ask, run: Run) -> list[tuple[str, str]]:
    """Return the code's difference from its commit by lines, each with what it is."""
    if run.code is None or run.code.diff is None:
        return []
    try:
        pieces = open_store(ask.backend.settings).chunks(run.code.diff, 0, _DIFF)
        text = b"".join(pieces).decode(errors="replace")
    except SetpointError:  # the link beside it says what is the matter
        return []
    return [(_line(each), each) for each in text.splitlines()]


def _line(text: str) -> str:
    if text.startswith(("diff ", "+++", "---", "index ")):
        return "of-file"
    if text.startswith("@@"):
        return "of-place"
    return {"+": "added", "-": "taken"}.get(text[:1], "")


def _environment(ask: Ask, run: Run) -> Environment | None:
    if run.environment is None:
        return None
    try:
        content = open_store(ask.backend.settings).get(run.environment)
        return msgspec.json.decode(content, type=Environment)
    except (SetpointError, msgspec.DecodeError):  # the page's other parts are still of use
        return None
