"""Too many connections: those that nobody uses make room; where there are none, none is taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from tests.load.wire import infer

from setpoint.serve import guarding
from setpoint.serve.lane import lane

from .conftest import Served
from .made import live

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(served: Served, most: int) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    protocol = lane(served.app.answer_now, served.app.after, 0.5)
    protocol.most = most
    config = uvicorn.Config(
        served.app, port=0, http=protocol, ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], server
    finally:
        server.force_exit = server.should_exit = True
        await running


async def asked(connection: Connection) -> bytes:
    reader, writer = connection
    writer.write(infer())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    await reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
    return head[9:12]


async def hung_up(connection: Connection) -> bool:
    try:
        return await asyncio.wait_for(connection[0].read(1), 0.05) == b""
    except TimeoutError:
        return False


def test_connections_that_nobody_uses_make_room_for_others(served: Served) -> None:
    served.deploy(live())

    async def story() -> None:
        async with serving(served, 8) as (port, server):
            used = await asyncio.open_connection("127.0.0.1", port)
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(7)]
            guarding.look(server.server_state.connections, 1.0)
            assert await asked(used) == b"200"
            for _ in range(5):
                new = await asyncio.open_connection("127.0.0.1", port)
                assert await asked(new) == b"200"
                new[1].close()
                await new[1].wait_closed()
            assert await asked(used) == b"200", "what is used is kept"
            assert any([await hung_up(one) for one in idle])
            for _, writer in (used, *idle):
                writer.close()

    asyncio.run(story())


def test_where_all_are_busy_a_newcomer_is_told_so(served: Served) -> None:
    served.deploy(live())

    async def story() -> None:
        async with serving(served, 4) as (port, server):
            busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            for _, writer in busy:
                writer.write(infer()[:-3])
            connections: Any = server.server_state.connections
            while sum(not one.is_idle() for one in connections) < 4:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)
            new = await asyncio.open_connection("127.0.0.1", port)
            assert await asked(new) == b"503"
            new[1].close()
            for reader, writer in busy:
                writer.write(infer()[-3:])
                assert (await asyncio.wait_for(reader.readline(), 5))[9:12] == b"200"
                writer.close()

    asyncio.run(story())


def test_a_client_that_brings_nothing_is_told_and_ended_and_one_that_waits_is_not(
    served: Served,
) -> None:
    served.deploy(live())

    async def story() -> None:
        async with serving(served, 40) as (port, server):
            half = await asyncio.open_connection("127.0.0.1", port)
            idle = await asyncio.open_connection("127.0.0.1", port)
            half[1].write(infer()[:-3])
            await asyncio.sleep(0.05)
            connections = server.server_state.connections
            for _ in range(4):
                guarding.look(connections, 0.2)
            assert (await asyncio.wait_for(half[0].read(), 5)).startswith(b"HTTP/1.1 408")
            assert await asked(idle) == b"200"
            guarding.look(connections, 70.0)
            guarding.look(connections, 70.0)
            assert await asked(idle) == b"200", "it asked before the first of them"
            guarding.look(connections, 0.1)
            guarding.look(connections, 76.0)
            assert await asyncio.wait_for(idle[0].read(), 5) == b""
            for _, writer in (half, idle):
                writer.close()

    asyncio.run(story())
