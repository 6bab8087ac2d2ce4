"""What differs between two versions is said, and nothing else."""

import math

import pytest
from tests.models.conftest import Adds, Trains

from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.models.compare import service
from setpoint.models.compare.rules import Change
from setpoint.models.entities import Check, Gate, Input, Signature
from setpoint.runs import service as runs
from setpoint.runs.commands import Start
from setpoint.runs.entities import Code


def gate(value: float, latency: float, *, passed: bool = True) -> Gate:
    checks = [
        Check(name="objective", passed=True, value=0.7),
        Check(name="slice origin=EWR", passed=passed, value=value, low=value - 0.1, high=0.9),
        Check(name="latency", passed=True, value=latency, bound=0.02),
    ]
    return Gate(checks=checks, passed=passed)


def diff(backend: LocalBackend, **fields: object) -> service.VersionDiff:
    values = {"model": "late", "number": 1, "other": 2} | fields
    return backend.call(service.diff, service.DiffVersions(**values))  # type: ignore[arg-type]


def test_two_versions_differ_in_what_went_in_and_what_came_out(
    backend: LocalBackend, train: Trains
) -> None:
    for name, leaves, commit in (("a", 31, "c1"), ("b", 63, "c2")):
        start = Start(
            experiment="late",
            id=name,
            params={"leaves": leaves, "seed": 7},
            code=Code(commit=commit),
        )
        backend.call(runs.start, start)
    train(
        run_id="a",
        metrics={"auc": 0.7, "nan": math.nan},
        datasets={"flights": 1, "weather": 1},
        size=10,
        gate=gate(0.6, 0.001),
    )
    train(
        run_id="b",
        metrics={"auc": 0.7, "nan": math.nan, "f1": 0.5},
        datasets={"flights": 2, "weather": 1},
        size=12,
        onnx="b3:1",
        gate=gate(0.5, 0.002, passed=False),
        signature=Signature(inputs=[Input(name="wind", datatype="FP64")]),
    )
    found = diff(backend)
    assert (found.first, found.second, found.unknown) == ("version:late/1", "version:late/2", [])
    assert found.changes == [
        Change(kind="param", name="leaves", was=31, now=63),
        Change(kind="data", name="flights", was=1, now=2),
        Change(kind="code", name="commit", was="c1", now="c2"),
        Change(kind="input", name="distance", was="FP64"),
        Change(kind="input", name="wind", now="FP64"),
        Change(kind="metric", name="f1", now=0.5),
        Change(
            kind="check", name="slice origin=EWR", was=0.6, now=0.5, detail="0.5 … 0.9 → 0.4 … 0.9"
        ),
        Change(kind="form", name="serves as", was="lightgbm", now="onnx"),
        Change(kind="size", name="bytes", was=10, now=12),
        Change(kind="latency", name="seconds, 99th percentile", was=0.001, now=0.002),
    ]


def test_a_version_is_no_different_from_itself(backend: LocalBackend, train: Trains) -> None:
    train(metrics={"nan": math.nan}, gate=gate(0.6, 0.001))
    assert diff(backend, other=1).changes == []


def test_versions_of_two_models_compare_and_runs_elsewhere_are_told(
    backend: LocalBackend, train: Trains, add: Adds
) -> None:
    train(run_id="not-here", metrics={"auc": 0.7})
    add(metrics={"auc": 0.8})
    found = diff(backend, other=1, other_model="guest")
    assert found.unknown == ["version:late/1", "version:guest/1"]
    assert Change(kind="metric", name="auc", was=0.7, now=0.8) in found.changes
    with pytest.raises(NotFound):
        diff(backend, other=9)
