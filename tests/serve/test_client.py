"""The client says what went wrong as the errors of the library, and connects again."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from setpoint.errors import Conflict, Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve.client import Inference


class Server(ThreadingHTTPServer):
    """Answers what it is told to, and remembers what it was asked."""

    daemon_threads = True
    status, reply = 200, b"{}"
    drops = 0  #: requests whose connection is closed without an answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(json.loads(body))

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: Any) -> None:
        self.server.asked.append((self.path, body))
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.reply)))
        self.end_headers()
        self.wfile.write(self.server.reply)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[Inference]:
    found = Inference(server.url)
    yield found
    found.close()


def said(scores: list[float | None], **parameters: Any) -> bytes:
    outputs = [{"name": "score", "data": scores}]
    return json.dumps({"outputs": outputs, "parameters": parameters}).encode()


def test_columns_become_tensors_and_missing_answers_nan(server: Server, client: Inference) -> None:
    server.reply = said([0.5, None], ids=["x", "y"], versions=[1, 2])
    columns: dict[str, list[Any]] = {"age": [3.0, None], "city": ["Zürich", None]}
    answer = client.predict("a model", columns, ids=["x", "y"], keys=["k", "k"])
    assert (answer.ids, answer.versions) == (["x", "y"], [1, 2])
    assert answer.scores[0] == 0.5
    assert np.isnan(answer.scores[1])
    path, body = server.asked[0]
    assert path == "/v2/models/a%20model/infer"
    assert [tensor["datatype"] for tensor in body["inputs"]] == ["FP64", "BYTES"]
    assert body["parameters"] == {"ids": ["x", "y"], "keys": ["k", "k"]}


def test_a_matrix_is_one_tensor_and_nan_is_null(server: Server, client: Inference) -> None:
    server.reply = said([0.5], ids=["x"], versions=[1])
    client.predict_matrix("m", np.array([[1.0, np.nan]]))
    (tensor,) = server.asked[0][1]["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([1, 2], [1.0, None])


def test_labels_and_waiting_go_where_they_belong(server: Server, client: Inference) -> None:
    client.label("m", ["x"], [1.0])
    client.sync("m", 3)
    client.wait_until_live(1.0)
    assert server.asked == [
        ("/v2/models/m/labels", {"ids": ["x"], "labels": [1.0]}),
        ("/-/sync", {"model": "m", "generation": 3}),
        ("/v2/health/live", None),
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (404, NotFound), (409, Conflict), (413, Invalid), (503, Unavailable)],
)
def test_refusals_are_the_librarys_errors_with_the_servers_words(
    server: Server, client: Inference, status: int, kind: type[SetpointError]
) -> None:
    server.status, server.reply = status, b'{"error": "no such thing"}'
    with pytest.raises(kind, match="no such thing") as caught:
        client.label("m", ["x"], [1.0])
    assert caught.value.where == f"{server.url}/v2/models/m/labels"
    server.reply = b"<html>"
    with pytest.raises(kind, match=f"answered {status}"):
        client.label("m", ["x"], [1.0])


def test_a_connection_the_server_closed_is_opened_again_once(
    server: Server, client: Inference
) -> None:
    server.drops = 1
    client.label("m", ["x"], [1.0])
    assert len(server.asked) == 2
    server.drops = 2
    with pytest.raises(Unavailable, match="does not answer"):
        client.label("m", ["x"], [1.0])


def test_nobody_there_is_unavailable_with_how_to_start() -> None:
    client = Inference("http://127.0.0.1:1")
    with pytest.raises(Unavailable) as caught:
        client.wait_until_live(0.05)
    assert caught.value.hint == "start it with: setpoint up"


@pytest.mark.parametrize("url", ["127.0.0.1:8766", "https://127.0.0.1", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="no address of an inference server"):
        Inference(url)
