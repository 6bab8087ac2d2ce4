"""A hundred clients of a tracking server."""

import asyncio
import time

import msgspec
import numpy as np

from setpoint.runs import columns, service
from setpoint.runs.columns import Columns
from setpoint.sdk.remote import HttpBackend

_METRICS, _POINTS = 10, 100  #: of a request
RATE = 3_050  #: points a second that each run would like to send


class Load:
    """Sends batches of many runs at once, each at its own pace, and times the answers."""

    def __init__(self, port: int, *, runs: int, seconds: float, rate: float = RATE) -> None:
        self._port = port
        self._seconds = seconds
        self._rate = rate
        self._taken: list[float] = []
        backend = self._server()
        start = service.Start(experiment="load")
        self._runs = [backend.call(service.start, start).id for _ in range(runs)]

    def run(self) -> dict[str, float]:
        """Return points taken, points a second, milliseconds to an answer, and its own CPU.

        The CPU is in seconds for a million points.
        """
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(self._everyone())
        cpu = time.process_time() - cpu
        seconds = time.perf_counter() - began
        points = len(self._taken) * _METRICS * _POINTS
        p50, p99 = np.quantile(self._taken, [0.5, 0.99]) * 1e3
        return {
            "points": points,
            "rate": points / seconds,
            "p50": float(p50),
            "p99": float(p99),
            "cpu": cpu / points * 1e6,
        }

    def _server(self) -> HttpBackend:
        backend = HttpBackend(f"http://127.0.0.1:{self._port}")
        give_up = time.perf_counter() + 60
        while True:
            try:
                backend.call(service.ls, service.ListRuns(limit=1))
            except Exception:
                if time.perf_counter() > give_up:
                    raise
                time.sleep(0.1)
            else:
                return backend

    async def _everyone(self) -> None:
        end = time.perf_counter() + self._seconds
        await asyncio.gather(*(self._one(run, i, end) for i, run in enumerate(self._runs)))

    async def _one(self, run: str, number: int, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        rng = np.random.default_rng(number)
        pause = _METRICS * _POINTS / self._rate
        following = time.perf_counter() + rng.random() * pause
        step = 0
        while time.perf_counter() < end:
            await asyncio.sleep(max(0.0, following - time.perf_counter()))
            following += pause
            writer.write(self._request(run, step, rng))
            step += _POINTS
            began = time.perf_counter()
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            answer = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            self._taken.append(time.perf_counter() - began)
        writer.close()

    def _request(self, run: str, step: int, rng: np.random.Generator) -> bytes:
        steps = np.arange(step, step + _POINTS)
        at = time.time_ns() // 1_000 + np.arange(_POINTS) * 1_000 + rng.integers(0, 100, _POINTS)
        series = [
            columns.series(f"metric {i}", Columns(steps, at, rng.normal(size=_POINTS)))
            for i in range(_METRICS)
        ]
        cmd = service.Append(run=run, series=series, source="log", position=step)
        body = msgspec.msgpack.encode(cmd)
        head = (
            f"POST /api/v1/runs.append HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            "content-type: application/msgpack\r\naccept: application/msgpack\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
