"""The inference server's ASGI application: one function from request to answer, no framework.

`App` owns what the endpoints, the log and the metrics share, and is the outermost frame:
every error becomes one JSON answer here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

from msgspec import Struct

from setpoint.core.clock import Clock
from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve import http, plain, scoring, v2
from setpoint.serve.endpoints import Endpoint, Endpoints
from setpoint.serve.entities import LabelRecord
from setpoint.serve.ids import maker, micros_of
from setpoint.serve.log import Log
from setpoint.serve.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

VERSION = "0.1.0"
ROLES = ("live", "canary", "fallback")
MOST_WAITING = 10_000  #: requests that may wait for the other arm's scores

_FAILED = "the server failed; its log says why"
_log = logging.getLogger(__name__)
_prediction_ids = maker("prd")
_request_ids = maker("req")
_STATUS: tuple[tuple[type[SetpointError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (http.TooLarge, 413),
    (Invalid, 400),
    (Denied, 403),
    (Unavailable, 503),
)


class Job(Struct, frozen=True):
    """An answered request whose rows the other arm has yet to score."""

    endpoint: Endpoint
    parts: list[scoring.Part]
    ids: list[str]
    request_id: str
    at_us: int


class Asked(Struct, frozen=True, gc=False):
    """An infer request, read."""

    started: int  #: `perf_counter_ns` when reading began
    at_us: int
    request_id: str
    rows: v2.Rows
    ids: list[str]
    keys: list[str]


class App:
    def __init__(self, endpoints: Endpoints, log: Log, metrics: Metrics, clock: Clock) -> None:
        self.endpoints = endpoints
        self.log = log
        self.metrics = metrics
        self._micros = micros_of(clock)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")
        self._waiting: deque[Job] = deque()
        self._shadowing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        kind = http.JSON
        try:
            status, body = await self._answer(scope, receive)
            if status == http.TEXT_OK:
                status, kind = 200, http.TEXT
        except SetpointError as error:
            status, body = _status(error), http.error(error)
        except http.Gone:
            return
        except Exception:  # noqa: BLE001 - the outermost frame: no traceback reaches a client
            _log.exception("request failed", extra={"path": scope["path"]})
            status, body = 500, http.error(SetpointError(_FAILED))
        await send({"type": "http.response.start", "status": status, "headers": (
            kind, (b"content-length", b"%d" % len(body)),
        )})  # fmt: skip
        await send({"type": "http.response.body", "body": body})
        self.after()

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        path: str = scope["path"]
        parts = path.split("/")
        if scope["method"] == "POST":
            body = await http.body(scope, receive)
            if path.startswith("/v2/models/") and len(parts) == 5:
                if parts[4] == "infer":
                    return 200, await self._infer(self._endpoint(parts[3]), body)
                if parts[4] == "labels":
                    return 200, self._labels(self._endpoint(parts[3]), body)
            if path == "/-/sync":
                return 200, await self._sync(body)
        elif scope["method"] in {"GET", "HEAD"}:
            return self._read(path, parts)
        raise NotFound(f"nothing answers {scope['method']} {path[:200]}", hint=http.PATHS)

    def infer_now(self, model: str, body: bytes) -> tuple[int, bytes] | None:
        """Answer an infer request in this call; None if its model is too slow for that."""
        try:
            endpoint = self._endpoint(model)
            if endpoint.slow:
                return None
            answer = self._plain(endpoint, body)
            if answer is not None:
                return 200, answer
            asked = self._asked(endpoint, body)
            parts = scoring.score(endpoint, asked.rows, asked.keys) if asked.ids else []
            return 200, self._finish(endpoint, asked, parts)
        except SetpointError as error:
            return _status(error), http.error(error)
        except Exception:  # noqa: BLE001 - the outermost frame of this way
            _log.exception("request failed", extra={"model": model})
            return 500, http.error(SetpointError(_FAILED))

    def after(self) -> None:
        """Have the other arm score what was answered, once the answer is on its way."""
        if self._waiting and (self._shadowing is None or self._shadowing.done()):
            self._shadowing = asyncio.get_running_loop().create_task(self._shadow())

    async def _infer(self, endpoint: Endpoint, body: bytes) -> bytes:
        asked = self._asked(endpoint, body)
        if not asked.ids:
            parts = []
        elif endpoint.slow:
            loop = asyncio.get_running_loop()
            parts = await loop.run_in_executor(
                self._pool, scoring.score, endpoint, asked.rows, asked.keys
            )
        else:
            parts = scoring.score(endpoint, asked.rows, asked.keys)
        return self._finish(endpoint, asked, parts)

    def _plain(self, endpoint: Endpoint, body: bytes) -> bytes | None:
        """Answer a plain request as `_asked`, `scoring.score` and `_finish` would."""
        started = perf_counter_ns()
        found = plain.read(body, endpoint.inputs)
        if found is None:
            return None
        request, rows = found
        at_us = self._micros()
        request_id, ids, keys = _named(request, rows.count, at_us)
        part = plain.score(endpoint, rows, keys)
        if part is None:
            return None
        micros = (perf_counter_ns() - started) // 1000
        self.log.append(scoring.record(endpoint, part, ids, request_id, at_us, micros))
        self.metrics.answered(
            endpoint.model, part.version, ROLES[part.role], 200, rows.count, micros
        )
        if not endpoint.alone:
            self._wait_for_shadow(Job(endpoint, [part], ids, request_id, at_us))
        scores, versions = scoring.assemble((part,), rows.count)
        return _encoded(endpoint, request_id, ids, versions, scores, fallback=False)

    def _asked(self, endpoint: Endpoint, body: bytes) -> Asked:
        started = perf_counter_ns()
        request = v2.infer_request(body)
        rows = v2.rows(request, endpoint.inputs)
        at_us = self._micros()
        request_id, ids, keys = _named(request, rows.count, at_us)
        return Asked(started, at_us, request_id, rows, ids, keys)

    def _finish(self, endpoint: Endpoint, asked: Asked, parts: list[scoring.Part]) -> bytes:
        """Log, count and encode; what cannot be logged is not answered."""
        ids, request_id = asked.ids, asked.request_id
        total = perf_counter_ns() - asked.started - sum([part.nanos for part in parts])
        for part in parts:
            micros = (total + part.nanos) // 1000  # an arm does not answer for the other's time
            self.log.append(scoring.record(endpoint, part, ids, request_id, asked.at_us, micros))
            self.metrics.answered(
                endpoint.model, part.failed or part.version, ROLES[part.role],
                500 if part.failed else 200, part.rows.count, micros,
            )  # fmt: skip
            if scoring.fell_back((part,)):
                self.metrics.fell_back(endpoint.model, part.rows.count)
        if (why := scoring.failure(parts)) is not None:
            raise SetpointError(
                f"the model {endpoint.model!r} failed: {why}",
                hint="the server's log has the traceback; nothing was predicted",
            )
        if parts and not endpoint.alone:
            self._wait_for_shadow(Job(endpoint, parts, ids, request_id, asked.at_us))
        scores, versions = scoring.assemble(parts, len(ids))
        fallback = scoring.fell_back(parts)
        return _encoded(endpoint, request_id, ids, versions, scores, fallback=fallback)

    def _labels(self, endpoint: Endpoint, body: bytes) -> bytes:
        request = v2.label_request(body)
        if request.ids:
            self.log.append(
                LabelRecord(
                    at_us=self._micros(),
                    model=endpoint.model,
                    ids=request.ids,
                    labels=[float(label) for label in request.labels],
                )
            )
            self.metrics.labelled(endpoint.model, len(request.ids))
        return v2.encode({"accepted": len(request.ids)})

    async def _sync(self, body: bytes) -> bytes:
        asked = http.sync_request(body)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: self.endpoints.refresh(again=True))
        while self._waiting or (self._shadowing is not None and not self._shadowing.done()):
            if self._shadowing is None or self._shadowing.done():
                self._shadowing = loop.create_task(self._shadow())
            await self._shadowing
        served = {name: found.generation for name, found in self.endpoints.all().items()}
        if asked.model is not None and served.get(asked.model, 0) < asked.generation:
            raise Conflict(
                f"{asked.model!r} serves generation {served.get(asked.model, 0)}, "
                f"not {asked.generation}",
                hint="its live version does not load, as the server's log says; "
                "or that generation does not exist yet",
            )
        position = self.log.position
        return v2.encode({"generations": served, "position": position})

    def _read(self, path: str, parts: list[str]) -> tuple[int, bytes]:
        if path in {"/healthz", "/ping", "/v2/health/ready"}:
            if self.endpoints.problem is not None:
                raise Unavailable(f"not ready: {self.endpoints.problem}")
            return 200, v2.encode({"ready": True})
        if path == "/v2/health/live":
            return 200, v2.encode({"live": True})
        if path in {"/v2", "/v2/"}:
            return 200, v2.encode({"name": "setpoint", "version": VERSION, "extensions": []})
        if path == "/metrics":
            generations = {name: one.generation for name, one in self.endpoints.all().items()}
            text = self.metrics.text(log_bytes=self.log.bytes, generations=generations)
            return http.TEXT_OK, text.encode()
        if path.startswith("/v2/models/"):
            if len(parts) == 4:
                return 200, http.metadata(self._endpoint(parts[3]))
            if len(parts) == 5 and parts[4] == "ready":
                endpoint = self._endpoint(parts[3])
                return 200, v2.encode({"name": endpoint.model, "ready": True})
        raise NotFound(f"nothing answers GET {path[:200]}", hint=http.PATHS)

    def _endpoint(self, model: str) -> Endpoint:
        endpoint = self.endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self.endpoints.all())) or "none yet"
            raise NotFound(f"no model {model!r} is served here", hint=f"served now: {known}")
        if endpoint.broken is not None:
            raise Unavailable(f"the model {model!r} cannot answer: {endpoint.broken}")
        return endpoint

    def _wait_for_shadow(self, job: Job) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.metrics.shadows_dropped += 1
        else:
            self._waiting.append(job)

    async def _shadow(self) -> None:
        """Have the other arm score what was answered; starts after the answers are sent."""
        await asyncio.sleep(0)
        while self._waiting:
            job = self._waiting.popleft()
            try:
                await self._shadow_one(job)
            except SetpointError as error:  # the disk is full: answers say so, evidence waits
                self.metrics.shadows_dropped += 1
                _log.warning("shadow not logged", extra={"problem": str(error)})
            await asyncio.sleep(0)

    async def _shadow_one(self, job: Job) -> None:
        for part in job.parts:
            given = (job.endpoint, part, job.ids, job.request_id, job.at_us)
            if job.endpoint.slow:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._pool, scoring.shadow, *given)
            else:
                found = scoring.shadow(*given)
            if found is not None:
                self.log.append(found)
                self.metrics.shadowed(found.model, len(found.ids))

    async def close(self) -> None:
        """Finish the scores that are owed, then sync and close the log."""
        while self._waiting:
            await self._shadow()
        self._pool.shutdown()
        self.endpoints.close()
        self.log.close()


def _named(
    request: v2.InferRequest | plain.PlainRequest, count: int, at_us: int
) -> tuple[str, list[str], list[str]]:
    """Return the request's id, the rows' prediction ids and the rows' routing keys."""
    parameters = request.parameters
    ids = parameters.ids if parameters else None
    keys = parameters.keys if parameters else None
    for name, given in (("ids", ids), ("keys", keys)):
        if given is not None and len(given) != count:
            raise Invalid(
                f"{len(given)} {name} for {count} rows",
                where=f"$.parameters.{name}",
                hint=f"send one a row, or no {name}",
            )
    if ids is not None:
        v2.check_ids(ids, "$.parameters.ids", unique=True)
        request_id = request.id or _request_ids(at_us)
    else:
        made = _prediction_ids(at_us)
        ids = [made] if count == 1 else [f"{made}.{i}" for i in range(count)]
        request_id = request.id or made
    return request_id, ids, ids if keys is None else keys


def _encoded(
    endpoint: Endpoint,
    request_id: str,
    ids: list[str],
    versions: list[int],
    scores: list[float],
    *,
    fallback: bool,
) -> bytes:
    first = versions[0] if versions else endpoint.live.version
    version = first if versions.count(first) == len(versions) else endpoint.live.version
    return v2.encode(
        v2.InferAnswer(
            endpoint.model,
            str(version),
            request_id,
            v2.AnswerParameters(ids, versions, fallback),
            [v2.Output(v2.OUTPUT, [len(scores)], "FP64", scores)],
        )
    )


def _status(error: SetpointError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
