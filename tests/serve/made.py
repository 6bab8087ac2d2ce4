"""Hand-made predictors and records: the same protocol as registered models, no training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from setpoint.models.entities import Input as ModelInput
from setpoint.models.entities import Signature
from setpoint.serve.entities import Deployment, LabelRecord, PredictionRecord, Role, ShadowRecord


class Input(Struct, frozen=True):
    name: str
    datatype: str = "FP64"


class Sum:
    """Scores a row by its sum times `factor`; text counts by its length."""

    def __init__(self, factor: float = 1.0, inputs: Sequence[Input] | None = None) -> None:
        self.factor = factor
        self.inputs = inputs or [Input("a"), Input("b")]
        self.calls = 0

    def predict(self, rows: Any) -> Any:
        self.calls += 1
        if isinstance(rows, dict):
            columns = [
                np.array([len(text or "") for text in v]) if v.dtype == object else v
                for v in rows.values()
            ]
            return self.factor * np.sum(columns, axis=0)
        return self.factor * rows.sum(axis=1)


class YesNo(Sum):
    """Says so, and what it calls the two."""

    def __init__(self, classes: Sequence[Any] = ("no", "yes")) -> None:
        super().__init__(0.1)
        inputs = [ModelInput(name=each.name, datatype=each.datatype) for each in self.inputs]
        self.signature = Signature(inputs=inputs, kind="classification", classes=list(classes))


class Raises(Sum):
    """Works while it is warmed up, then raises."""

    def predict(self, rows: Any) -> Any:
        if self.calls:
            raise ZeroDivisionError("no luck")
        return super().predict(rows)


class Answers(Sum):
    """Answers the same thing whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def predict(self, rows: Any) -> Any:  # noqa: ARG002
        return np.array(self.answer)


def live(version: int = 1) -> Deployment:
    return Deployment(model="m", version=version, role=Role.LIVE, weight=1.0)


def canary(version: int = 2, weight: float = 0.5) -> Deployment:
    return Deployment(model="m", version=version, role=Role.CANARY, weight=weight)


def shadow(version: int = 2) -> Deployment:
    return Deployment(model="m", version=version, role=Role.SHADOW, weight=0.0)


def predicted(*ids: str, at_us: int = 1_000_000, **changed: Any) -> PredictionRecord:
    count = len(ids)
    fields: dict[str, Any] = {
        "at_us": at_us,
        "model": "m",
        "request_id": "req_1",
        "ids": list(ids),
        "versions": [1] * count,
        "roles": bytes(count),
        "columns": ["a", "b"],
        "values": np.arange(2.0 * count).tobytes(),
        "texts": {"city": ["Zürich"] * count},
        "scores": np.full(count, 0.5).tobytes(),
        "micros": 42,
    }
    return PredictionRecord(**(fields | changed))


def shadowed(*ids: str) -> ShadowRecord:
    return ShadowRecord(
        at_us=1_000_000,
        model="m",
        request_id="req_1",
        ids=list(ids),
        versions=[2] * len(ids),
        scores=np.full(len(ids), 0.25).tobytes(),
    )


def labelled(*ids: str) -> LabelRecord:
    return LabelRecord(at_us=2_000_000, model="m", ids=list(ids), labels=[1.0] * len(ids))
