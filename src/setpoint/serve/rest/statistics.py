"""What each version answered since the server started, in the fields of Triton's statistics.

Source: Triton's ``docs/protocol/extension_statistics.md``. Durations are sums over requests, so
that a call that sixteen share counts sixteen times among them and once in ``batch_stats``.
Reading a request and writing its answer down are in ``success`` alone. A fast model is called
where its request is read: its calls are not timed apart, nor counted by size, as that would cost
each request more than it tells.
"""

from typing import Any

from setpoint.serve.answering import Answering
from setpoint.serve.calling import Calls
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.metrics import Metrics


async def every_stats(serving: Answering) -> list[dict[str, Any]]:
    """Return the statistics of every model."""
    counted = (await serving.counted()).metrics
    return [one for found in serving.endpoints.all().values() for one in stats(counted, found, 0)]


def stats(metrics: Metrics, endpoint: Endpoint, version: int) -> list[dict[str, Any]]:
    """Return the statistics of a model's versions, or of one `version`."""
    return [
        _of_version(metrics, endpoint.model, one.version)
        for one in endpoint.deployed
        if version in {0, one.version}
    ]


def _of_version(metrics: Metrics, model: str, version: int) -> dict[str, Any]:
    counted = metrics.of_version(model, version)
    calls = metrics.calls.get((model, version)) or Calls()
    count, nanos = counted.answered, counted.micros * 1000
    return {
        "name": model,
        "version": str(version),
        "last_inference": counted.last_us // 1000,
        "inference_count": counted.rows,
        "execution_count": count - calls.requests + calls.count,
        "inference_stats": {
            "success": _duration(count, nanos),
            "fail": _duration(counted.failed, counted.failed_micros * 1000),
            "queue": _duration(count, calls.waited),
            "compute_input": _duration(),
            "compute_infer": _duration(count, max(nanos - calls.beside, 0)),
            "compute_output": _duration(),
            "cache_hit": _duration(),
            "cache_miss": _duration(),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(),
                "compute_infer": _duration(*of_size),
                "compute_output": _duration(),
            }
            for size, of_size in sorted(calls.sizes.items())
        ],
    }


def _duration(count: int = 0, nanos: int = 0) -> dict[str, int]:
    return {"count": count, "ns": nanos}
