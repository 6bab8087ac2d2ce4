"""What must be true of a spec beyond its types. Pure: a spec in, findings out."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

from setpoint.control.spec.entities import Bound, Spec
from setpoint.control.spec.fields import LOWER_IS_BETTER, REGRESSION
from setpoint.control.spec.running import Serve
from setpoint.control.spec.suggest import did_you_mean
from setpoint.control.spec.units import format_size

Finding = tuple[str, str, str]  #: path, message, hint

_MOST_CALLS = 64
_LEAST_MEMORY = 256_000_000  #: bytes; an interpreter with numpy takes about as much


def findings(spec: Spec) -> list[Finding]:
    """Return everything that cannot be as it is written."""
    return [finding for rule in _RULES for finding in rule(spec)]


def _data(spec: Spec) -> Iterator[Finding]:
    data = spec.data
    if data.rows not in data.source:
        yield (
            "data.rows",
            f"data.rows: there is no source “{data.rows}”",
            did_you_mean(data.rows, data.source, kind="sources"),
        )
    columns = {"data.label": data.label.column, "data.entity": data.entity}
    columns["data.time"] = data.time
    seen: dict[str, str] = {}
    for path, column in columns.items():
        if column is not None and column in seen:
            other = seen[column]
            yield path, f"{path} and {other} are the same column “{column}”", "name two"
        elif column is not None:
            seen[column] = path
    if data.label.delay is not None and data.label.known_at is not None:
        yield "data.label", "data.label has both delay and known_at", "keep one of them"
    if data.label.delay is not None and data.time is None:
        yield (
            "data.label.delay",
            "data.label.delay counts from data.time, which is not set",
            "set data.time to the column with the moment of a prediction",
        )


def _train(spec: Spec) -> Iterator[Finding]:
    split = spec.train.split
    if split.by == "time" and spec.data.time is None:
        yield (
            "train.split.by",
            "train.split.by is time, and data.time is not set",
            "set data.time, or split by random",
        )
    if isinstance(split.test, timedelta):
        if split.by == "random":
            hint = "write a percentage, or set data.time and split by time"
            yield "train.split.test", "a random split cannot take a duration", hint
    elif not 0 < split.test < 1:
        yield (
            "train.split.test",
            f"train.split.test is {split.test:.0%}: one side would be empty",
            "write a percentage between 1% and 99%",
        )
    twice = sorted({code for code in spec.features if spec.features.count(code) > 1})
    if twice:
        yield "features", f"{twice[0]} is among the features twice", "keep one of them"


def _baseline(spec: Spec) -> Iterator[Finding]:
    if spec.train.baseline is None:
        hint = "set train.baseline to the function that trains it"
        if spec.objective.better_than == "baseline":
            yield "objective.better_than", "there is no baseline to be better than", hint
        if spec.serve.fallback.use == "baseline":
            yield "serve.fallback", "there is no baseline to fall back to", hint


def _objective(spec: Spec) -> Iterator[Finding]:
    objective = spec.objective
    bound = Bound(at_least=objective.at_least, at_most=objective.at_most)
    yield from _bound("objective", objective.metric, bound)
    if not 0.5 <= objective.confidence < 1:
        yield (
            "objective.confidence",
            f"a confidence of {objective.confidence:.0%} says nothing",
            "write a percentage from 50% to below 100%, such as 95%",
        )


def _bound(path: str, metric: str, bound: Bound) -> Iterator[Finding]:
    if metric in LOWER_IS_BETTER and bound.at_least is not None:
        hint = f"less {metric} is better: write at_most"
        yield f"{path}.at_least", f"{path}.at_least would hold {metric} up", hint
    if metric not in LOWER_IS_BETTER and bound.at_most is not None:
        hint = f"more {metric} is better: write at_least"
        yield f"{path}.at_most", f"{path}.at_most would hold {metric} down", hint
    for name in ("at_least", "at_most"):
        value = getattr(bound, name)
        bounded = metric not in {"rmse", "mae", "log_loss"} and metric != "r2"
        if value is not None and bounded and not 0 <= value <= 1:
            hint = "write a number such as 0.68"
            yield f"{path}.{name}", f"{metric} lies between 0 and 1, not at {value:g}", hint


def _guardrails(spec: Spec) -> Iterator[Finding]:
    slices = spec.guardrails.slices
    at = "guardrails.slices"
    if slices is not None:
        if not slices.by:
            yield f"{at}.by", f"{at}.by names no column", "name at least one"
        if not slices.bounds:
            hint = f"add such as {spec.objective.metric}: {{at_least: 0.6}}"
            yield at, f"{at} has no metric to hold", hint
        for metric, bound in slices.bounds.items():
            if (metric in REGRESSION) != (spec.task == "regression"):
                hint = f"the objective makes this a {spec.task}"
                yield f"{at}.{metric}", f"{metric} does not measure a {spec.task}", hint
            yield from _bound(f"{at}.{metric}", metric, bound)
    calibration = spec.guardrails.calibration_error
    if calibration is not None and not 0 < calibration.at_most <= 1:
        hint = "write a number such as 0.05"
        yield "guardrails.calibration_error.at_most", "it lies between 0 and 1", hint
    if calibration is not None and spec.task == "regression":
        hint = "remove it"
        yield "guardrails.calibration_error", "a regression has no probabilities", hint


def _business(spec: Spec) -> Iterator[Finding]:
    business = spec.business
    if business is not None and business.must_not_rise is business.must_not_fall is None:
        hint = "add must_not_rise or must_not_fall, such as 5%"
        yield "business", "business holds nothing", hint


def _release(spec: Spec) -> Iterator[Finding]:
    canary, at = spec.release.canary, "release.canary"
    steps = canary.steps
    if not steps or steps[-1] != 1.0:
        yield f"{at}.steps", f"{at}.steps does not end at 100%", "end it with 100%"
    if any(step <= 0 for step in steps):
        yield f"{at}.steps", f"{at}.steps has a share of 0%", "remove it"
    if any(later <= step for step, later in pairwise(steps)):
        yield f"{at}.steps", f"{at}.steps does not rise", "write such as [5%, 25%, 100%]"
    for name in ("false_rollback", "false_promote"):
        rate = getattr(canary, name)
        if not 0 < rate <= 0.5:
            hint = "write a percentage above 0% and up to 50%, such as 1%"
            yield f"{at}.{name}", f"{at}.{name} is {rate:.4%}", hint
    if spec.release.approve is not None and not spec.release.approve.by:
        yield "release.approve.by", "release.approve.by names no role", "name at least one"


def _watch(spec: Spec) -> Iterator[Finding]:
    if not 0 <= spec.watch.drift.effect <= 10:
        hint = "write a number of standard deviations such as 0.05"
        yield "watch.drift.effect", "watch.drift.effect lies between 0 and 10", hint
    if spec.watch.window > timedelta(days=366):
        hint = "write such as 1h, 1d or 7d"
        yield "watch.window", "watch.window is longer than a year", hint


def serving(serve: Serve) -> Iterator[Finding]:
    """Yield what cannot be about how an endpoint is to answer."""
    for rule in (_log, _limits, _routing):
        yield from rule(serve)
    for path, value in _serving_times(serve).items():
        yield from _positive(path, value)


def _log(serve: Serve) -> Iterator[Finding]:
    log = serve.log
    if log.sample <= 0:
        hint = "write such as 1%: an even sample is enough to judge by"
        yield "serve.log.sample", "without a sample nothing could be judged", hint
    twice = sorted({name for name in log.redact if log.redact.count(name) > 1})
    if twice:
        yield "serve.log.redact", f"{twice[0]} is redacted twice", "keep one of them"


def _limits(serve: Serve) -> Iterator[Finding]:
    limits = serve.limits
    if limits.memory is not None and serve.process != "own":
        hint = "add process: own, or leave it out"
        yield (
            "serve.limits.memory",
            "serve.limits.memory needs a process to limit, and the model shares the server's",
            hint,
        )
    if limits.timeout is not None and serve.batch.wait >= limits.timeout:
        hint = "wait a fraction of the time-out, or not at all"
        yield "serve.batch.wait", "serve.batch.wait leaves no time to answer", hint
    if limits.concurrency > _MOST_CALLS:
        hint = f"write a number up to {_MOST_CALLS}"
        yield "serve.limits.concurrency", "serve.limits.concurrency is a thread each", hint
    for name, least in (("body", 1), ("memory", _LEAST_MEMORY)):
        size = getattr(limits, name)
        if size is not None and size < least:
            hint = f"write a size of at least {format_size(least)}"
            yield f"serve.limits.{name}", f"serve.limits.{name} leaves no room", hint


def _routing(serve: Serve) -> Iterator[Finding]:
    fallback, key = serve.fallback, serve.key
    rules = [fallback.use == "baseline", fallback.value is not None, fallback.code is not None]
    if sum(rules) > 1:
        yield "serve.fallback", "serve.fallback has more than one answer", "keep one of them"
    if key.header is not None and key.field is not None:
        yield "serve.key", "serve.key has both header and field", "keep one of them"
    if key.header is not None and not _HEADER.fullmatch(key.header):
        hint = "write a name such as x-user"
        yield "serve.key.header", f"“{key.header[:40]}” cannot be a header", hint


_HEADER = re.compile(r"[A-Za-z0-9_-]+")


def _durations(spec: Spec) -> Iterator[Finding]:
    guard, stale = spec.guardrails.latency_p99, spec.react.stale
    durations: dict[str, object] = {
        "train.split.test": spec.train.split.test,
        "train.window": spec.train.window,
        "guardrails.latency_p99.at_most": guard.at_most if guard else None,
        **_serving_times(spec.serve),
        "release.canary.at_most": spec.release.canary.at_most,
        "watch.window": spec.watch.window,
        "react.stale.after": stale.after if stale else None,
        "privacy.retention": spec.privacy.retention,
    }
    for path, value in durations.items():
        yield from _positive(path, value)


def _serving_times(serve: Serve) -> dict[str, object]:
    return {"serve.log.keep": serve.log.keep, "serve.limits.timeout": serve.limits.timeout}


def _positive(path: str, value: object) -> Iterator[Finding]:
    if isinstance(value, timedelta) and value <= timedelta(0):
        yield path, f"{path} is no time at all", "write a duration above 0"


def _serve(spec: Spec) -> Iterator[Finding]:
    for rule in (_log, _limits, _routing):
        yield from rule(spec.serve)


_RULES: tuple[Callable[[Spec], Iterator[Finding]], ...] = (
    _data, _train, _baseline, _objective, _guardrails, _business, _release, _watch,
    _serve, _durations,
)  # fmt: skip
