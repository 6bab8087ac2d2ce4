"""A store with ten months of one model's life, made through the domain's own functions.

It is what pages and the API are developed and tested against. The same seed gives the same
store: five versions, one bad candidate rolled back, one release in its canary, alarms in
every state, datasets with failing checks.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
from tests.releases.begun import begun

from setpoint.artifacts.store import open_store
from setpoint.control import store as control
from setpoint.control.entities import Applied
from setpoint.control.spec.parse import canonical, hash_of, parse, to_document
from setpoint.core.clock import ManualClock
from setpoint.core.operations import Context
from setpoint.data import store as data
from setpoint.data.entities import CheckResult, Column, DatasetVersion, Validation
from setpoint.data.tables_delta import append
from setpoint.db.local import LocalBackend
from setpoint.events import chain
from setpoint.events.store import record
from setpoint.models.entities import Check, Gate, Input, Parity, Signature
from setpoint.models.service import OverrideGate, Register, override, register
from setpoint.monitor import store as monitor
from setpoint.monitor.drift import ColumnDrift, DriftVerdict
from setpoint.monitor.entities import Traffic
from setpoint.monitor.quality import QualityVerdict
from setpoint.monitor.service import AcknowledgeAlarm, ack, close_alarms, open_alarm
from setpoint.profiles.reference import build_reference
from setpoint.releases import service as releases
from setpoint.releases.entities import Policy
from setpoint.releases.evidence import Evidence, GuardTally, paired_loss
from setpoint.releases.rules import Advance, Promote, RollBack
from setpoint.runs import environment
from setpoint.runs import service as runs
from setpoint.runs.entities import Artifact, Code, Point

MODEL = "flights-late"
BIRTH = datetime(2013, 3, 1, tzinfo=UTC)
END = datetime(2013, 12, 30, tzinfo=UTC)
_DAY = timedelta(days=1)

#: number, born, live from (None: never), why, test AUC, gate passed
_VERSIONS: tuple[tuple[int, datetime, str, float, bool], ...] = (
    (1, BIRTH, "first version", 0.741, True),
    (
        2,
        datetime(2013, 5, 2, tzinfo=UTC),
        "drift alarm: dep_temp and wind moved",
        0.752,
        True,
    ),
    (3, datetime(2013, 7, 9, tzinfo=UTC), "quality alarm: roc_auc below 0.68", 0.763, True),
    (
        4,
        datetime(2013, 9, 3, tzinfo=UTC),
        "bad candidate, trained on shuffled labels",
        0.502,
        False,
    ),
    (
        5,
        datetime(2013, 10, 4, tzinfo=UTC),
        "stale: the live version is 87 days old",
        0.748,
        True,
    ),
    (6, datetime(2013, 12, 18, tzinfo=UTC), "drift alarm: temp moved", 0.744, True),
)
_LIVE = ((1, 0), (2, 66), (3, 136), (5, 223))
_SPEC = """
model: flights-late
owner: ops-team
purpose: warn passengers whose flight will arrive 15 minutes late or more
data:
  source: {flights: flights.parquet, weather: weather.parquet}
  label: {column: late, delay: arrival}
  time: scheduled_departure
