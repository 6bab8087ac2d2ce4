"""A card is read, edited by people, and handed on as one file."""

import pytest
from tests.models.conftest import Adds, Trains

from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound
from setpoint.events import store as events
from setpoint.models.cards import service


def test_words_are_edited_and_what_they_were_is_on_record(
    backend: LocalBackend, train: Trains
) -> None:
    train(card="For passengers.")
    write = service.WriteCard(model="late", number=1, words="For *crews*.")
    assert "For *crews*." in backend.call(service.write, write).markdown
    backend.call(service.write, write)
    with backend.engine.begin() as conn:
        told = events.since(conn, kind="model.card_written")
    assert [each.detail for each in told] == [{"was": "For passengers."}]
    with pytest.raises(Invalid):
        backend.call(service.write, service.WriteCard(model="late", number=1, words="x" * 100_001))
    with pytest.raises(NotFound):
        backend.call(service.write, service.WriteCard(model="late", number=2, words=""))


def test_the_file_to_hand_on_needs_nothing_else_and_runs_nothing(
    backend: LocalBackend, add: Adds
) -> None:
    add("a<b", description="<script>alert(1)</script> [x](javascript:alert(1))")
    card = backend.call(service.show, service.ShowCard(model="a<b", number=1, html=True))
    assert card.html.startswith("<!doctype html>")
    assert "<title>a&lt;b, version 1</title>" in card.html
    assert "<table>" in card.html
    assert "<script>" not in card.html
    assert 'href="javascript' not in card.html
    assert "http" not in card.html.replace("s3://", "")
