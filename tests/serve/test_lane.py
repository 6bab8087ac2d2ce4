"""The short way must be indistinguishable from uvicorn's: asked over real connections."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve import choosing
from setpoint.serve.endpoints import MANY_ROWS
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.lane import lane, read_head

from .conftest import Served
from .made import canary, live
from .test_arms import split

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
        "\r\nContent-Type: application/cloudevents+json",
        "\r\nContent-Type: a\r\nContent-Type: b",
        "\r\nX-Amzn-SageMaker-Target-Model: m",
        "\r\nSetpoint-Route: live",
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
        "POST /v1/models/m:explain HTTP/1.1",
        "POST /v1/models/m/versions/1:predict HTTP/1.1",
        "POST /models HTTP/1.1",
        "POST /models/m/ping HTTP/1.1",
        "POST /invocations?x=1 HTTP/1.1",
        "POST  /v2/models/m/infer HTTP/1.1",
    ],
)
def test_anything_but_infer_goes_the_long_way(first: str) -> None:
    assert read_head(f"{first}\r\nContent-Length: 5".encode()) is None


def test_a_plain_head_is_read() -> None:
    more = "\r\nConnection: Keep-Alive\r\nUser-Agent: x/1 (y)\r\nAccept: */*"
    found = read_head(HEAD.format(12, more).encode()[:-4])
    assert found is not None
    assert found[:4] == ("m", 12, 0, "/v2/models/m/infer")
    assert found.headers[b"user-agent"] == b"x/1 (y)"
    found = read_head(b"POST /v2/models/a%20b/infer HTTP/1.1\r\ncontent-length:3")
    assert found is not None
    assert found[:3] == ("a b", 3, 0)
    assert read_head(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(head: bytes) -> None:
    for start in (b"", b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 5\r\n"):
        found = read_head(start + head)
        assert found is None or found.length >= 0


Talk = Callable[[list[bytes]], Awaitable[list[tuple[int, bytes]]]]


@asynccontextmanager
async def talking(served: Served) -> AsyncIterator[Talk]:
    """Serve on a free port; the function sends pieces on one connection, reads answers."""
    config = uvicorn.Config(
        served.app,
        port=0,
        http=lane(served.app.answer_now, served.app.after),
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


SPLIT = {"columns": ["b", "a"], "data": [[2, 1], [4.5, 3]]}
ASKED: list[tuple[str, str, Any]] = [
    ("/v1/models/m:predict", "application/json", {"instances": [[1, 2], [3, 4.5]]}),
    ("/v1/models/m:predict", "", {"instances": [{"a": 1, "b": 2}]}),
    ("/v1/models/m:predict", "text/plain", {"inputs": {"a": [1, 3], "b": [2, 4]}}),
    ("/v1/models/m:predict", "", {"instances": []}),
    ("/v1/models/m:predict", "", {"instances": [[1]]}),
    ("/v1/models/m:predict", "", {}),
    ("/invocations", "application/json", {"dataframe_split": SPLIT}),
    ("/invocations", "", {"dataframe_records": [{"a": 1, "b": None}]}),
    ("/invocations", "text/csv", "a,b\n1,2\n3,4\n"),
    ("/invocations", "text/csv", "1,2,3\n"),
    ("/invocations", "application/jsonlines", "[1, 2]\n[3, 4]"),
    ("/invocations", "application/pdf", "%PDF"),
    ("/invocations", "application/json", {"inputs": [[1, 2]], "params": {}}),
    ("/models/m/invoke", "application/json", {"instances": [[1, 2]]}),
    ("/models/m/invocations", "application/json", {"instances": [[1, "x"]]}),
    ("/endpoints/m/invocations", "text/csv", "1,2\n"),
    ("/endpoints/m/invocations", "application/json", "{"),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("deployed", [(live(),), (live(), canary(weight=1.0))])
@pytest.mark.parametrize("accept", ["", "text/csv"])
@pytest.mark.parametrize(("path", "kind", "body"), ASKED)
def test_every_protocol_is_answered_the_same_on_either_way(
    served: Served, path: str, kind: str, body: Any, accept: str, deployed: Any
) -> None:
    served.deploy(*deployed)
    if isinstance(body, dict):
        names = {name: each[: rows_of(body)] for name, each in IDS.items()}
        body = {**body, "parameters": names}
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = [(b"content-type", kind.encode()), (b"accept", accept.encode())]
    short = served.short(path, raw, headers)
    served.sync()
    logged = [told(record) for record in served.logged()]
    status, answer, heads = served.exchange("POST", path, raw, headers)
    served.sync()
    assert short is not None
    assert (short[0], short[1]) == (status, answer)
    ours = {n: v for n, v in short[2].items() if isinstance(body, dict) or n not in MADE_UP}
    assert heads | ours == heads
    assert heads.keys() - short[2].keys() == {"content-length"}
    again = [told(record) for record in served.logged()][len(logged) :]
    if isinstance(body, dict):
        assert logged == again
    assert len(logged) == len(again)


IDS = {"ids": ["a", "b"], "keys": ["k", "l"]}
MADE_UP = {"setpoint-prediction-id"}


def rows_of(body: dict[str, Any]) -> int:
    """Return how many rows a body has, as far as it has any."""
    if isinstance(body.get("inputs"), dict):
        return len(body["inputs"]["a"])
    split = body.get("dataframe_split", {}).get("data")
    return len(split or body.get("dataframe_records") or body.get("instances") or [0])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/invocations", "application/x-parquet"),
        ("/v1/models/other:predict", ""),
        ("/models/other/invoke", ""),
    ],
)
def test_what_takes_long_or_is_not_there_is_left_to_the_long_way(
    served: Served, path: str, kind: str
) -> None:
    served.deploy(live())
    assert served.short(path, b"{}", [(b"content-type", kind.encode())]) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v1/models/m:predict", "/invocations"])
def test_many_rows_are_not_scored_where_others_wait(served: Served, path: str) -> None:
    served.deploy(live())
    rows = [[1, 2]] * MANY_ROWS

    def body(rows: list[list[int]]) -> bytes:
        tensor = {"name": "x", "datatype": "FP64", "shape": [len(rows), 2]}
        flat = [value for row in rows for value in row]
        asked = {"inputs": [{**tensor, "data": flat}]} if "v2" in path else {"instances": rows}
        return json.dumps(asked).encode()

    assert served.short(path, body(rows)) is None
    assert (served.short(path, body(rows[1:])) or [0])[0] == 200
    assert served.exchange("POST", path, body(rows))[0] == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_in_a_header_is_read_on_either_way(served: Served) -> None:
    served.deploy(live(), canary(weight=0.5))
    served.configure(EndpointSettings(key_header="user-agent"))
    asked = json.dumps({"instances": [[1, 2]]}).encode()
    for client in (b"a/1", b"b/2", b"c/3", b"d/4", b"e/5"):
        agent = [(b"user-agent", client)]
        versions = {
            found[2]["setpoint-model-version"]
            for found in (
                served.short("/v1/models/m:predict", asked, agent) or (0, b"", {}),
                served.exchange("POST", "/v1/models/m:predict", asked, agent),
                served.exchange("POST", "/invocations", asked, agent),
            )
        }
        assert len(versions) == 1
        assert served.short("/v2/models/m/infer", BODY, agent) is None
    assert choosing.told.get() == {}, "the next request must not see these headers"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_protocols_are_answered_the_short_way_over_connections(served: Served) -> None:
    served.deploy(live())
    asked = json.dumps({"instances": [[1, 2]]}).encode()
    paths = ["/v1/models/m:predict", "/invocations", "/models/m/invoke"]
    pieces = [
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(asked)}\r\n\r\n".encode() + asked
        for path in [*paths, *paths, "/v1/models/other:predict"]
    ]

    async def go() -> list[tuple[int, bytes]]:
        async with talking(served) as talk:
            return await talk(pieces)

    *answers, (missing, _) = asyncio.run(go())
    assert [(status, json.loads(body)) for status, body in answers] == [
        (200, {"predictions": [3.0]})
    ] * 6
    assert missing == 404


def told(record: Any) -> dict[str, Any]:
    """Return a line of the log without what differs each time."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return fields | {"micros": 0, "request_id": ""}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("route", ["", "blue", "live"])
