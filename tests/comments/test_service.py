"""Comments on runs, experiments and reports: whom they mention, and whose they are."""

from datetime import timedelta

import pytest

from setpoint.comments import service
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Denied, Invalid, NotFound
from setpoint.events import store as events
from setpoint.reports import service as reports
from setpoint.runs import commenting
from setpoint.runs import service as runs
from setpoint.runs.commands import CommentExperiment, CommentRun


@pytest.fixture
def tried(backend: LocalBackend) -> LocalBackend:
    """A store with a run of the experiment ``churn``."""
    backend.call(runs.start, runs.Start(id="one", experiment="churn"))
    return backend


def said(store: LocalBackend, subject: str) -> list[str]:
    found = store.call(service.ls, service.AboutSubject(subject=subject)).comments
    return [each.text for each in found]


def person(store: LocalBackend, name: str) -> LocalBackend:
    home = store.settings.home
    settings = Settings(home=home, database_url="", actor=name)
    return LocalBackend(store.engine, settings, store.clock)


def test_who_is_mentioned_finds_it_newest_first_and_not_their_own(
    tried: LocalBackend, clock: ManualClock
) -> None:
    report = tried.call(reports.save, reports.SaveReport(title="r", text=""))
    tried.call(commenting.comment_run, CommentRun(run="one", text="@bob look"))
    clock.advance(timedelta(seconds=1))
    about = reports.CommentReport(id=report.id, text="@bob and @eve")
    tried.call(reports.comment, about)
    person(tried, "bob").call(commenting.comment_run, CommentRun(run="one", text="I, @bob, did"))
    found = tried.call(service.mentions, service.Mentions(person="bob")).comments
    assert [(each.subject, each.text) for each in found] == [
        (f"report:{report.id}", "@bob and @eve"),
        ("run:one", "@bob look"),
    ]
    with tried.engine.begin() as conn:
        told = events.since(conn, kind="run.commented")
    assert [(each.actor, each.detail["mentions"]) for each in told] == [
        ("ada", ["bob"]),
        ("bob", ["bob"]),
    ]


def test_a_comment_is_its_author_s_to_change_and_to_take_back(tried: LocalBackend) -> None:
    one = tried.call(commenting.comment_run, CommentRun(run="one", text=" **good**, @bob "))
    tried.call(service.edit, service.EditComment(comment=one.id, text="*better*, @eve"))
    (found,) = tried.call(service.ls, service.AboutSubject(subject="run:one")).comments
    assert (found.text, found.actor, found.edited_at) == ("*better*, @eve", "ada", one.at)
    for name, count in (("bob", 0), ("eve", 1)):
        mentions = tried.call(service.mentions, service.Mentions(person=name)).comments
        assert len(mentions) == count
    with pytest.raises(Denied, match="ada wrote"):
        person(tried, "bob").call(service.drop, service.DropComment(comment=one.id))
    tried.call(service.drop, service.DropComment(comment=one.id))
    assert said(tried, "run:one") == []
    assert tried.call(service.mentions, service.Mentions(person="eve")).comments == []
    with pytest.raises(NotFound):
        tried.call(service.edit, service.EditComment(comment=one.id, text="x"))


def test_nothing_is_said_of_what_is_not_there_nor_said_without_words(tried: LocalBackend) -> None:
    with pytest.raises(NotFound):
        tried.call(commenting.comment_run, CommentRun(run="two", text="x"))
    for text in (" ", "x" * 20_001):
        with pytest.raises(Invalid):
            tried.call(commenting.comment_run, CommentRun(run="one", text=text))


def test_what_was_said_of_an_experiment_follows_its_name(tried: LocalBackend) -> None:
    number = tried.call(runs.show, runs.ShowRun(run="one")).experiment_id
    tried.call(commenting.comment_experiment, CommentExperiment(id=number, text="slow"))
    tried.call(runs.update_experiment, runs.UpdateExperiment(id=number, name="churn%2"))
    assert said(tried, "experiment:churn%2") == ["slow"]
    assert said(tried, "experiment:churn") == []


def test_what_was_said_of_a_run_goes_with_it(tried: LocalBackend, clock: ManualClock) -> None:
    tried.call(commenting.comment_run, CommentRun(run="one", text="@bob"))
    tried.call(runs.delete, runs.OneRun(run="one"))
    assert said(tried, "run:one") == ["@bob"]
    clock.advance(timedelta(days=1))
    tried.call(runs.collect, runs.Collect(older_than=60))
    assert said(tried, "run:one") == []
