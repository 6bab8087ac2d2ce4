"""Reports: what people found out about runs, with the charts that show it."""

import base64
import mimetypes
import re
from pathlib import Path

from markupsafe import Markup

from setpoint.artifacts.store import open_store
from setpoint.errors import Invalid, SetpointError
from setpoint.reports.entities import Report
from setpoint.reports.service import (
    DeleteReport,
    ListReports,
    SaveReport,
    ShowReport,
    delete,
    ls,
    save,
    show,
)
from setpoint.runs.entities import Run
from setpoint.runs.service import ListArtifacts, artifacts
from setpoint.runs.service import ShowRun as Which
from setpoint.runs.service import show as show_run
from setpoint.server.ui import blocks, markdown
from setpoint.server.ui.page import Ask, Page, Redirect
from setpoint.server.ui.pages import talk

STATIC = Path(__file__).parents[2] / "static"
_IMAGE = re.compile(r"/runs/([\w.:-]+)/files/(.+)")
_LARGEST = 8 * 1024 * 1024  #: bytes of an image that goes into a file


def reports(ask: Ask) -> Page:
    """Answer "what did we find out?"."""
    found = ask.call(ls, ListReports()).reports
    return Page(template="reports.html", title="Reports", active="Runs", values={"reports": found})


def report(ask: Ask) -> Page:
    """Show a report, or send it as one file."""
    found: Report = ask.call(show, ShowReport(id=ask.params["report"]))
    if ask.query.get("saved"):
        return _file(ask, found)
    drawn = markdown.render(found.text, blocks.drawing(blocks.Blocks(ask, frozen=False)))
    return Page(
        template="report.html",
        title=found.title,
        active="Runs",
        values={"report": found, "text": drawn, "talk": talk.of(ask, f"report:{found.id}")},
    )


def write(ask: Ask) -> Page:
    """Show the form that a report is written in: a new one, or the one of the address."""
    if "report" in ask.params:
        found: Report = ask.call(show, ShowReport(id=ask.params["report"]))
        title, text, edition = found.title, found.text, found.edition
        action, heading = f"/reports/{found.id}", f"Change “{found.title}”"
    else:
        title, text, edition = "", _beginning(ask), 0
        action, heading = "/reports", "A new report"
    return Page(
        template="write.html",
        title=heading,
        active="Runs",
        values={
            "heading": heading,
            "name": title,
            "text": text,
            "edition": edition,
            "action": action,
        },
    )


def change(ask: Ask) -> Redirect:
    """Save what the form holds, or delete the report."""
    known = ask.params.get("report")
    what = ask.form.get("do", "")
    if what == "delete" and known:
        ask.call(delete, DeleteReport(id=known))
        return Redirect(to="/reports")
    if what != "save":
        raise Invalid(f"a report cannot be changed by {what!r}", hint="save or delete")
    edition = ask.form.get("edition", "0")
    saved = ask.call(
        save,
        SaveReport(
            id=known,
            edition=int(edition) if edition.isdecimal() else 0,
            title=ask.form.get("title", ""),
            text=ask.form.get("text", "").replace("\r\n", "\n"),
        ),
    )
    return Redirect(to=f"/reports/{saved.id}")


def _beginning(ask: Ask) -> str:
    """Return the text a new report begins with: a chart of the runs it was asked for."""
    runs = [value for name, value in ask.pairs if name == "run"]
    if not runs:
        return ""
    first: Run = ask.call(show_run, Which(run=runs[0]))
    long = sorted(name for name, last in first.latest.items() if last.count > 1)
    metrics = [name for name in long if not name.startswith("system/")] or list(first.metrics)
    if not metrics:
        return ""
    return f"What was tried, and what came of it.\n\n{blocks.written(metrics[:2], runs)}"


def _file(ask: Ask, found: Report) -> Page:
    """Return a report as a page that needs nothing else: charts, images, style, script in it."""
    drawn = markdown.render(
        found.text,
        blocks.drawing(blocks.Blocks(ask, frozen=True)),
        image=lambda source: _inside(ask, source),
    )
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", found.title).strip("-") or "report"
    style = _static("app.css").replace("</", "<\\/")
    script = _static("app.js").replace("</script", "<\\/script")
    return Page(
        template="standing.html",
        title=found.title,
        active="",
        values={
            "report": found,
            "text": drawn,
            "style": Markup(style),  # noqa: S704 - ours
            "script": Markup(script),  # noqa: S704 - ours
        },
        saved_as=f"{name}.html",
    )


def _static(name: str) -> str:
    path = STATIC / name
    return path.read_text() if path.is_file() else ""


def _inside(ask: Ask, source: str) -> str:
    """Return an image of a run as its bytes in an address; any other as it is."""
    match = _IMAGE.fullmatch(source)
    if match is None:
        return source
    run, path = match.groups()
    try:
        found = ask.call(artifacts, ListArtifacts(run=run, under=path)).artifacts.get(path)
        if found is None or found.size > _LARGEST:
            return source
        content = open_store(ask.backend.settings).get(found.address)
    except SetpointError:  # the report stands without it
        return source
    media = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