def test_the_arms_of_a_test_are_told_on_either_way(served: Served, route: str) -> None:
    served.deploy(live())
    split(served, ("blue", 2, 0.5))
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}
    asked = {"inputs": [tensor], "id": "r", "parameters": {**IDS, "route": route}}
    by_row = {"instances": [[1, 2], [3, 4]], "parameters": {**IDS, "route": route}}
    for path, body in (("/v2/models/m/infer", asked), ("/v1/models/m:predict", by_row)):
        raw = json.dumps(body).encode()
        short = served.short(path, raw)
        status, answer, heads = served.exchange("POST", path, raw)
        assert short is not None
        assert (short[0], short[1]) == (status, answer)
        assert short[2]["setpoint-arm"] == heads["setpoint-arm"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v1/models/m:predict", "/invocations"])
def test_a_long_answer_is_packed_for_who_accepts_it(served: Served, path: str) -> None:
    served.deploy(live())
    names = {"ids": [f"r{i}" for i in range(400)]}
    tensor = {"name": "x", "shape": [400, 2], "datatype": "FP64", "data": [1, 2] * 400}
    asked = {"inputs": [tensor], "id": "r"} if "v2" in path else {"instances": [[1, 2]] * 400}
    body = json.dumps({**asked, "parameters": names}).encode()
    accepts = [(b"accept-encoding", b"gzip, deflate")]
    short, long = served.short(path, body, accepts), served.exchange("POST", path, body, accepts)
    assert short is not None
    assert (short[0], short[1]) == long[:2]
    assert short[2]["content-encoding"] == "gzip"
    plain = served.short(path, body)
    assert plain is not None
    assert gzip.decompress(short[1]) == plain[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v1/models/m:predict", "/invocations"])
@pytest.mark.parametrize("name", ["a\r\nset-cookie: b=1", "a\nb", "\x01", "\x7f", "a\0"])
def test_an_id_that_no_header_can_have_is_refused(served: Served, path: str, name: str) -> None:
    served.deploy(live())
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    asked = {"inputs": [tensor]} if "v2" in path else {"instances": [[1, 2]]}
    body = json.dumps({**asked, "parameters": {"ids": [name]}}).encode()
    assert (served.short(path, body) or [0])[0] == 400
    assert served.exchange("POST", path, body)[0] == 400
    assert served.logged() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_id_that_is_not_ascii_is_told_in_percent(served: Served) -> None:
    served.deploy(live())
    body = json.dumps({"instances": [[1, 2]], "parameters": {"ids": ["größe 1 %25"]}}).encode()
    short = served.short("/v1/models/m:predict", body)
    assert short is not None
    assert short[2]["setpoint-prediction-id"] == "gr%C3%B6%C3%9Fe 1 %2525"
    served.sync()
    assert served.logged()[0].ids == ["größe 1 %25"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_errors_are_counted_whichever_way_they_go(served: Served) -> None:
    served.deploy(live())
    served.short("/v2/models/m/infer", b"{")
    served.short("/v1/models/m:predict", b"{")
    served.exchange("POST", "/v1/models/m:predict", b"{")
    served.exchange("GET", "/v2/models/other")
    _, told = served.get("/metrics")
    assert 'setpoint_error_answers_total{status="400"} 3' in told
    assert 'setpoint_error_answers_total{status="404"} 1' in told


@pytest.mark.parametrize(
    "path", ["/v1/models/m%2Fversions%2F1:predict", "/v2/models/m%2fversions%2f1/infer"]
)
def test_an_address_that_names_more_once_unquoted_goes_the_long_way(path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\ncontent-length: 2"
    assert read_head(head.encode()) is None
    assert read_head(head.replace("%2Fversions%2F1", "").replace("%2fversions%2f1", "").encode())
