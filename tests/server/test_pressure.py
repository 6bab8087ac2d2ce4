"""Back-pressure: who comes when there is no room is told when to come again."""

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from setpoint.server.pressure import Gate


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.answer = asyncio.Event()

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        self.entered.release()
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def scope(method: str, size: int | None) -> dict[str, Any]:
    headers = [] if size is None else [(b"content-length", str(size).encode())]
    return {"type": "http", "method": method, "headers": headers, "path": "/"}


async def ask(gate: Gate, method: str, size: int | None) -> tuple[int, dict[bytes, bytes]]:
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await gate(scope(method, size), receive, send)
    return told[0]["status"], dict(told[0]["headers"])


def test_a_request_without_room_is_told_when_to_come_again_and_is_then_taken() -> None:
    async def story() -> None:
        slow = Slow()
        gate = Gate(slow, room=1_000_000)
        first = asyncio.create_task(ask(gate, "POST", 900_000))
        await slow.entered.acquire()
        status, headers = await ask(gate, "POST", 200_000)
        assert status == 503
        assert headers[b"retry-after"] == b"1"
        slow.answer.set()
        assert (await first)[0] == 200
        assert (await ask(gate, "POST", 200_000))[0] == 200

    asyncio.run(asyncio.wait_for(story(), 60))


def test_reading_needs_no_room_and_one_request_always_passes() -> None:
    async def story() -> None:
        slow = Slow()
        gate = Gate(slow, room=1_000_000)
        large = asyncio.create_task(ask(gate, "POST", 5_000_000))
        await slow.entered.acquire()
        reading = asyncio.create_task(ask(gate, "GET", None))
        await slow.entered.acquire()  # it got in
        assert (await ask(gate, "POST", 1))[0] == 503
        slow.answer.set()
        assert (await large)[0] == (await reading)[0] == 200

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_file_counts_by_the_pieces_it_comes_in_and_an_untold_length_as_much() -> None:
    async def story() -> None:
        slow = Slow()
        gate = Gate(slow, room=14_000_000)
        files = [asyncio.create_task(ask(gate, "PUT", 5_000_000_000)) for _ in range(3)]
        for _ in files:
            await slow.entered.acquire()
        assert (await ask(gate, "POST", None))[0] == 503
        slow.answer.set()
        assert {(await each)[0] for each in files} == {200}

    asyncio.run(asyncio.wait_for(story(), 60))
