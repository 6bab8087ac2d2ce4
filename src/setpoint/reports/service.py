"""What one can do with reports and saved views. One transaction each."""

import msgspec
from msgspec import Struct

from setpoint.comments import service as comments
from setpoint.comments import store as comment_store
from setpoint.comments.entities import Comment
from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import record
from setpoint.reports import store
from setpoint.reports.entities import Report, SavedView

LONGEST = 200_000  #: characters of a report
_NAME = 100  #: characters of a title or of a view's name


class SaveReport(Struct, frozen=True, kw_only=True):
    title: str
    text: str
    id: str | None = None  #: of the report to change; None: a new one
    edition: int = 0  #: the edition that was changed; a newer one is never overwritten


class ShowReport(Struct, frozen=True, kw_only=True):
    id: str


class ListReports(Struct, frozen=True, kw_only=True):
    limit: int = 200


class Reports(Struct, frozen=True, kw_only=True):
    reports: list[Report]


class DeleteReport(Struct, frozen=True, kw_only=True):
    id: str


class CommentReport(Struct, frozen=True, kw_only=True):
    id: str
    text: str  #: Markdown; ``@name`` mentions somebody


class SaveView(Struct, frozen=True, kw_only=True):
    name: str
    query: str  #: what follows the ``?`` of the runs page's address


class ListViews(Struct, frozen=True, kw_only=True):
    pass


class Views(Struct, frozen=True, kw_only=True):
    views: list[SavedView]


class DeleteView(Struct, frozen=True, kw_only=True):
    name: str


@operation("reports.save", needs="reports:write")
def save(ctx: Context, cmd: SaveReport) -> Report:
    """Keep a report: a new one, or the next edition of one."""
    title = _named(cmd.title, "a report needs a title")
    if len(cmd.text) > LONGEST:
        raise Invalid(
            f"a report holds {LONGEST:,} characters, this one has {len(cmd.text):,}",
            hint="split it in two, or keep what is long as an artifact of a run",
        )
    if cmd.id is None:
        return _first(ctx, title, cmd.text)
    known = store.get(ctx.conn, cmd.id)
    report = msgspec.structs.replace(
        known,
        title=title,
        text=cmd.text,
        edition=known.edition + 1,
        actor=ctx.actor,
        updated_at=ctx.now,
    )
    if known.edition != cmd.edition or not store.replace(ctx.conn, report, was=cmd.edition):
        raise Conflict(
            f"{known.actor} changed the report {known.title!r} in the meantime",
            where=f"edition {known.edition}, you changed edition {cmd.edition}",
            hint="copy your text, open the report again and put it in",
        )
    record(ctx, "report.changed", f"report:{report.id}", title=title, edition=report.edition)
    return report


@operation("reports.show", needs="reports:read")
def show(ctx: Context, cmd: ShowReport) -> Report:
    """Return one report."""
    return store.get(ctx.conn, cmd.id)


@operation("reports.ls", needs="reports:read")
def ls(ctx: Context, cmd: ListReports) -> Reports:
    """Return reports, those changed last first."""
    return Reports(reports=store.newest(ctx.conn, cmd.limit))


@operation("reports.delete", needs="reports:write")
def delete(ctx: Context, cmd: DeleteReport) -> Report:
    """Remove a report for good; its last edition is the answer."""
    report = store.get(ctx.conn, cmd.id)
    store.remove(ctx.conn, report.id)
    comment_store.forget(ctx.conn, [f"report:{report.id}"])
    record(ctx, "report.deleted", f"report:{report.id}", title=report.title)
    return report


@operation("reports.comment", needs="reports:write")
def comment(ctx: Context, cmd: CommentReport) -> Comment:
    """Say something about a report."""
    report = store.get(ctx.conn, cmd.id)
    return comments.comment(ctx, f"report:{report.id}", cmd.text)


@operation("views.save", needs="views:write")
def save_view(ctx: Context, cmd: SaveView) -> SavedView:
    """Keep a view of the runs table under a name, over the one that had it."""
    name = _named(cmd.name, "a view needs a name")
    view = SavedView(name=name, query=cmd.query, actor=ctx.actor, updated_at=ctx.now)
    store.put_view(ctx.conn, view)
    return view


@operation("views.ls", needs="views:read")
def views(ctx: Context, cmd: ListViews) -> Views:  # noqa: ARG001 - nothing to ask for
    """Return all saved views, by name."""
    return Views(views=store.views(ctx.conn))


@operation("views.delete", needs="views:write")
def delete_view(ctx: Context, cmd: DeleteView) -> Views:
    """Remove a saved view; those left are the answer."""
    if not store.remove_view(ctx.conn, cmd.name):
        raise NotFound(f"no view {cmd.name!r}", hint="it may have been removed already")
    return Views(views=store.views(ctx.conn))


OPERATIONS = (save, show, ls, delete, comment, save_view, views, delete_view)


def _first(ctx: Context, title: str, text: str) -> Report:
    report = Report(
        id=new_id("rep", ctx.now),
        title=title,
        text=text,
        edition=1,
        actor=ctx.actor,
        created_at=ctx.now,
        updated_at=ctx.now,
    )
    store.add(ctx.conn, report)
    record(ctx, "report.written", f"report:{report.id}", title=title)
    return report


def _named(text: str, lacking: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise Invalid(lacking, hint="a few words that tell it from the others")
    if len(name) > _NAME:
        raise Invalid(f"{len(name)} characters are too long for a name", hint=f"at most {_NAME}")
    return name
