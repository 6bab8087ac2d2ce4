"""Points of metrics: one, a batch, and the whole history back."""

from typing import Any

import numpy as np
from msgspec import field

from setpoint.errors import NotFound
from setpoint.runs import columns, commands, service
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Point, Series
from setpoint.server.mlflow import checks, errors, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.experiments import Tag
from setpoint.server.mlflow.logged import store as logged
from setpoint.server.mlflow.logged.store import Measured
from setpoint.server.mlflow.render import Shown
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.runs import log, telling
from setpoint.server.mlflow.wire import Message, given, number

_INTERVAL = 2_500  #: points of one run in an interval's answer
_RUNS = 100  #: that an interval may ask for at once


class Metric(Message, frozen=True, kw_only=True, gc=False):
    key: str
    value: float
    timestamp: int  #: milliseconds
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""
    run_id: str = ""


class LogMetric(Metric, frozen=True, kw_only=True, gc=False):
    run_uuid: str = ""


class LogBatch(Message, frozen=True, kw_only=True):
    run_id: str = ""
    metrics: list[Metric] = field(default_factory=list)
    params: list[Tag] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class History(Message, frozen=True, kw_only=True):
    run_id: str = ""
    run_uuid: str = ""
    metric_key: str = ""
    max_results: int | None = None
    page_token: str = ""


class Interval(Message, frozen=True, kw_only=True):
    run_ids: list[str] = field(default_factory=list)
    metric_key: str = ""
    start_step: int | None = None
    end_step: int | None = None
    max_results: int | None = None


class ShownOfRun(Shown, frozen=True, gc=False):
    run_id: str


def log_metric(call: Call, ask: LogMetric) -> dict[str, Any]:
    run_id = ask.run_id or ask.run_uuid
    if not run_id:
        raise errors.missing("run_id")
    checks.metric(ask.key, ask.timestamp, "")
    _append(call, run_id, [ask])
    return {}


def log_batch(call: Call, ask: LogBatch) -> dict[str, Any]:
    checks.run_id(ask.run_id)
    _check(ask.metrics)
    for index, param in enumerate(ask.params):
        checks.param(param.key, param.value, f"params[{index}].")
    for index, tag in enumerate(ask.tags):
        checks.tag(tag.key, tag.value, f"tags[{index}].")
    checks.batch(len(ask.metrics), len(ask.params), len(ask.tags))
    params = {param.key: param.value for param in ask.params}
    if len(params) < len(ask.params):
        keys = [param.key for param in ask.params]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise Refused(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure "
            "the request contains only one param value per param key."
        )
    if params or ask.tags or not ask.metrics:
        _log_together(call, ask, params)
    else:
        _append(call, ask.run_id, ask.metrics)
    return {}


def history(call: Call, ask: History) -> dict[str, Any]:
    run_id = ask.run_id or ask.run_uuid
    if not run_id:
        raise errors.missing("run_id")
    if ask.max_results is not None and ask.max_results <= 0:
        raise Refused(
            f"Invalid value {ask.max_results} for parameter 'max_results' supplied. "
            "It must be a positive integer."
        )
    found = _in_time(_history(call, run_id, ask.metric_key))
    start = _offset(ask.page_token)
    stop = found.size if ask.max_results is None else start + ask.max_results
    page = _part(found, start, stop)
    return given(
        metrics=_shown(ask.metric_key, page),
        next_page_token=str(stop) if stop < found.size else None,
    )


def interval(call: Call, ask: Interval) -> dict[str, Any]:
    if not ask.run_ids:
        raise errors.missing("run_ids")
    if len(ask.run_ids) > _RUNS:
        raise Refused(
            f"GetMetricHistoryBulkInterval request must specify at most {_RUNS} run_ids. "
            f"Received {len(ask.run_ids)} run_ids."
        )
    if ask.max_results is not None and not 1 <= ask.max_results <= _INTERVAL:
        raise Refused(f"max_results must be between 1 and {_INTERVAL}.")
    if (ask.start_step is None) != (ask.end_step is None):
        raise Refused("If either start step or end step are specified, both must be specified.")
    if ask.start_step is not None and ask.end_step is not None and ask.start_step > ask.end_step:
        raise Refused(
            "end_step must be greater than start_step. "
            f"Found start_step={ask.start_step} and end_step={ask.end_step}."
        )
    limit = ask.max_results or _INTERVAL
    found: list[ShownOfRun] = []
    for run_id in ask.run_ids:
        whole = _history(call, run_id, ask.metric_key, ask.start_step, ask.end_step)
        some = columns.thinned(whole, limit)
        if limit == 1:
            some = _part(whole, -1, None)
        found += [
            ShownOfRun(
                key=each.key,
                value=each.value,
                timestamp=each.timestamp,
                step=each.step,
                run_id=run_id,
            )
            for each in _shown(ask.metric_key, some)
        ]
    return given(metrics=found)


