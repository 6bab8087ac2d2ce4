"""A client of the inference server, on the standard library alone."""

import http.client
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from setpoint.errors import Conflict, Invalid, NotFound, SetpointError, Unavailable

_KINDS: dict[int, type[SetpointError]] = {
    400: Invalid,
    404: NotFound,
    409: Conflict,
    413: Invalid,
}


class Answer(Struct, frozen=True, kw_only=True):
    """The predictions of one request, row by row."""

    ids: list[str]
    #: Probability of the positive class, or the value; NaN where the model could not
    #: answer a row, because an input it needs is missing, or has no score at all.
    scores: list[float]
    versions: list[int]  #: the version that answered each row
    #: Who answered each row, by name, where versions are tested beside one another or `route` was
    #: given; else empty.
    arms: list[str] = []
    #: All that was told, by name, a value or a list of values a row; None where there is none.
    outputs: dict[str, list[Any]] = {}


class _Output(Struct):
    name: str
    data: list[Any]
    shape: list[int] = []


class _Parameters(Struct, frozen=True):
    ids: list[str] = []
    versions: list[int] = []
    arms: list[str] = []


class _Reply(Struct):
    outputs: list[_Output]
    parameters: _Parameters = _Parameters()


class _Failure(Struct):
    error: str = ""


_ENCODE = msgspec.json.Encoder().encode
_REPLY = msgspec.json.Decoder(_Reply)


