"""The short way must be indistinguishable from uvicorn's: asked over real connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve.lane import lane, read_head

from .conftest import Served
from .made import canary, live

pytestmark = pytest.mark.filterwarnings("error")

HEAD = "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {}{}\r\n\r\n"
BODY = json.dumps(
    {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}],
        "parameters": {"ids": ["row"]},
    }
).encode()


def request(body: bytes = BODY, more: str = "") -> bytes:
    return HEAD.format(len(body), more).encode() + body


@pytest.mark.parametrize(
    "more",
    [
        "\r\nTransfer-Encoding: chunked",
        "\r\nExpect: 100-continue",
        "\r\nConnection: close",
        "\r\nContent-Encoding: gzip",
        "\r\nOrigin: https://example.org",
        "\r\nInference-Header-Content-Length: 6",
        "\r\nInference-Header-Content-Length: 0",
        "\r\nInference-Header-Content-Length: -1",
        "\r\nInference-Header-Content-Length: 2\r\nInference-Header-Content-Length: 2",
        "\r\nContent-Length: 5",
        "\r\n folded: header",
        "\r\nBad Header: x",
        "\r\nHost : x",
        "\r\nHost: a\nb",
    ],
)
def test_a_head_that_is_not_plain_goes_the_long_way(more: str) -> None:
    assert read_head(HEAD.format(5, more).encode()[:-4]) is None


@pytest.mark.parametrize(
    "first",
    [
        "POST /v2/models/m/infer HTTP/1.0",
        "POST /v2/models/m/labels HTTP/1.1",
        "POST /v2/models/m/infer?x=1 HTTP/1.1",
        "POST /v2/models/a/b/infer HTTP/1.1",
        "POST /v2/models//infer HTTP/1.1",
        "GET /v2/models/m/infer HTTP/1.1",
        "POST  /v2/models/m/infer HTTP/1.1",
    ],
)
def test_anything_but_infer_goes_the_long_way(first: str) -> None:
    assert read_head(f"{first}\r\nContent-Length: 5".encode()) is None


def test_a_plain_head_is_read() -> None:
    more = "\r\nConnection: Keep-Alive\r\nUser-Agent: x/1 (y)\r\nAccept: */*"
    assert read_head(HEAD.format(12, more).encode()[:-4]) == ("m", 12, 0)
    assert read_head(b"POST /v2/models/a%20b/infer HTTP/1.1\r\ncontent-length:3") == ("a b", 3, 0)
    assert read_head(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(head: bytes) -> None:
    for start in (b"", b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 5\r\n"):
        found = read_head(start + head)
        assert found is None or found[1] >= 0


Talk = Callable[[list[bytes]], Awaitable[list[tuple[int, bytes]]]]


@asynccontextmanager
async def talking(served: Served) -> AsyncIterator[Talk]:
    """Serve on a free port; the function sends pieces on one connection, reads answers."""
    config = uvicorn.Config(
        served.app,
        port=0,
        http=lane(served.app.infer_now, served.app.after),
        ws="none",
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def talk(pieces: list[bytes]) -> list[tuple[int, bytes]]:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        answers = []
        for _ in range(b"".join(pieces).count(b"POST ")):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.append((int(head[9:12]), await reader.readexactly(length)))
        return answers

    try:
        yield talk
    finally:
        writer.close()
        server.should_exit = True
        await serving


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "pieces",
    [
        [request()],
        [request()] * 3,
        [request()[:-40], request()[-40:]],
        [request()[: -len(BODY)], BODY],
        [request()[: -len(BODY)], BODY[:10], BODY[10:]],
        [request()[:7], request()[7:]],
        [request() + request()],
        [request() + request()[:30], request()[30:]],
        [request(more="\r\nX-Other: 1"), request(), request(more="\r\nX-Other: 1")],
        [bytes([byte]) for byte in request()[:30]] + [request()[30:]],
    ],
)
def test_a_request_is_answered_the_same_however_it_arrives(
    served: Served, pieces: list[bytes]
) -> None:
    served.deploy(live(), canary(weight=0.0))

    async def go() -> list[tuple[int, bytes]]:
        async with talking(served) as talk:
            return await talk(pieces)

    answers = asyncio.run(go())
    assert {status for status, _ in answers} == {200}
    assert all(json.loads(body)["outputs"][0]["data"] == [3.0] for _, body in answers)
    served.sync()
    assert len(served.logged()) == 2 * len(answers)  # with the canary's scores of each


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_errors_are_answered_on_the_short_way_too(served: Served) -> None:
    served.deploy(live())
    missing = b"POST /v2/models/x/infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"

    async def go() -> list[tuple[int, bytes]]:
        async with talking(served) as talk:
            return await talk([request(b"{}"), missing, request()])

    wrong, unknown, fine = asyncio.run(go())
    assert (wrong[0], unknown[0], fine[0]) == (400, 404, 200)
    assert b"missing required field" in wrong[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_slow_model_is_asked_off_the_loop(served: Served) -> None:
    served.deploy(live())
    endpoint = served.endpoints.get("m")
    assert endpoint is not None
    for _ in range(200):
        endpoint.took(10_000_000)
    assert served.app.infer_now("m", BODY) is None

    async def go() -> list[tuple[int, bytes]]:
        async with talking(served) as talk:
            return await talk([request()])

    assert asyncio.run(go())[0][0] == 200
