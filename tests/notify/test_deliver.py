"""Events reach their channels at least once, whatever fails on the way."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from tests.notify.receivers import Letters, Receiver, mail_server, receiver

from setpoint.config import environment
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.events.store import record
from setpoint.notify import service
from setpoint.notify.deliver import Deliverer, trial
from setpoint.notify.entities import Channel, Mail, State

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of the standard's documents


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as it:
        yield it


def tell(backend: LocalBackend, kind: str = "release.promoted", **detail: object) -> None:
    with backend.engine.begin() as conn:
        record(backend.context(conn), kind, "release:rel_1", **detail)


def hook(backend: LocalBackend, url: str, *events: str, secret: str | None = None) -> Channel:
    cmd = service.AddChannel(
        name="ops", kind="webhook", url=url, events=list(events or ("*",)), secret=secret
    )
    return backend.call(service.add, cmd).channel


def log(backend: LocalBackend) -> list[tuple[str, int]]:
    found = backend.call(service.log, service.ListDeliveries()).deliveries
    return [(each.state, each.attempts) for each in found]


def test_a_webhook_gets_what_it_asked_for_signed_as_the_standard_says(
    backend: LocalBackend, there: Receiver
) -> None:
    tell(backend, "release.started")  # before anybody asked
    hook(backend, there.url, "release.*", secret=SECRET)
    tell(backend, "release.promoted", version=3, reason="Grüße 🛫")
    tell(backend, "alarm.opened")
    assert Deliverer(backend).once() == 1
    (post,) = there.posts
    assert post.path == "/hook?a=1"
    assert json.loads(post.body) == {
        "type": "release.promoted",
        "timestamp": "2026-01-01T12:00:00Z",
        "data": {
            "seq": 3,
            "actor": "ada",
            "subject": "release:rel_1",
            "detail": {"version": 3, "reason": "Grüße 🛫"},
        },
    }
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.{post.body}"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mine = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    assert post.headers["webhook-signature"] == f"v1,{mine}"
    assert log(backend) == [(State.DELIVERED, 1)]
    assert Deliverer(backend).once() == 0


def test_a_failed_delivery_is_tried_again_with_the_same_id_and_body(
    backend: LocalBackend, clock: ManualClock, there: Receiver
) -> None:
    hook(backend, there.url)
    tell(backend)
    there.answers = [(503, {}), (429, {"retry-after": "3600"})]
    deliverer = Deliverer(backend, seed=1)
    deliverer.once()
    assert deliverer.once() == 0
    clock.advance(timedelta(seconds=5))
    deliverer.once()
    clock.advance(timedelta(seconds=3599))
    assert deliverer.once() == 0
    clock.advance(timedelta(seconds=1))
    deliverer.once()
    assert len(there.posts) == 3
    assert len({(each.headers["webhook-id"], each.body) for each in there.posts}) == 1
    (found,) = backend.call(service.log, service.ListDeliveries()).deliveries
    told = backend.call(service.delivery, service.OneDelivery(delivery=found.id))
    assert [(each.status, bool(each.error)) for each in told.attempts] == [
        (503, True),
        (429, True),
        (204, False),
    ]
    assert told.delivery.state is State.DELIVERED


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_what_a_receiver_refuses_for_good_is_not_tried_again(
    backend: LocalBackend, clock: ManualClock, there: Receiver, status: int
) -> None:
    hook(backend, there.url)
    tell(backend)
    there.answers = [(status, {"location": "http://169.254.169.254/"})]
    Deliverer(backend).once()
    clock.advance(timedelta(days=1))
    assert Deliverer(backend).once() == 0
    assert log(backend) == [(State.FAILED, 1)]
    (found,) = backend.call(service.log, service.ListDeliveries()).deliveries
    backend.call(service.redeliver, service.OneDelivery(delivery=found.id))
    assert Deliverer(backend).once() == 1
    assert log(backend) == [(State.DELIVERED, 2)]


def test_a_receiver_that_is_away_is_given_up_after_hours(
    backend: LocalBackend, clock: ManualClock
) -> None:
    hook(backend, "http://127.0.0.1:1/")
    tell(backend)
    deliverer, began = Deliverer(backend), clock.now()
    deliverer.once()
    (found,) = backend.call(service.log, service.ListDeliveries()).deliveries
    while found.state is State.WAITING:
        clock.set(found.next_at)
        assert deliverer.once() == 1
        (found,) = backend.call(service.log, service.ListDeliveries()).deliveries
    assert (found.state, found.attempts) == (State.FAILED, 14)
    assert timedelta(hours=4) < clock.now() - began < timedelta(hours=9)


def test_one_that_fails_does_not_hold_up_another(backend: LocalBackend, there: Receiver) -> None:
    hook(backend, "http://127.0.0.1:1/")
    hook(backend, there.url, "release.*")
    for number in range(5):
        tell(backend, version=number)
    Deliverer(backend).once()
    said = [json.loads(each.body)["data"]["detail"]["version"] for each in there.posts]
    assert said == [0, 1, 2, 3, 4]


def test_an_event_of_a_transaction_that_fails_is_told_to_nobody(
    backend: LocalBackend, there: Receiver
) -> None:
    hook(backend, there.url, "release.*")
    with backend.engine.connect() as conn:
        record(backend.context(conn), "release.promoted", "release:rel_1")
        conn.rollback()
    assert Deliverer(backend).once() == 0


def test_two_deliverers_send_each_event_once(backend: LocalBackend, there: Receiver) -> None:
    hook(backend, there.url, "release.*")
    for number in range(40):
        tell(backend, version=number)
    threads = [threading.Thread(target=Deliverer(backend).once) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Deliverer(backend).once()
    said = [json.loads(each.body)["data"]["detail"]["version"] for each in there.posts]
    assert sorted(said) == list(range(40))


_SENDS = """
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.notify.deliver import Deliverer
Deliverer(open_local(settings())).once()
"""


def test_a_deliverer_killed_while_it_sends_loses_nothing(
    backend: LocalBackend, clock: ManualClock, there: Receiver
) -> None:
    hook(backend, there.url, "release.*")
    tell(backend)
    there.hold = threading.Event()
    env = {**environment(backend.settings), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen([sys.executable, "-c", _SENDS], env=env)
    assert there.came.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there.hold.set()
    clock.set(clock.now() + timedelta(days=3650))  # the killed one's claim is over
    assert Deliverer(backend).once() == 1
    assert len({each.headers["webhook-id"] for each in there.posts}) == 1
    assert len(there.posts) == 2
    assert log(backend) == [(State.DELIVERED, 1)]


def test_a_running_deliverer_delivers_and_stops_when_told(
    backend: LocalBackend, there: Receiver
) -> None:
    hook(backend, there.url, "release.*")
    stopping = threading.Event()
    thread = threading.Thread(target=Deliverer(backend).run, args=(stopping,))
    thread.start()
    tell(backend)
    assert there.came.wait(20)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert log(backend) == [(State.DELIVERED, 1)]


def test_slack_gets_one_text_and_no_markup_of_ours(backend: LocalBackend, there: Receiver) -> None:
    cmd = service.AddChannel(name="chat", kind="slack", url=there.url, events=["release.*"])
    backend.call(service.add, cmd)
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        record(ctx, "release.promoted", "release:<a&b>", reason="better", version=3, nothing=None)
    Deliverer(backend).once()
    assert json.loads(there.posts[0].body) == {
        "text": "*release.promoted* release:&lt;a&amp;b&gt; by ada\n• reason: better\n• version: 3"
    }
    assert "webhook-signature" not in there.posts[0].headers


def letters_to(backend: LocalBackend, url: str) -> None:
    mail = Mail(to=["ops@example.com", "ada@example.com"], sender="setpoint@example.com")
    cmd = service.AddChannel(name="post", kind="email", url=url, events=["release.*"], mail=mail)
    backend.call(service.add, cmd)


def test_a_letter_reaches_a_real_mail_server(backend: LocalBackend) -> None:
    letters = Letters()
    with mail_server(letters) as url:
        letters_to(backend, url)
        tell(backend, reason="Grüße 🛫\nline two")
        Deliverer(backend).once()
    (envelope,) = letters.found
    assert envelope.rcpt_tos == ["ops@example.com", "ada@example.com"]
    letter = message_from_bytes(envelope.content, policy=policy.default)
    assert letter["subject"] == "Setpoint: release.promoted release:rel_1"
    assert "reason: Grüße 🛫" in letter.get_content()
    assert log(backend) == [(State.DELIVERED, 1)]


@pytest.mark.parametrize(
    ("answer", "state"), [("451 later", State.WAITING), ("550 no such user", State.FAILED)]
)
def test_a_mail_server_that_refuses_says_whether_to_try_again(
    backend: LocalBackend, answer: str, state: State
) -> None:
    letters = Letters()
    letters.refuse = answer
    with mail_server(letters) as url:
        letters_to(backend, url)
        tell(backend)
        Deliverer(backend).once()
    assert log(backend) == [(state, 1)]


def test_addresses_where_clouds_keep_credentials_are_not_reached(backend: LocalBackend) -> None:
    channel = hook(backend, "http://[::ffff:224.0.0.1]:80/")
    outcome = trial(backend, channel.id)
    assert outcome.error
    assert outcome.status is None


def test_a_trial_is_sent_at_once_and_logged(backend: LocalBackend, there: Receiver) -> None:
    channel = hook(backend, there.url, "nothing.ever")
    assert trial(backend, "ops").status == 204
    assert json.loads(there.posts[0].body)["type"] == "channel.tried"
    (found,) = backend.call(service.log, service.ListDeliveries(channel=channel.id)).deliveries
    assert (found.seq, found.state) == (0, State.DELIVERED)


def test_a_channel_switched_off_is_not_told_and_does_not_catch_up(
    backend: LocalBackend, there: Receiver
) -> None:
    channel = hook(backend, there.url, "release.*")
    switch = service.UpdateChannel(channel=channel.id, enabled=False)
    backend.call(service.update, switch)
    tell(backend, version=1)
    Deliverer(backend).once()
    backend.call(service.update, service.UpdateChannel(channel=channel.id, enabled=True))
    tell(backend, version=2)
    Deliverer(backend).once()
    assert [json.loads(each.body)["data"]["detail"] for each in there.posts] == [{"version": 2}]


def test_a_removed_channel_leaves_nothing_behind(backend: LocalBackend, there: Receiver) -> None:
    channel = hook(backend, there.url, "release.*")
    tell(backend)
    Deliverer(backend).once()
    tell(backend)
    Deliverer(backend).promise()
    backend.call(service.rm, service.OneChannel(channel="ops"))
    assert log(backend) == []
    assert Deliverer(backend).once() == 0
    with pytest.raises(NotFound):
        backend.call(service.show, service.OneChannel(channel=channel.id))
