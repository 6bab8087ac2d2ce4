from datetime import timedelta

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.reports.service import (
    LONGEST,
    DeleteReport,
    DeleteView,
    ListReports,
    ListViews,
    SaveReport,
    SaveView,
    ShowReport,
    delete,
    delete_view,
    ls,
    save,
    save_view,
    show,
    views,
)


def test_a_report_is_written_changed_and_removed(backend: LocalBackend, clock: ManualClock) -> None:
    first = backend.call(save, SaveReport(title="  Which  rate? ", text="# 0.1 wins"))
    assert (first.title, first.edition, first.actor) == ("Which rate?", 1, "ada")
    clock.advance(timedelta(minutes=1))
    second = backend.call(
        save, SaveReport(id=first.id, edition=1, title="Which rate?", text="0.2 does")
    )
    assert (second.edition, second.created_at) == (2, first.created_at)
    assert backend.call(show, ShowReport(id=first.id)) == second
    backend.call(delete, DeleteReport(id=first.id))
    with pytest.raises(NotFound):
        backend.call(show, ShowReport(id=first.id))


def test_what_another_wrote_is_never_overwritten(backend: LocalBackend) -> None:
    first = backend.call(save, SaveReport(title="One", text="a"))
    change = SaveReport(id=first.id, edition=1, title="One", text="b")
    backend.call(save, change)
    with pytest.raises(Conflict, match="changed the report 'One'"):
        backend.call(save, change)
    assert backend.call(show, ShowReport(id=first.id)).text == "b"


def test_the_report_changed_last_comes_first(backend: LocalBackend, clock: ManualClock) -> None:
    old = backend.call(save, SaveReport(title="Old", text=""))
    clock.advance(timedelta(seconds=1))
    backend.call(save, SaveReport(title="New", text=""))
    clock.advance(timedelta(seconds=1))
    backend.call(save, SaveReport(id=old.id, edition=1, title="Old again", text=""))
    found = backend.call(ls, ListReports()).reports
    assert [report.title for report in found] == ["Old again", "New"]


def test_what_is_too_long_or_nameless_is_refused(backend: LocalBackend) -> None:
    for title, text in (("", "a"), (" ", "a"), ("x" * 101, "a"), ("x", "a" * (LONGEST + 1))):
        with pytest.raises(Invalid):
            backend.call(save, SaveReport(title=title, text=text))
    assert backend.call(ls, ListReports()).reports == []


def test_a_view_is_kept_under_its_name_until_it_is_removed(backend: LocalBackend) -> None:
    backend.call(save_view, SaveView(name="good", query="q=metrics.auc+%3E+0.7"))
    backend.call(save_view, SaveView(name="bad", query="q=metrics.auc+%3C+0.5"))
    backend.call(save_view, SaveView(name="good", query="q=metrics.auc+%3E+0.8"))
    found = backend.call(views, ListViews()).views
    assert [(view.name, view.query) for view in found] == [
        ("bad", "q=metrics.auc+%3C+0.5"),
        ("good", "q=metrics.auc+%3E+0.8"),
    ]
    assert [v.name for v in backend.call(delete_view, DeleteView(name="bad")).views] == ["good"]
    with pytest.raises(NotFound):
        backend.call(delete_view, DeleteView(name="bad"))