train: {code: "flights:train", baseline: "flights:baseline"}
objective: {metric: roc_auc, at_least: 0.68, better_than: baseline, confidence: 95%}
"""
_FEATURES = [
    *("month", "hour", "weekday", "carrier", "origin", "distance", "seats", "plane_age"),
    *("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
    *("carrier_late_7d", "origin_late_7d"),
]


def seed(backend: LocalBackend, clock: ManualClock, *, days: int = 304) -> None:
    """Fill an empty store; the clock ends `days` after 1 March 2013."""
    maker = _Maker(backend, clock)
    clock.set(BIRTH)
    maker.spec()
    for day in range(0, days, 30):
        clock.set(BIRTH + day * _DAY)
        maker.datasets(day // 30 + 1)
    clock.set(BIRTH)
    maker.versions(days)
    maker.windows(days)
    maker.alarms(days)
    clock.set(BIRTH + days * _DAY)
    with backend.engine.begin() as conn:
        chain.seal(conn)


class _Maker:
    def __init__(self, backend: LocalBackend, clock: ManualClock) -> None:
        self._backend = backend
        self._clock = clock
        self._rng = np.random.default_rng(7)

    def spec(self) -> None:
        declared = parse(_SPEC)
        spec = Applied(
            model=MODEL,
            hash=hash_of(declared),
            content=to_document(declared),
            address=open_store(self._backend.settings).put(canonical(declared)),
            training="b3:" + "2" * 64,
            file="flights.setpoint.yaml",
            applied_at=BIRTH,
            applied_by="ada",
        )
        with self._backend.engine.begin() as conn:
            control.apply(conn, spec)
            record(self._ctx(conn), "spec.applied", f"model:{MODEL}", hash=spec.hash)

    def datasets(self, number: int) -> None:
        for name, rows in (("flights", 27_000), ("weather", 2_100)):
            added = int(rows * self._rng.uniform(0.92, 1.08))
            bad = int(self._rng.integers(0, 40)) if name == "flights" else 0
            frame = _frame(name, self._rng, 400, self._clock.now())
            delta = append(self._backend.settings, name, frame, number=number)
            checks = _checks(name, added, bad, number)
            validation = Validation(
                id=f"val_{name}_{number:022d}",
                dataset=name,
                number=number,
                at=self._clock.now(),
                rows=added,
                set_aside=bad,
                checks=checks,
                contract=f"{name} 1.0.0",
                notes=[],
            )
            version = DatasetVersion(
                dataset=name,
                number=number,
                delta_version=delta,
                rows=number * rows,
                added=added,
                set_aside=bad,
                created_at=self._clock.now(),
                until=self._clock.now(),
                columns=[Column(name=c, type=str(t)) for c, t in frame.schema.items()],
                validation_id=validation.id,
            )
            with self._backend.engine.begin() as conn:
                data.add(conn, version, validation)
                record(
                    self._ctx(conn),
                    "dataset.ingested",
                    version.ref,
                    rows=added,
                    set_aside=bad,
                )

    def versions(self, days: int) -> None:
        for number, born, why, auc, passed in _VERSIONS:
            if born > BIRTH + days * _DAY:
                return
            self._clock.set(born)
            run = self._run(number, why, auc)
            command = _registration(number, run, why, auc, passed=passed)
            command = msgspec.structs.replace(command, reference=self._reference(number))
            self._backend.call(register, command)
            if not passed:
                reason = "the demo's extra step: a version trained on shuffled labels"
                self._backend.call(
                    override, OverrideGate(model=MODEL, number=number, reason=reason)
                )
            self._release(number, bad=not passed, last=number == len(_VERSIONS))

    def _run(self, number: int, why: str, auc: float) -> str:
        store = open_store(self._backend.settings)
        source = store.put(f"# version {number}\n".encode())
        start = runs.Start(
            experiment=MODEL,
            params={"why": why, "seed": 7, "num_leaves": 31, "learning_rate": 0.05},
            inputs={"flights": min(number * 2, 10), "weather": min(number * 2, 10)},
            code=Code(commit="4f2a9c1e" * 5, dirty=number == 3, snapshot=source, files=4),
            environment=environment.capture(store),
        )
        run = self._backend.call(runs.start, start)
        points = [
            Point(name="valid_auc", value=auc - 0.12 * math.exp(-step / 40), step=step)
            for step in range(0, 300, 5)
        ]
        points += [
            Point(name="roc_auc", value=auc),
            Point(name="log_loss", value=0.62 - 0.15 * auc),
            Point(name="calibration_error", value=0.021 + 0.002 * number),
        ]
        left = {"model.txt": b"tree", "importance.csv": b"a,1\n"}
        artifacts = {
            path: Artifact(address=store.put(data), size=len(data)) for path, data in left.items()
        }
        self._backend.call(runs.log, runs.Log(run=run.id, points=points, artifacts=artifacts))
        self._clock.advance(timedelta(seconds=4))
        self._backend.call(runs.finish, runs.Finish(run=run.id))
        return run.id

    def _reference(self, number: int) -> str:
        """Store what windows are compared with: scores a little too sure of themselves."""
        chance = self._rng.beta(2, 6, 3_000)
        found = build_reference(
            _rows(np.random.default_rng(number), len(chance)),
            scores=np.clip(chance ** (1 + number / 50), 0, 1),
            labels=(self._rng.random(3_000) < chance).astype(float),
        )
        return open_store(self._backend.settings).put(found.encode())

    def _release(self, number: int, *, bad: bool, last: bool) -> None:
        policy = Policy(guards=("errors", "disagreement"))
        start = releases.Start(model=MODEL, version=number, policy=policy)
        release = begun(self._backend, start)
        if not release.open:
            return
        mean = 0.09 if bad else -0.012
        for look in range(60):
            self._clock.advance(timedelta(hours=2))
            shift = self._rng.normal(mean, 0.31, 60)
            rate = 0.012 if bad and look > 8 else 0.002
            more = Evidence(
                guards={
                    "errors": (_tally(self._rng, release.weight or 0.5, rate),),
                    "disagreement": (_tally(self._rng, release.weight or 0.5, 0.02),),
                },
                loss=paired_loss(shift.tolist()),
                requests_in_stage=800,
            )
            with self._backend.engine.begin() as conn:
                ctx = self._ctx(conn)
                release = releases.absorb(ctx, release.id, more)
                decision: Any = None
                if bad and look == 14:
                    decision = RollBack(why="log loss +0.091 (99.5% CS +0.055..+0.127)")
                elif look in {10, 20} and not bad:
                    step = look // 10
                    decision = Advance(step=step, why="no breach over 8,000 requests")
                elif last and look == 26:
                    return
                elif look == 34 and not bad:
                    why = "log loss -0.012 (95% CS -0.025..-0.001) over 2,100 paired labels"
                    decision = Promote(why=why, proven=number != 3)
                if decision is not None:
                    release = releases.apply_decision(ctx, release, decision)
            if not release.open:
                return

    def windows(self, days: int) -> None:
        days_of: list[Traffic] = []
        verdicts: list[tuple[int, str, Any]] = []
        level = 0.1
        for day in range(days):
            at = BIRTH + day * _DAY
            version = max((n for n, since in _LIVE if since <= day), default=1)
            age = day - dict(_LIVE)[version]
            count = int(900 + 90 * math.sin(day / 9) - 210 * (at.weekday() == 5))
            days_of.append(_traffic(version, "live", at, count))
            if day >= 292:
                days_of.append(_traffic(6, "canary", at, count // 20))
            if day < days - 1:
                verdicts.append((version, "quality", self._quality(at, age, count)))
            level = 0.05 if age == 0 else level * math.exp(self._rng.normal(0.02, 0.5))
            level = min(max(level, 0.02), 200.0)
            verdicts.append((version, "drift", _drift(at, level, count)))
        with self._backend.engine.begin() as conn:
            monitor.add_traffic(conn, MODEL, days_of)
            for version, name, verdict in verdicts:
                monitor.add_verdict(conn, MODEL, version, name, verdict)

    def _quality(self, at: datetime, age: int, count: int) -> QualityVerdict:
        value = 0.735 - 0.0008 * age + self._rng.normal(0, 0.014)
        return QualityVerdict(
            judged=True,
            alarm=False,
            evidence=1.0,
            threshold=240.0,
            start=at,
            end=at + _DAY,
            metric="roc_auc",
            value=float(value),
            low=float(value) - 0.035,
            high=float(value) + 0.034,
            target=0.68,
            labels=int(count * self._rng.uniform(0.95, 0.98)),
            widened=1.0,
        )

    def alarms(self, days: int) -> None:
        shares = [("temp", 0.61), ("dewp", 0.22), ("wind_speed", 0.09), ("month", 0.04)]
        texts = {
            "drift": "temp and dewp are not as in training (evidence 312 of 240)",
            "quality": "roc_auc 0.664 is below 0.68 (evidence 271 of 240)",
            "data_quality": "wind_gust is missing in 41 % of rows, 12 % were expected",
        }
        plan = (
            (1, "drift", 60, "closed by a new live version"),
            (2, "quality", 126, "closed by a new live version"),
            (3, "data_quality", 180, "acknowledge"),
            (5, "drift", 288, ""),
        )
        for version, name, day, answer in plan:
            if day >= days:
                continue
            self._clock.set(BIRTH + day * _DAY)
            with self._backend.engine.begin() as conn:
                ctx = self._ctx(conn)
                evidence = {"evidence": 312.0, "threshold": 240.0, "rows": 912}
                alarm = open_alarm(
                    ctx,
                    model=MODEL,
                    version=version,
                    monitor=name,
                    text=texts[name],
                    evidence=evidence,
                    attribution=shares if name == "drift" else [],
                )
            self._clock.advance(timedelta(days=7))
            if answer == "acknowledge":
                reason = "the weather feed lost gusts; the provider is told"
                self._backend.call(ack, AcknowledgeAlarm(id=alarm.id, reason=reason))
            elif answer:
                with self._backend.engine.begin() as conn:
                    close_alarms(self._ctx(conn), MODEL, reason=answer, monitor=name)

    def _ctx(self, conn: Any) -> Context:
        return self._backend.context(conn)


def _rows(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """Return values of every feature, as a training set has them."""
    texts = {"carrier": ["UA", "B6", "EV"], "origin": ["EWR", "JFK", "LGA"]}
    return {
        name: rng.choice(texts[name], count, p=[0.5, 0.3, 0.2]).tolist()
        if name in texts
        else rng.normal(10, 3, count).round(2)
        for name in _FEATURES
    }


def _registration(number: int, run: str, why: str, auc: float, *, passed: bool) -> Register:
    inputs = [
        Input(name=name, datatype="BYTES" if name in {"carrier", "origin"} else "FP64")
        for name in _FEATURES
    ]
    slices = [
        Check(
            name=f"slice origin={origin}",
            passed=passed,
            value=auc - low,
            low=auc - low - 0.02,
            high=auc - low + 0.02,
            bound=0.64,
            detail=f"{count:,} rows",
        )
        for origin, low, count in (
            ("EWR", 0.01, 4_861),
            ("JFK", 0.0, 4_402),
            ("LGA", 0.03, 4_120),
        )
    ]
    checks = [
        Check(
            name="objective",
            passed=passed,
            value=auc,
            low=auc - 0.012,
            high=auc + 0.011,
            bound=0.68,
            detail="roc_auc on 13,383 rows of the last 14 days",
        ),
        Check(
            name="better than baseline",
            passed=passed,
            value=auc - 0.65,
            low=auc - 0.67,
            high=auc - 0.63,
            bound=0.0,
            detail="paired bootstrap on the same rows",
        ),
        *slices,
        Check(
            name="calibration",
            passed=True,
            value=0.021,
            bound=0.05,
            detail="mean gap over ten groups",
        ),
        Check(name="parity", passed=True, value=4.8e-7, bound=1e-5, detail="no label flips"),
        Check(name="latency", passed=True, value=0.00041, bound=0.02, detail="p99 of one row"),
    ]
    return Register(
        model=MODEL,
        run_id=run,
        why=why,
        flavor="lightgbm",
        artifact="b3:" + f"{number:x}" * 64,
        onnx="b3:" + "a" * 64,
        parity=Parity(held=True, rows=14_400, max_difference=4.8e-7, probes={"training": 14_000}),
        signature=Signature(inputs=inputs),
        metrics={"roc_auc": auc, "log_loss": 0.62 - 0.15 * auc, "calibration_error": 0.021},
        gate=Gate(checks=checks, passed=passed),
        card="LightGBM on schedule, weather and 7-day carrier delay.",
        spec="b3:" + "1" * 64,
        datasets={"flights": min(number * 2, 10), "weather": min(number * 2, 10)},
        size=412_344,
    )


def _checks(name: str, rows: int, bad: int, number: int) -> list[CheckResult]:
    def check(rule: str, column: str | None, failing: int = 0) -> CheckResult:
        return CheckResult(
            name=rule,
            column=column,
            passed=failing == 0,
            failing=failing,
            total=rows,
            severity="error" if failing < 100 else "warning",
            detail=f"found {failing}, allowed 0" if failing else "",
        )

    if name == "weather":
        return [
            check("origin is one of 3 values", "origin"),
            check("temp is between -30 and 130", "temp"),
            check("wind_gust is not missing", "wind_gust", 0 if number % 3 else rows // 3),
            check("one row per origin and hour", None),
        ]
    return [
        check("flight_id is unique", "flight_id"),
        check("origin is one of 3 values", "origin"),
        check("carrier is not missing", "carrier"),
        check("distance is above 0", "distance"),
        check("arrival is after departure", None, bad),
        check("air_time is between 10 and 720", "air_time", bad // 3),
        check("tailnum matches N[0-9A-Z]+", "tailnum", 3 if number == 5 else 0),
    ]


def _frame(name: str, rng: np.random.Generator, rows: int, at: datetime) -> pl.DataFrame:
    origins = rng.choice(["EWR", "JFK", "LGA"], rows)
    if name == "weather":
        gust = rng.gamma(2, 6, rows)
        return pl.DataFrame(
            {
                "origin": origins,
                "hour": [at + timedelta(hours=i) for i in range(rows)],
                "temp": rng.normal(55, 15, rows),
                "wind_gust": [None if g < 8 else float(g) for g in gust],
                "precip": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(0.1, rows)),
            }
        )
    return pl.DataFrame(
        {
            "flight_id": [f"f{at:%Y%m%d}-{i:05d}" for i in range(rows)],
            "origin": origins,
            "carrier": rng.choice(["UA", "B6", "EV", "DL", "AA", "MQ"], rows),
            "distance": rng.gamma(3, 350, rows),
            "scheduled_departure": [at + timedelta(minutes=3 * i) for i in range(rows)],
            "late": rng.random(rows) < 0.22,
        }
    )


def _tally(rng: np.random.Generator, weight: float, rate: float) -> GuardTally:
    requests = 800
    canary = int(requests * weight)
    events = int(rng.binomial(canary, rate))
    return GuardTally(
        weight=weight,
        canary_events=events,
        total_events=events + int(rng.binomial(requests - canary, min(rate, 0.02))),
        canary_requests=canary,
        requests=requests,
    )


def _traffic(version: int, role: str, at: datetime, rows: int) -> Traffic:
    return Traffic(day=at, version=version, role=role, rows=rows, logged=rows)


def _drift(at: datetime, level: float, rows: int) -> DriftVerdict:
    columns = [
        ColumnDrift(column=name, share=share, effect=0.08, usual=0.06, p=0.2, log_r=1.0)
        for name, share in (("temp", 0.6), ("dewp", 0.3), ("month", 0.1))
    ]
    return DriftVerdict(
        judged=True,
        alarm=level > 240,
        evidence=level,
        threshold=240.0,
        start=at,
        end=at + _DAY,
        rows=rows,
        columns=columns,
    )
