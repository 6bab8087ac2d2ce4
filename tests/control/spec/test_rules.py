"""What a spec says must hold together."""

import pytest
from tests.control.spec.examples import DEMAND, FLIGHTS, SMALLEST

from setpoint.control.spec.parse import SpecInvalid, parse


@pytest.mark.parametrize(
    ("text", "old", "new", "said", "hint"),
    [
        (FLIGHTS, "at_least: 0.68", "at_most: 0.68", "would hold roc_auc down", "at_least"),
        (FLIGHTS, "at_least: 0.68", "at_least: 68", "lies between 0 and 1", "0.68"),
        (DEMAND, "at_most: 12.5", "at_least: 12.5", "would hold rmse up", "at_most"),
        (DEMAND, "mae: {at_most", "roc_auc: {at_least", "does not measure a reg", "regres"),
        (DEMAND, "mae: {at_most: 20}", "least_rows: 9", "there twice", "keep one"),
        (DEMAND, ", mae: {at_most: 20}", "", "has no metric to hold", "rmse"),
        (DEMAND, "[shop, region]", "[]", "names no column", "at least one"),
        (DEMAND, "rows: sales", "rows: sale", "no source “sale”", "mean “sales”?"),
        (DEMAND, "time: day", "time: sold", "are the same column “sold”", "name two"),
        (DEMAND, "  time: day\n", "", "counts from data.time", "set data.time"),
        (DEMAND, ", must_not_fall: 150%", "", "business holds nothing", "must_not_rise"),
        (DEMAND, "[100%]", "[50%]", "does not end at 100%", "100%"),
        (DEMAND, "[100%]", "[]", "does not end at 100%", "100%"),
        (DEMAND, "[100%]", "[0%, 100%]", "share of 0%", "remove"),
        (DEMAND, "[100%]", "[50%, 20%, 100%]", "does not rise", "[5%, 25%, 100%]"),
        (DEMAND, "test: 10%", "test: 100%", "one side would be empty", "99%"),
        (DEMAND, "window: 120d", "window: 0d", "is no time at all", "above 0"),
        (DEMAND, "effect: 0.1", "effect: -1", "lies between 0 and 10", "0.05"),
        (DEMAND, "window: 1h", "window: 2000d", "longer than a year", "1d"),
        (FLIGHTS, "at_most: 0.05", "at_most: 5", "lies between 0 and 1", "0.05"),
        (
            DEMAND, "guardrails: {", "guardrails: {calibration_error: {at_most: 0.1}, ",
            "a regression has no probabilities", "remove",
        ),
        (FLIGHTS, "confidence: 0.95", "confidence: 100%", "says nothing", "95%"),
        (FLIGHTS, "false_rollback: 1%", "false_rollback: 0%", "false_rollback is", "1%"),
        (FLIGHTS, "by: [risk]", "by: []", "names no role", "at least one"),
        (SMALLEST, "train}", "train}\nserve: {fallback: baseline}", "fall back", "set"),
        (SMALLEST, "train}", "train, split: {test: 3d}}", "random split", "set data.time"),
        (SMALLEST, "train}", "train, split: {by: time}}", "is not set", "random"),
        (SMALLEST, "train}", "train}\nserve: {fallback: baseline}", "to fall back", "set"),
        (
            SMALLEST, "churn:train}", "churn:train}\nobjective: {better_than: baseline}",
            "no baseline", "set train.baseline",
        ),
        (
            SMALLEST, "train}", "train}\nserve: {limits: {memory: 1GB}}",
            "needs a process to limit", "process: own",
        ),
        (
            SMALLEST, "train}", "train}\nserve: {process: own, limits: {memory: 1MB}}",
            "leaves no room", "256MB",
        ),
        (
            SMALLEST, "train}", "train}\nserve: {limits: {timeout: 5ms}, batch: {wait: 1s}}",
            "leaves no time", "a fraction",
        ),
        (SMALLEST, "train}", "train}\nserve: {limits: {timeout: 0s}}", "no time", "above 0"),
        (SMALLEST, "train}", "train}\nserve: {log: {sample: 0%}}", "nothing could", "1%"),
        (SMALLEST, "train}", "train}\nserve: {log: {redact: [a, a]}}", "a is redacted", "one"),
        (
            SMALLEST, "train}", "train}\nserve: {limits: {concurrency: 65}}",
            "a thread each", "up to 64",
        ),
        (FLIGHTS, "delay: arrival", "delay: 3d, known_at: arrival", "has both", "one of"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    text: str, old: str, new: str, said: str, hint: str
) -> None:
    assert old in text
    with pytest.raises(SpecInvalid) as caught:
        parse(text.replace(old, new, 1))
    assert said in caught.value.message
    assert hint in str(caught.value)
