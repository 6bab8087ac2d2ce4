"""From the words of a spec to the numbers of release and monitor policies."""

from collections.abc import Collection
from datetime import timedelta
from math import isfinite

from msgspec import Struct

from setpoint.control.functions import Kept
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.explain import Change
from setpoint.control.spec.graphs import GraphSpec
from setpoint.models.entities import ModelVersion
from setpoint.monitor import rules
from setpoint.monitor.data_quality import DataQualityPolicy
from setpoint.monitor.drift import DriftPolicy
from setpoint.monitor.errors import ErrorPolicy
from setpoint.monitor.evidence import threshold
from setpoint.monitor.quality import QualityPolicy, target_of
from setpoint.profiles.quality import HIGHER_IS_BETTER, measure
from setpoint.profiles.reference import SCORE, Reference
from setpoint.releases.entities import Inconclusive, OnBreach, Policy
from setpoint.releases.objective import METRICS
from setpoint.serve.entities import EndpointSettings, Process, Swap

_HALF_A_NAT = 0.5
_SHORTEST = timedelta(hours=1)  #: block in which the objective is judged
_OPEN_BLOCKS = 12  #: of them are open at a time, about, however late labels come
_AS_ROWS = 500  #: a shadow declared by time asks for this many rows at least

# Parts of the alarm budget: what labels say matters most, what is only estimated least.
_PARTS = {
    rules.DRIFT: 3,
    rules.QUALITY: 4,
    rules.QUALITY_ESTIMATE: 1,
    rules.DATA_QUALITY: 2,
    rules.ERRORS: 2,
}
_OUTAGE = timedelta(minutes=15)  #: failed requests are judged at least so often


def release_policy(spec: Spec, live: ModelVersion | None, *, changed: bool) -> Policy:
    """Return how a version of this spec is released beside the live one.

    The margin of the loss is declared as a share of the live version's loss, as measured
    on its held-out rows; a version without that number is taken to lose half a nat.

    Args:
        spec: The one in force.
        live: What answers now.
        changed: Whether the version was made by another spec or code than the live one.
    """
    usual = _usual_loss(spec, live)
    block = max(spec.release.canary.block, _SHORTEST, _delay(spec) / _OPEN_BLOCKS)
    release, canary = spec.release, spec.release.canary
    guards = ("errors", "slow requests") if spec.guardrails.latency_p99 else ("errors",)
    rows = release.shadow.for_.requests
    return Policy(
        shadow=_AS_ROWS if rows is None else rows,
        steps=canary.steps,
        false_rollback=canary.false_rollback,
        false_promote=canary.false_promote,
        at_most=canary.at_most,
        guards=guards,
        tolerated_ratio=1 + canary.margin,
        block=canary.block,
        loss_margin=canary.loss_margin * usual,
        objective=spec.objective.metric if spec.objective.metric in METRICS else None,
        objective_margin=canary.objective_margin,
        objective_block=block,
        patience=block + _delay(spec),
        loss="log loss" if spec.task == "classification" else "squared error",
        on_breach=OnBreach(release.on_breach),
        inconclusive=Inconclusive(canary.inconclusive),
        errors_at_most=spec.guardrails.errors.at_most if spec.guardrails.errors else None,
        approvers=approvers(spec, changed=changed),
    )


def _delay(spec: Spec) -> timedelta:
    """Return how long after its time a row's label is known, where the spec says so."""
    delay = spec.data.label.delay
    return delay if isinstance(delay, timedelta) else timedelta(0)


def approvers(spec: Spec, *, changed: bool) -> tuple[str, ...]:
    """Return the roles, any of which must approve of a release; empty: it needs nobody's."""
    asked = spec.release.approve
    return asked.by if asked is not None and (changed or asked.when == "always") else ()


def _usual_loss(spec: Spec, live: ModelVersion | None) -> float:
    """Return the live version's mean loss on its held-out rows."""
    metrics = live.metrics if live is not None else {}
    if spec.task == "classification":
        found = metrics.get("log_loss", _HALF_A_NAT)
        return found if isfinite(found) and found > 0 else _HALF_A_NAT
    found = metrics.get("rmse", 1.0) ** 2
    return found if isfinite(found) and found > 0 else 1.0


class Watching(Struct, frozen=True, kw_only=True):
    """The policies of one version's monitors; None where a monitor is off."""

    drift: DriftPolicy | None
    data_quality: DataQualityPolicy
    quality: QualityPolicy | None
    estimate: QualityPolicy | None
    errors: ErrorPolicy | None