class Inference:
    """Keeps one connection open; not for use by several threads at once.

    Example:
        >>> client = Inference("http://127.0.0.1:8766")  # doctest: +SKIP
        >>> client.predict("churn", {"tenure": [3.0]}, ids=["order-1"]).scores  # doctest: +SKIP
        [0.41]
    """

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Invalid(
                f"{url!r} is no address of an inference server",
                hint="http://127.0.0.1:8766",
            )
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self._url = url

    def predict(
        self,
        model: str,
        columns: Mapping[str, Sequence[Any]],
        *,
        ids: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        outputs: Sequence[str] = (),
        route: str = "",
    ) -> Answer:
        """Ask for predictions.

        Args:
            model: The name of the model.
            columns: One sequence of n values per input; None is missing.
            ids: One id a row, so that its label can be told later; made for you if None.
            keys: What decides which version answers a row (a customer, say); its id if None.
            outputs: The names of what is to be told, such as ``label``; by default what the
                model answers unasked.
            route: Who is to answer all rows, for testers: ``live``, ``canary``, ``shadow``, an arm,
                or the number of a version that is loaded. Such rows are no evidence about anybody.

        Raises:
            Invalid: If the rows do not fit the model's inputs.
            NotFound: If no such model is served, or nobody in it is called as `route` says.
            Unavailable: If the server cannot be reached or cannot answer.
        """
        inputs = [_tensor(name, list(values)) for name, values in columns.items()]
        body = _request(inputs, ids=ids, keys=keys, outputs=outputs, route=route)
        return self._infer(model, body)

    def submit(
        self,
        model: str,
        columns: Mapping[str, Sequence[Any]],
        *,
        ids: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        outputs: Sequence[str] = (),
        route: str = "",
    ) -> "Job":
        """Have predictions made later, behind those that somebody waits for.

        When this returns, the rows will be scored, whatever is killed. Arguments as those of
        `predict`.

        Raises:
            Invalid: If the rows do not fit the model's inputs.
            NotFound: If no such model is served, or nobody in it is called as `route` says.
            Conflict: If the server takes no jobs.
            Unavailable: If too many wait already, or the server cannot be reached.
        """
        inputs = [_tensor(name, list(values)) for name, values in columns.items()]
        body = _request(inputs, ids=ids, keys=keys, outputs=outputs, route=route)
        taken = _STATUS.decode(self._post(f"/v2/models/{quote(model)}/jobs", body))
        return Job(self, model, taken.id)

    def predict_matrix(
        self, model: str, matrix: Any, *, ids: Sequence[str] | None = None
    ) -> Answer:
        """Ask for predictions of the rows of a float matrix [n, inputs], NaN for missing.

        The columns are the model's inputs in the order of its signature.
        """
        data = matrix.ravel().tolist()
        tensor = {
            "name": "rows",
            "shape": list(matrix.shape),
            "datatype": "FP64",
            "data": data,
        }
        return self._infer(model, _request([tensor], ids=ids))

    def _infer(self, model: str, body: bytes) -> Answer:
        return _answer(self._post(f"/v2/models/{quote(model)}/infer", body))

    def label(self, model: str, ids: Sequence[str], labels: Sequence[float | str]) -> None:
        """Tell the truth about earlier predictions; acknowledged means kept.

        Args:
            model: The endpoint's.
            ids: Of the predictions.
            labels: What turned out, a number or the name of a class for each.
        """
        body = _ENCODE({"ids": list(ids), "labels": list(labels)})
        self._post(f"/v2/models/{quote(model)}/labels", body)

    def sync(self, model: str | None = None, generation: int = 0) -> None:
        """Wait until the server serves `generation` and all scores so far are in its log."""
        self._post("/-/sync", _ENCODE({"model": model, "generation": generation}))

    def wait_until_live(self, seconds: float = 30.0) -> None:
        """Wait for the server to answer at all, whether it has models to serve or not.

        Raises:
            Unavailable: If it does not within `seconds`.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                self._send("GET", "/v2/health/live", b"")
            except SetpointError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _post(self, path: str, body: bytes) -> bytes:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: bytes) -> bytes:
        try:
            reply, data = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the server may have closed a kept connection: once more
            try:
                reply, data = self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise Unavailable(
                    "the inference server does not answer",
                    where=f"{self._url}: {error}",
                    hint="start it with: setpoint up",
                ) from None
        if reply.status in {200, 202}:
            return data
        said = msgspec.json.decode(data, type=_Failure) if data[:1] == b"{" else _Failure()
        raise _KINDS.get(reply.status, Unavailable)(
            said.error or f"the inference server answered {reply.status}",
            where=self._url + path,
        )

    def _exchange(
        self, method: str, path: str, body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body)
        reply = self._connection.getresponse()
        return reply, reply.read()


def _rows(output: _Output) -> list[Any]:
    """Return the flat data of a tensor as one value a row, or one nested list."""
    found = output.data
    for size in reversed(output.shape[1:]):
        found = [found[at : at + size] for at in range(0, len(found), size)] if size else []
    return found


class Status(Struct, frozen=True, kw_only=True):
    """How far a job is."""

    id: str
    state: str  #: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``
    rows: int
    position: int = 0  #: 1 for the next that is scored; 0: it does not wait
    accepted_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""  #: why it failed

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in {"queued", "running"}


class Job:
    """Predictions that are made later.

    Example:
        >>> job = client.submit("churn", {"tenure": [3.0]})  # doctest: +SKIP
        >>> job.wait(seconds=60).state, job.result().scores  # doctest: +SKIP
        ('done', [0.41])
    """

    def __init__(self, client: Inference, model: str, id: str) -> None:  # noqa: A002
        self.id = id
        self._client = client
        self._path = f"/v2/models/{quote(model)}/jobs/{id}"

    def status(self) -> Status:
        """Return how far it is.

        Raises:
            NotFound: If it ended so long ago that it was forgotten.
        """
        return _STATUS.decode(self._client._send("GET", self._path, b""))  # noqa: SLF001

    def wait(self, seconds: float = 3_600.0) -> Status:
        """Return when it is over.

        Raises:
            Unavailable: If it is not within `seconds`; it goes on all the same.
        """
        end, pause = time.monotonic() + seconds, 0.01
        while not (status := self.status()).over:
            left = end - time.monotonic()
            if left <= 0:
                raise Unavailable(f"the job {self.id} is {status.state} after {seconds:g} s")
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, 1.0)
        return status

    def result(self) -> Answer:
        """Return its predictions.

        Raises:
            Conflict: If it is not done yet, or was cancelled.
            Unavailable: If it failed; says why.
        """
        return _answer(self._client._send("GET", f"{self._path}/result", b""))  # noqa: SLF001

    def cancel(self) -> Status:
        """Have it not be done; nothing of it is logged then.

        Raises:
            Conflict: If it is done, or has failed.
        """
        return _STATUS.decode(self._client._send("DELETE", self._path, b""))  # noqa: SLF001


_STATUS = msgspec.json.Decoder(Status)


def _request(
    inputs: list[dict[str, Any]],
    *,
    ids: Sequence[str] | None,
    keys: Sequence[str] | None = None,
    outputs: Sequence[str] = (),
    route: str = "",
) -> bytes:
    parameters: dict[str, Any] = {}
    if ids is not None:
        parameters["ids"] = list(ids)
    if keys is not None:
        parameters["keys"] = list(keys)
    if route:
        parameters["route"] = route
    asked: dict[str, Any] = {"inputs": inputs, "parameters": parameters}
    if outputs:
        asked["outputs"] = [{"name": name} for name in outputs]
    return _ENCODE(asked)


def _answer(data: bytes) -> Answer:
    reply = _REPLY.decode(data)
    said = reply.parameters
    told = {one.name: _rows(one) for one in reply.outputs}
    given = told.get("score") or [None] * len(said.ids)
    scores = [math.nan if score is None else float(score) for score in given]
    return Answer(ids=said.ids, scores=scores, versions=said.versions, arms=said.arms, outputs=told)


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    kind = "BYTES" if any(isinstance(value, str) for value in values) else "FP64"
    return {"name": name, "shape": [len(values)], "datatype": kind, "data": values}
