import asyncio
import contextlib
import http.client
import json
from urllib.parse import urlsplit

import pytest

from setpoint.db.local import LocalBackend
from setpoint.events.store import head, record
from setpoint.runs import service
from setpoint.runs.commands import Finish, Log, Start
from setpoint.runs.entities import Point
from setpoint.server import live
from setpoint.server.live import Growth, News, stream


def _add(backend: LocalBackend, kind: str) -> None:
    with backend.engine.begin() as conn:
        record(backend.context(conn), kind, "model:churn", note="x")


async def _take(backend: LocalBackend, after: int | None, count: int) -> list[bytes]:
    found = []
    async with contextlib.aclosing(stream(backend, after, look=0.01, heartbeat=0.03)) as frames:
        async for frame in frames:
            found.append(frame)
            if len(found) == count:
                break
    return found


def test_events_after_the_last_seen_are_sent_once_and_in_order(
    backend: LocalBackend,
) -> None:
    for kind in ("a.b", "c.d", "e.f"):
        _add(backend, kind)
    with backend.engine.begin() as conn:
        newest = head(conn)
    _, frames = asyncio.run(_take(backend, newest - 2, 2))
    events = [json.loads(line[6:]) for line in frames.splitlines() if line.startswith(b"data")]
    assert [event["kind"] for event in events] == ["c.d", "e.f"]
    assert frames.count(b"id: ") == 2


def test_an_event_that_becomes_visible_late_is_sent_all_the_same(backend: LocalBackend) -> None:
    if backend.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: what is recorded first is seen first")
    news = News(backend, None)
    with backend.engine.begin() as first:
        record(backend.context(first), "first.recorded", "a:b")
        _add(backend, "second.seen")
        begun_between = News(backend, None)
        assert [event.kind for event in news.look()] == ["second.seen"]
        assert news.look() == []
    assert [event.kind for event in news.look()] == ["first.recorded"]
    assert [event.kind for event in begun_between.look()] == ["first.recorded"]
    assert news.look() == begun_between.look() == []


def test_numbers_that_nobody_gets_are_given_up(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = News(backend, None)
    with contextlib.suppress(RuntimeError), backend.engine.begin() as conn:
        record(backend.context(conn), "never.was", "a:b")
        raise RuntimeError
    _add(backend, "a.b")
    assert [event.kind for event in news.look()] == ["a.b"]
    for _ in range(live._PATIENCE + 1):
        assert news.look() == []
    assert news._passed == {}


def test_silence_is_broken_by_a_heartbeat(backend: LocalBackend) -> None:
    frames = asyncio.run(_take(backend, None, 2))
    assert frames[1].startswith(b"event: beat")


def test_a_browser_goes_on_after_the_last_event_it_saw(empty: str, backend: LocalBackend) -> None:
    _add(backend, "a.b")
    connection = http.client.HTTPConnection(urlsplit(empty).netloc, timeout=10)
    connection.request("GET", "/live", headers={"last-event-id": "0"})
    reply = connection.getresponse()
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [reply.readline() for _ in range(5)]
    reply.close()
    connection.close()
    assert b"event: change\n" in lines


def test_a_run_that_grows_is_told_of_with_its_state(backend: LocalBackend) -> None:
    backend.call(service.start, Start(experiment="churn", id="growing"))
    backend.call(service.log, Log(run="growing", points=[Point(name="loss", value=2.0)]))
    growth = Growth(backend, "growing")
    assert growth.look() == b""
    backend.call(service.log, Log(run="growing", points=[Point(name="loss", value=1.0, step=1)]))
    name, data = growth.look().decode().splitlines()[:2]
    assert name == "event: grown"
    assert json.loads(data[6:]) == {"status": "running", "metrics": ["loss"]}
    assert growth.look() == b""
    backend.call(service.finish, Finish(run="growing"))
    assert json.loads(growth.look().splitlines()[1][6:]) == {"status": "finished", "metrics": []}
    assert Growth(backend, "nobody").look() == b""


def test_what_grows_once_a_stream_has_begun_is_told(backend: LocalBackend) -> None:
    backend.call(service.start, Start(experiment="churn", id="growing"))
    backend.call(service.log, Log(run="growing", points=[Point(name="loss", value=2.0)]))
    more = Log(run="growing", points=[Point(name="loss", value=1.0, step=1)])

    async def told() -> bytes:
        async with contextlib.aclosing(stream(backend, None, "growing", look=0.01)) as frames:
            await anext(frames)
            backend.call(service.log, more)
            return await asyncio.wait_for(anext(frames), 5)

    assert asyncio.run(told()).startswith(b"event: grown\n")
