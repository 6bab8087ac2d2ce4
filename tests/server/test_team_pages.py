"""Pages of a team: what waits for whom, who did what, which channels are told."""

import json

import pytest
from tests.notify.receivers import receiver
from tests.server import registered
from tests.server.registered import MODEL
from tests.server.test_approval import waiting
from tests.server.test_pages import check_page
from tests.server.web import ask, send

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.notify import service as notify


@pytest.fixture
def used(backend: LocalBackend, clock: ManualClock) -> LocalBackend:
    """A store with a model that people decide and talk about."""
    registered.fill(backend, clock)
    return backend


def test_what_waits_is_told_by_role_and_in_the_navigation(used: LocalBackend, empty: str) -> None:
    waiting(used, "risk", "owner")
    page = ask(empty, "/inbox")
    check_page(page)
    assert "2 approvals wait for an answer" in page.text
    assert '2<span class="visually-hidden"> waiting</span>' in page.text
    risk = ask(empty, "/inbox?role=risk").text
    assert "1 approval waits for an answer of risk" in risk
    assert "new inputs" not in risk
    asked = json.loads(ask(empty, "/inbox?role=data+protection&format=json&table=approvals").body)
    assert [(each["what"], each["asked_by"]) for each in asked] == [(f"{MODEL}/2", "ada")]


def test_mentions_are_found_by_person(used: LocalBackend, empty: str) -> None:
    mine = ask(empty, "/inbox").text
    assert "<strong>Mondays</strong>" in mine
    assert "late payments" not in mine
    bobs = ask(empty, "/inbox?person=bob")
    check_page(bobs)
    assert "<em>late payments</em>" in bobs.text
    assert "Nobody has mentioned @eve" in ask(empty, "/inbox?person=eve").text


def test_activity_is_told_in_sentences_and_narrowed(used: LocalBackend, empty: str) -> None:
    page = ask(empty, "/activity")
    check_page(page)
    for told in ("pointed the alias champion at", "asked data protection to approve", "ran <a"):
        assert told in page.text, told
    assert "<strong>Mondays</strong>" in page.text
    bobs = json.loads(ask(empty, "/activity?person=bob&format=json").body)
    assert {each["actor"] for each in bobs} == {"bob"}
    of_run = json.loads(ask(empty, f"/activity?run={registered.RUN}&format=json").body)
    assert {each["subject"] for each in of_run} == {f"run:{registered.RUN}"}
    waiting(used, "risk")
    of_model = json.loads(ask(empty, "/activity?model=m&format=json").body)
    kinds = {each["kind"] for each in of_model}
    assert {"model.registered", "release.started"} <= kinds
    assert not any(MODEL in each["subject"] for each in of_model)


def test_what_was_taken_back_is_not_told(used: LocalBackend, empty: str) -> None:
    send(empty, "/comments", {"subject": f"model:{MODEL}", "text": "too much said"})
    assert "too much said" in ask(empty, "/activity").text
    comment = ask(empty, "/activity?format=json").body
    event = next(e for e in json.loads(comment) if e["kind"] == "model.commented")
    send(empty, f"/comments/{event['detail']['comment']}", {"do": "drop"})
    assert "too much said" not in ask(empty, "/activity").text


def test_a_channel_is_added_on_the_page_and_its_secret_shown_once(empty: str) -> None:
    hook = {"name": "ops", "kind": "webhook", "url": "https://example.com/h", "events": "model.*"}
    page = send(empty, "/channels", hook)
    check_page(page)
    assert "whsec_" in page.text
    assert "told of <code>model.*</code>" in page.text
    listed = ask(empty, "/channels")
    assert "whsec_" not in listed.text
    assert "ops" in listed.text
    letter = {"name": "post", "kind": "email", "url": "smtp://mail.example.com", "events": "*"}
    page = send(empty, "/channels", letter | {"to": "a@b.org, c@d.org", "sender": "s@b.org"})
    assert "from s@b.org to a@b.org, c@d.org" in page.text
    for wrong in ({"url": "ftp://x"}, {"kind": "pigeon"}, {"name": ""}, {"events": ""}):
        assert send(empty, "/channels", hook | {"name": "other"} | wrong).status == 400


def test_a_channel_is_tried_turned_off_and_removed_on_its_page(
    used: LocalBackend, empty: str
) -> None:
    check_page(ask(empty, "/channels"))
    with receiver() as somebody:
        add = notify.AddChannel(name="ops", kind="webhook", url=somebody.url, events=["model.*"])
        path = f"/channels/{used.call(notify.add, add).channel.id}"
        assert send(empty, path, {"do": "test"}).headers["location"] == path
        (post,) = somebody.posts
    assert "channel.tried" in post.body
    page = ask(empty, path)
    check_page(page)
    check_page(ask(empty, "/channels"))
    assert "delivered" in page.text
    send(empty, path, {"do": "off"})
    assert "told of nothing" in ask(empty, path).text
    send(empty, path, {"do": "on"})
    assert send(empty, path, {"do": "paint"}).status == 400
    assert send(empty, path, {"do": "remove"}).headers["location"] == "/channels"
    assert ask(empty, path).status == 404


def test_a_delivery_shows_every_attempt_and_is_sent_again(used: LocalBackend, empty: str) -> None:
    channel = registered.tell(used)
    assert "What was last sent to ops has not arrived" in ask(empty, "/channels").text
    (delivery,) = used.call(notify.log, notify.ListDeliveries(channel=channel.id)).deliveries
    path = f"/channels/{channel.id}/{delivery.id}"
    page = ask(empty, path)
    check_page(page)
    assert "is on its way to ops" in page.text
    assert "&#34;type&#34;: &#34;model.tagged&#34;" in page.text
    assert send(empty, path, {}).headers["location"] == path
    (again,) = used.call(notify.log, notify.ListDeliveries(channel=channel.id)).deliveries
    assert again.next_at == used.clock.now()
    assert ask(empty, f"/channels/{channel.id}?state=odd").status == 400
    assert "None is failed" in ask(empty, f"/channels/{channel.id}?state=failed").text
