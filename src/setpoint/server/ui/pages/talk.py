"""What people say about a thing, below it on its page."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup
from msgspec import Struct

from setpoint.comments import service
from setpoint.comments.entities import Comment
from setpoint.errors import Invalid
from setpoint.models.review.service import AddComment
from setpoint.models.review.service import comment as comment_model
from setpoint.reports.service import CommentReport
from setpoint.reports.service import comment as comment_report
from setpoint.runs.commands import CommentExperiment, CommentRun, FindExperiment
from setpoint.runs.commenting import comment_experiment, comment_run
from setpoint.runs.service import find_experiment
from setpoint.server.ui import markdown, words
from setpoint.server.ui.page import Ask, Redirect


class Said(Struct, frozen=True, kw_only=True):
    """A comment as a page shows it."""

    comment: Comment
    html: Markup
    own: bool  #: whether who looks at it may change it
    editing: bool  #: whether it is being changed


class Talk(Struct, frozen=True, kw_only=True):
    """All that was said about a thing."""

    subject: str
    said: list[Said]


def of(ask: Ask, subject: str) -> Talk:
    """Return what was said about a thing, for its page."""
    found = ask.call(service.ls, service.AboutSubject(subject=subject)).comments
    return Talk(subject=subject, said=[shown(ask, each) for each in found])


def shown(ask: Ask, comment: Comment) -> Said:
    """Return a comment as a page shows it."""
    own = comment.actor == ask.backend.settings.actor
    return Said(
        comment=comment,
        html=markdown.render(comment.text, person=words.person),
        own=own,
        editing=own and ask.query.get("comment") == comment.id,
    )


def say(ask: Ask) -> Redirect:
    """Say what the form holds about the thing that it names."""
    subject, text = ask.form.get("subject", ""), ask.form.get("text", "").replace("\r\n", "\n")
    kind, _, name = subject.partition(":")
    if kind not in _SAYING:
        raise Invalid(f"nothing can be said about {subject!r}", hint=", ".join(_SAYING))
    made: Comment = _SAYING[kind](ask, name, text)
    return Redirect(to=f"{words.page_of(made.subject)}#{made.id}")


def change(ask: Ask) -> Redirect:
    """Change or take back one's own comment."""
    comment, what = ask.params["comment"], ask.form.get("do", "")
    if what == "edit":
        text = ask.form.get("text", "").replace("\r\n", "\n")
        done: Comment = ask.call(service.edit, service.EditComment(comment=comment, text=text))
        return Redirect(to=f"{words.page_of(done.subject)}#{done.id}")
    if what == "drop":
        done = ask.call(service.drop, service.DropComment(comment=comment))
        return Redirect(to=f"{words.page_of(done.subject)}#comments")
    raise Invalid(f"a comment cannot be changed by {what!r}", hint="edit or drop")


def _of_version(ask: Ask, name: str, text: str) -> Any:
    model, _, number = name.rpartition("/")
    if not number.isdecimal():
        raise Invalid(f"{name!r} is no version", hint="MODEL/NUMBER")
    return ask.call(comment_model, AddComment(model=model, number=int(number), text=text))


def _of_experiment(ask: Ask, name: str, text: str) -> Any:
    found = ask.call(find_experiment, FindExperiment(name=name))
    return ask.call(comment_experiment, CommentExperiment(id=found.id, text=text))


_SAYING: dict[str, Callable[[Ask, str, str], Any]] = {
    "model": lambda ask, name, text: ask.call(comment_model, AddComment(model=name, text=text)),
    "version": _of_version,
    "run": lambda ask, name, text: ask.call(comment_run, CommentRun(run=name, text=text)),
    "experiment": _of_experiment,
    "report": lambda ask, name, text: ask.call(comment_report, CommentReport(id=name, text=text)),
}
