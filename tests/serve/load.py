"""Clients that ask without pause, and notice every request that gets no answer."""

import http.client
import json
import threading
import time
from typing import Any

BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [0.0, 2.0]}]}


def body(model: str = "m", seconds: float = 0.0) -> tuple[str, bytes]:
    """Return address and body of a request; a model that sleeps does so for `seconds`."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [seconds, 2.0]}
    return f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode()


class Client:
    """Asks over connections of its own until it is told to stop, or nobody listens any more."""

    def __init__(self, port: int, model: str = "m", *, fresh: bool = False) -> None:
        self.port = port
        self.fresh = fresh  #: whether each request has a connection of its own
        self.answered: list[str] = []  #: ids of the rows
        self.versions: set[int] = set()
        self.failed: list[int] = []  #: statuses
        self.lost: list[str] = []  #: requests that were sent and not answered
        self._path, self._body = body(model)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self._stop.is_set():
            if connection.sock is None:
                try:
                    connection.connect()
                except OSError:
                    return  # nobody accepts any more
            self._ask(connection)
            if self.fresh:
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        began = time.monotonic()
        try:
            connection.request("POST", self._path, self._body)
            reply = connection.getresponse()
            said: dict[str, Any] = json.loads(reply.read())
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{error!r} after {time.monotonic() - began:.3f} s")
            connection.close()
            return
        if reply.status == 200:
            self.answered += said["parameters"]["ids"]
            self.versions.update(said["parameters"]["versions"])
        else:
            self.failed.append(reply.status)


def under_load(port: int, count: int = 6, model: str = "m") -> list[Client]:
    """Start clients, and return once each had an answer."""
    clients = [Client(port, model) for _ in range(count)]
    end = time.monotonic() + 20
    while not all(client.answered for client in clients):
        assert time.monotonic() < end, [client.lost or client.failed for client in clients]
        time.sleep(0.005)
    return clients