def watching(spec: Spec, reference: Reference, redacted: Collection[str] = ()) -> Watching:
    """Return how a version is watched: the alarm budget shared by the monitors it has.

    What is `redacted` is not in the log, so nothing is known of it.
    """
    window = spec.watch.window.total_seconds()
    every = spec.watch.alarm_budget.period.total_seconds()
    target = _target(spec, reference)
    weights = _weights(spec, reference) | dict.fromkeys(sorted(redacted), 0.0)
    on = {
        rules.DRIFT: any(weights.get(column.name, 1.0) for column in reference.columns),
        rules.DATA_QUALITY: True,
        rules.QUALITY: target is not None,
        rules.QUALITY_ESTIMATE: target is not None and spec.watch.quality.estimate_meanwhile,
        rules.ERRORS: spec.guardrails.errors is not None,
    }
    total = sum(_PARTS[name] for name, is_on in on.items() if is_on)

    def limit(name: str, window: float = window) -> float:
        return threshold(every=every, window=window, share=_PARTS[name] / total)

    def quality(name: str) -> QualityPolicy | None:
        if target is None or not on[name]:
            return None
        metric, seconds = spec.objective.metric, int(window)
        return QualityPolicy(target=target, metric=metric, seconds=seconds, threshold=limit(name))

    watched = None
    if on[rules.DRIFT]:
        watched = DriftPolicy(
            seconds=int(window),
            threshold=limit(rules.DRIFT),
            floor=spec.watch.drift.effect,
            weights=weights,
        )
    ceiling, seconds = spec.guardrails.errors, errors_window(spec)
    errors = None
    if ceiling is not None:
        often = limit(rules.ERRORS, seconds)
        errors = ErrorPolicy(at_most=ceiling.at_most, seconds=seconds, threshold=often)
    return Watching(
        drift=watched,
        data_quality=DataQualityPolicy(seconds=int(window), threshold=limit(rules.DATA_QUALITY)),
        quality=quality(rules.QUALITY),
        estimate=quality(rules.QUALITY_ESTIMATE),
        errors=errors,
    )


def redaction_changed(
    in_force: EndpointSettings,
    listed: Collection[str],
    spec: Spec | GraphSpec,
    besides: Collection[str],
    path: str,
) -> list[Change]:
    """Return what changes about what is not logged, beside what the spec's own list tells.

    Args:
        in_force: Of the endpoint.
        listed: What the list of the spec in force has.
        spec: The one that is to be.
        besides: What is not logged whatever its list says.
        path: What the change is called.
    """
    now, wanted = set(in_force.redact), set(endpoint_settings(spec, besides).redact)
    before, after = now - set(listed), wanted - set(spec.serve.log.redact)
    if now == wanted or before == after:
        return []
    names = [", ".join(sorted(some)) or "nothing" for some in (before, after)]
    return [Change(path=path, before=names[0], after=names[1])]


def required_changed(in_force: EndpointSettings, required: Collection[str]) -> list[Change]:
    """Return what changes about what requests may not lack."""
    before, after = (", ".join(sorted(some)) or "nothing" for some in (in_force.required, required))
    path = "required by contract"
    return [] if before == after else [Change(path=path, before=before, after=after)]


def endpoint_settings(
    spec: Spec | GraphSpec,
    personal: Collection[str] = (),
    fallback: Kept | None = None,
    required: Collection[str] = (),
) -> EndpointSettings:
    """Return how the endpoint of this spec's model is to answer, and what it is to log.

    Args:
        spec: The one in force.
        personal: Columns that its data contract marks as personal.
        fallback: The function that answers when a version fails, where it names one.
        required: Columns that its data contract says always have a value.
    """
    serve, limits = spec.serve, spec.serve.limits
    bound = None
    if isinstance(spec, Spec) and serve.log.sample < 1:
        bound = spec.guardrails.latency_p99
    return EndpointSettings(
        concurrency=limits.concurrency,
        queue=limits.queue,
        timeout=limits.timeout.total_seconds() if limits.timeout else None,
        body=limits.body,
        memory=limits.memory,
        batch_rows=serve.batch.rows,
        batch_wait=serve.batch.wait.total_seconds(),
        process=Process(serve.process),
        versions=serve.versions or "",
        swap=Swap(serve.swap),
        sample=serve.log.sample,
        slow=bound.at_most.total_seconds() if bound else None,
        redact=tuple(sorted({*serve.log.redact, *personal})),
        required=tuple(sorted(required)),
        key_header=(serve.key.header or "").lower(),
        key_field=serve.key.field or "",
        fallback_value=serve.fallback.value,
        fallback_code=fallback.address if fallback else "",
        fallback_source=fallback.source if fallback else "",
    )


def errors_window(spec: Spec) -> int:
    """Return the length in seconds of the windows in which requests are counted."""
    return int(min(spec.watch.window, _OUTAGE).total_seconds())


def _target(spec: Spec, reference: Reference) -> float | None:
    """Return the worst acceptable value of the objective, None if it cannot be watched."""
    objective = spec.objective
    if objective.metric not in HIGHER_IS_BETTER or reference.joint is None:
        return None
    declared = objective.at_least if objective.higher_is_better else objective.at_most
    held_out = measure(reference.joint, objective.metric).value
    return target_of(objective.metric, reference=held_out, objective=declared)


def _weights(spec: Spec, reference: Reference) -> dict[str, float]:
    """Return 0 for what is not to be watched; what is has the default of 1."""
    watched = spec.watch.drift.features
    named = {column.name for column in reference.columns if column.name != SCORE}
    out = set() if watched == "all" else named - set(watched)
    if not spec.watch.drift.prediction:
        out |= {SCORE}
    return dict.fromkeys(sorted(out), 0.0)
