"""temporary"""
from typing import Any
import numpy as np
from setpoint.control.making import LABEL, SLICE, Making
from setpoint.control.spec.entities import Spec
from setpoint.models.entities import Check, Gate
from setpoint.models.intervals import estimate, improvement


def gate(making: Making, spec: Spec, project: Any, objects: Any, table: Any, fitted: Any, baseline: Any, scores: Any, live: Any) -> tuple[Gate, dict[str, float]]:
    test = making.test(table)
    label = test[LABEL].to_numpy()
    o = spec.objective
    checks = []
    e = estimate(o.metric, label, scores, confidence=o.confidence)
    checks.append(Check(name="objective", passed=o.at_least is None or e.low >= o.at_least, value=e.value, low=e.low, high=e.high, bound=o.at_least, detail=f"{o.metric} {e.value:.4f} ({e.low:.4f} to {e.high:.4f})"))
    if baseline is not None:
        b = making.score(baseline, test)
        i = improvement(o.metric, label, scores, b, confidence=o.confidence)
        checks.append(Check(name="better than baseline", passed=bool(i.low > 0), value=i.value, low=i.low, high=i.high, bound=0, detail=f"{i.value:+.4f}"))
    if live is not None:
        l = making.score(live, test)
        i = improvement(o.metric, label, scores, l, confidence=o.confidence)
        print("live vs new", i)
    return Gate(checks=checks, passed=all(c.passed for c in checks)), {o.metric: e.value}