def _check(metrics: list[Metric]) -> None:
    """Refuse the first metric of a batch that is not as it should be; each name is read once."""
    known: set[str] = set()
    for index, metric in enumerate(metrics):
        if metric.key not in known or not 0 <= metric.timestamp <= checks.LAST_MILLISECOND:
            checks.metric(metric.key, metric.timestamp, f"metrics[{index}].")
            known.add(metric.key)


def _append(call: Call, run_id: str, metrics: list[Any]) -> None:
    """Write points alone: in columns, the way that costs least."""
    with telling(call, run_id):
        call.run(service.append, commands.Append(run=run_id, series=_series(metrics), late=True))
    _measure(call, run_id, metrics)


def _log_together(call: Call, ask: LogBatch, params: dict[str, str]) -> None:
    tags = {tag.key: tag.value for tag in ask.tags}
    points = [
        Point(
            name=metric.key,
            value=metric.value,
            step=metric.step,
            at=render.moment(metric.timestamp),
        )
        for metric in ask.metrics
    ]
    command = commands.Log(run=ask.run_id, points=points, params=dict(params), tags=tags, late=True)
    log(call, command)
    if render.RUN_NAME in tags:
        named = commands.UpdateRun(run=ask.run_id, name=tags[render.RUN_NAME])
        call.run(service.update, named)
    _measure(call, ask.run_id, ask.metrics)


def _measure(call: Call, run_id: str, metrics: list[Any]) -> None:
    """Keep what was measured of logged models with them too."""
    measured = [
        Measured(
            model_id=metric.model_id,
            name=metric.key,
            value=metric.value,
            at=render.moment(metric.timestamp),
            step=metric.step,
            run_id=metric.run_id or run_id,
            dataset=metric.dataset_name,
            digest=metric.dataset_digest,
        )
        for metric in metrics
        if metric.model_id
    ]
    if measured:
        call.write(lambda ctx: logged.measure(ctx.conn, measured))


def _series(metrics: list[Any]) -> list[Series]:
    named: dict[str, list[Any]] = {}
    for metric in metrics:
        named.setdefault(metric.key, []).append(metric)
    return [
        columns.series(
            key,
            Columns(
                np.array([m.step for m in found], np.int64),
                np.array([m.timestamp for m in found], np.int64) * 1000,
                np.array([m.value for m in found], np.float64),
            ),
        )
        for key, found in named.items()
    ]


def _history(
    call: Call, run_id: str, metric: str, first: int | None = None, last: int | None = None
) -> Columns:
    asked = commands.History(run=run_id, metric=metric, first_step=first, last_step=last)
    try:
        return columns.arrays(call.run(service.history, asked))
    except NotFound:  # which a history says of nothing
        return columns.EMPTY


def _in_time(found: Columns) -> Columns:
    """Return points in the order of MLflow's history: by time, step and value."""
    steps, at, values = found
    if (at[1:] > at[:-1]).all():
        return found
    order = np.lexsort((values, steps, at // 1000))
    return Columns(steps[order], at[order], values[order])


def _part(found: Columns, start: int, stop: int | None) -> Columns:
    steps, at, values = found
    return Columns(steps[start:stop], at[start:stop], values[start:stop])


def _shown(key: str, found: Columns) -> list[Shown]:
    values: list[Any] = found.values.tolist()
    if not np.isfinite(found.values).all():
        values = [number(value) for value in values]
    times = (found.at // 1000).tolist()
    return [
        Shown(key, value, at, step)
        for value, at, step in zip(values, times, found.steps.tolist(), strict=True)
    ]


def _offset(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal():
        raise Refused(f"Invalid page token: {token!r}")
    return int(token)


_HISTORY = "/mlflow/metrics/get-history"

ENDPOINTS = (
    Endpoint("POST", "/mlflow/runs/log-metric", LogMetric, log_metric),
    Endpoint("POST", "/mlflow/runs/log-batch", LogBatch, log_batch, ("run_id",)),
    Endpoint("GET", _HISTORY, History, history, ("metric_key",)),
    Endpoint("GET", f"{_HISTORY}-bulk-interval", Interval, interval, ("metric_key",)),
)
