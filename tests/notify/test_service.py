"""Channels: what they may be, and that their secrets stay secret."""

import msgspec
import pytest

from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.events import store as events
from setpoint.notify import service
from setpoint.notify.entities import Mail

MAIL = Mail(to=["a@example.com"], sender="b@example.com")


def add(backend: LocalBackend, **fields: object) -> service.Added:
    values: dict[str, object] = {
        "name": "ops",
        "kind": "webhook",
        "url": "https://example.com/hook",
        "events": ["*"],
    }
    return backend.call(service.add, service.AddChannel(**(values | fields)))  # type: ignore[arg-type]


def test_a_secret_is_shown_once_and_is_nowhere_else(backend: LocalBackend) -> None:
    added = add(backend)
    assert added.secret.startswith("whsec_")
    first, second = "hunter2-hunter2", "hunter3-hunter3"
    assert add(backend, name="given", secret=first).secret == ""
    backend.call(service.update, service.UpdateChannel(channel="given", secret=second))
    with backend.engine.begin() as conn:
        record = msgspec.json.encode(events.since(conn)).decode()
    shown = msgspec.json.encode(backend.call(service.ls, service.ListChannels())).decode()
    for secret in (added.secret, "hunter2", "hunter3"):
        assert secret not in record + shown
    assert "example.com" not in record


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"kind": "pigeon"},
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "https://[::"},
        {"url": "https://example.com:99999/"},
        {"url": "https://user:secret@example.com"},
        {"events": []},
        {"events": ["rel*ease"]},
        {"events": ["a b"]},
        {"secret": "whsec_not base64"},
        {"mail": MAIL},
        {"kind": "email", "url": "smtp://example.com"},
        {"kind": "email", "url": "smtp://example.com", "mail": Mail(to=[], sender="a@b")},
        {
            "kind": "email",
            "url": "smtp://example.com",
            "mail": Mail(to=["a@b\nBcc: c@d"], sender="a@b"),
        },
    ],
)
def test_what_cannot_be_a_channel_is_refused(
    backend: LocalBackend, fields: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        add(backend, **fields)
    assert backend.call(service.ls, service.ListChannels()).channels == []


def test_a_channel_changes_only_in_what_is_given(backend: LocalBackend) -> None:
    was = add(backend).channel
    cmd = service.UpdateChannel(channel="ops", events=["b.*", "a.b", "a.b"], description="d")
    now = backend.call(service.update, cmd)
    expected = msgspec.structs.replace(
        was, events=["a.b", "b.*"], description="d", updated_at=now.updated_at
    )
    assert now == expected


def test_the_address_of_a_slack_hook_is_a_secret_too(backend: LocalBackend) -> None:
    url = "https://hooks.example.com/services/T0/B0/key"
    added = add(backend, kind="slack", url=url)
    assert added.channel.url == "https://hooks.example.com/…"
    shown = backend.call(service.show, service.OneChannel(channel="ops"))
    assert shown == added.channel
