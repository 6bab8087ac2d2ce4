"""The log is followed into the database: each row once, whatever is cut or killed where."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL, labelled, predicted, shadowed
from tests.monitor import windows
from tests.releases.begun import begun

from setpoint.control import follow, store
from setpoint.control.evidence import Seen, evidence
from setpoint.control.follow import CURSOR, Followed, Follower
from setpoint.control.tables import cursors
from setpoint.core.clock import ManualClock, from_micros, to_micros
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict
from setpoint.monitor import store as monitor
from setpoint.monitor.drift import aligned
from setpoint.monitor.entities import WindowKey
from setpoint.profiles import joint
from setpoint.profiles.joint import Joint
from setpoint.profiles.profile import Profile, profile
from setpoint.profiles.reference import Reference
from setpoint.releases import service as releases
from setpoint.releases import store as release_store
from setpoint.releases.entities import Policy
from setpoint.releases.evidence import Evidence, merge
from setpoint.releases.service import Decide, Start
from setpoint.serve import store as serving
from setpoint.serve import writers
from setpoint.serve.entities import (
    CountRecord,
    Labelled,
    LabelRecord,
    PredictionRecord,
    Record,
    Role,
    ShadowRecord,
)
from setpoint.serve.log import LogWriter

HOUR = timedelta(hours=1)
FIRST, SECOND = made.reference(1), made.reference(2)


class Log:
    """A store with two versions, the second in release, and the log that is followed."""

    def __init__(self, home: LocalBackend, folder: Path) -> None:
        self.home = home
        made.apply(home, folder)
        made.version(home, run="run_1", found=FIRST)
        made.version(home, run="run_2", found=SECOND)
        begun(home, Start(model=MODEL, version=1))
        policy = Policy(block=timedelta(minutes=1))
        self.release = begun(home, Start(model=MODEL, version=2, policy=policy)).id
        self.writer = LogWriter(home.settings.log, segment_bytes=20_000)

    def write(self, *records: Record) -> None:
        for record in records:
            self.writer.append(record)

    def follow(self) -> Followed:
        return Follower(self.home).follow()

    def evidence(self) -> Evidence:
        with self.home.engine.begin() as conn:
            return release_store.get(conn, self.release).evidence

    def joints(self) -> dict[WindowKey, Joint]:
        with self.home.engine.begin() as conn:
            return windows.joints(conn, MODEL)

    def profiles(self) -> dict[WindowKey, Profile]:
        with self.home.engine.begin() as conn:
            return windows.profiles(conn, MODEL)

    def counts(self) -> tuple[int, int]:
        with self.home.engine.begin() as conn:
            return serving.count_predictions(conn, MODEL)


@pytest.fixture
def log(backend: LocalBackend, tmp_path: Path) -> Iterator[Log]:
    found = Log(backend, tmp_path / "project")
    yield found
    found.writer.close()


def labels_of(found: Joint) -> tuple[int, int, int]:
    return found.predicted, found.negatives, found.positives


def test_a_log_is_counted_once_however_many_followers_read_it(log: Log) -> None:
    log.write(
        predicted(["a", "b"], at=NOON),
        shadowed(["a", "b"], [0.4, 0.6], at=NOON),
        labelled(["a"], [1.0], at=NOON),
    )
    assert log.follow() == Followed(records=3, predictions=2, labels=1)
    before = (log.evidence(), log.counts())
    assert log.follow() == Followed(records=0, predictions=0, labels=0)
    log.write(predicted(["c"], at=NOON))
    assert log.follow() == Followed(records=1, predictions=1, labels=0)
    after = log.evidence()
    assert after.requests_in_stage == 3
    assert after.loss == before[0].loss
    assert log.counts() == (3, 1)


def test_a_log_of_several_processes_is_counted_once_whoever_told_what(log: Log) -> None:
    first, second = (writers.open_free(log.home.settings.log) for _ in range(2))
    first.append(predicted(["a"], at=NOON))
    second.append(predicted(["b"], at=NOON))
    second.append(labelled(["a"], [1.0], at=NOON + HOUR))
    log.write(predicted(["c"], at=NOON))
    assert log.follow() == Followed(records=4, predictions=3, labels=1)
    first.append(labelled(["a"], [0.0], at=NOON))  # said before, read after
    first.append(labelled(["b"], [0.0], at=NOON))
    second.append(labelled(["b"], [1.0], at=NOON + HOUR))
    assert log.follow() == Followed(records=3, predictions=0, labels=2)
    first.close()
    second.close()
    assert log.follow() == Followed(records=0, predictions=0, labels=0)
    with log.home.engine.begin() as conn:
        told = {name: label for name, _, label in serving.outcomes(conn, MODEL)}
    assert told == {"a": 1.0, "b": 1.0, "c": None}


def test_rows_are_counted_by_day_version_and_role_of_models_without_a_spec_too(log: Log) -> None:
    day = timedelta(days=1)
    log.write(
        predicted(["a", "b"], at=NOON),
        predicted(["b", "c"], at=NOON),  # asked again: counted once
        predicted(["d"], [], at=NOON, failed=1, status=500),  # nobody answered
        predicted(["e", "f"], at=NOON + day, canary=True, version=2, sample=0.5, unlogged=5),
        CountRecord(at_us=to_micros(NOON + day), model=MODEL, version=2, rows=7, role=1),
        CountRecord(at_us=to_micros(NOON + day), model=MODEL, version=1, rows=9, shadow=True),
        predicted(["x", "y"], at=NOON, model="brought in"),
        predicted(["z"], at=NOON, model="brought in", roles=bytes([3])),
    )
    log.follow()
    log.write(predicted(["g"], at=NOON))
    log.follow()

    def told(model: str) -> list[tuple[datetime, int, str, int, int]]:
        with log.home.engine.begin() as conn:
            found = monitor.traffic(conn, model)
        return [(t.day, t.version, t.role, t.rows, t.logged) for t in found]

    today = NOON.replace(hour=0)
    assert told(MODEL) == [(today, 1, "live", 4, 4), (today + day, 2, "canary", 14, 2)]
    assert told("brought in") == [(today, 1, "batch", 1, 1), (today, 1, "live", 2, 2)]
    with log.home.engine.begin() as conn:
        assert monitor.answered(conn) == 21


def test_an_id_that_is_asked_again_is_counted_once_within_a_batch_and_across(log: Log) -> None:
    log.write(predicted(["a", "b"], at=NOON), predicted(["b", "c", "c"], at=NOON))
    log.write(shadowed(["a", "b"], [0.4, 0.6], at=NOON), shadowed(["b"], [0.6], at=NOON))
    log.follow()
    log.write(predicted(["c", "a"], at=NOON), shadowed(["a"], [0.1], at=NOON))
    log.follow()
    (tally,) = log.evidence().guards["errors"]
    assert (tally.stable_requests, tally.canary_requests) == (2, 1)
    assert log.evidence().requests_in_stage == 3
    (found,) = log.profiles().values()
    assert found.rows == 3
    (scores,) = log.joints().values()
    assert scores.predicted == 3


def test_a_shadow_that_comes_batches_after_its_answer_is_still_an_attempt(log: Log) -> None:
    log.write(predicted(["a"], at=NOON), predicted(["b"], at=NOON))
    log.follow()
    log.write(shadowed(["a"], [0.4], at=NOON), shadowed(["b"], None, at=NOON))
    log.follow()
    (tally,) = log.evidence().guards["errors"]
    assert (tally.canary_requests, tally.stable_requests) == (2, 2)
    assert tally.canary_events == 1


def test_a_label_that_comes_first_waits_for_its_prediction(log: Log) -> None:
    log.write(labelled(["a", "never"], [1.0, 0.0], at=NOON))
    assert log.follow().labels == 0
    log.write(predicted(["a"], at=NOON + HOUR), shadowed(["a"], [0.9], at=NOON + HOUR))
    assert log.follow() == Followed(records=2, predictions=1, labels=1)
    (found,) = log.joints().values()
    assert labels_of(found) == (1, 0, 1)
    assert log.evidence().loss.n == 1


def test_a_corrected_label_moves_its_windows_histogram(log: Log) -> None:
    log.write(predicted(["a", "b"], [0.2, 0.7], at=NOON), labelled(["a", "b"], [0, 0], at=NOON))
    log.follow()
    log.write(labelled(["b"], [1.0], at=NOON + HOUR), labelled(["b"], [1.0], at=NOON + HOUR))
    assert log.follow().labels == 1
    (found,) = log.joints().values()
    assert labels_of(found) == (2, 1, 1)
    assert (
        found.counts[2].nonzero()[0].tolist()
        == joint.labelled([0.7], [1.0], FIRST).counts[2].nonzero()[0].tolist()
    )
    assert found.delays.sum() == 2
    assert log.evidence().loss.n == 0, "no other arm scored them"


@pytest.mark.parametrize("follow_at_once", [True, False])
def test_a_label_is_as_late_as_it_was_delivered_however_late_it_is_read(
    log: Log,
    clock: ManualClock,
    follow_at_once: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    log.write(predicted(["a", "b"], [0.2, 0.7], at=NOON))
    log.write(labelled(["a", "b"], [0, 0], at=NOON + HOUR / 2))
    if follow_at_once:
        log.follow()
    clock.advance(1000 * HOUR)
    log.write(labelled(["b"], [1.0], at=NOON + 30 * HOUR))
    log.write(labelled(["c"], [1.0], at=NOON + HOUR), predicted(["c"], [0.5], at=NOON + 9 * HOUR))
    log.follow()
    delays = np.sum([found.delays for found in log.joints().values()], axis=0)
    late = [0.0, 1800.0, 30 * 3600.0]
    assert delays.tolist() == joint.labelled([0.5] * 3, [1] * 3, FIRST, delays=late).delays.tolist()


def test_a_label_in_the_batch_of_its_correction_counts_as_corrected(log: Log) -> None:
    log.write(predicted(["a"], [0.2], at=NOON))
    log.write(labelled(["a"], [0.0], at=NOON), labelled(["a"], [1.0], at=NOON))
    log.follow()
    (found,) = log.joints().values()
    assert labels_of(found) == (1, 0, 1)


def test_rows_that_lack_an_input_are_indexed_and_are_no_evidence_of_loss(log: Log) -> None:
    log.write(
        predicted(["a", "b"], [np.nan, 0.5], at=NOON),
        shadowed(["a", "b"], [0.5, np.nan], at=NOON),
        labelled(["a", "b"], [1.0, 1.0], at=NOON),
    )
    log.follow()
    assert log.evidence().loss.n == 0
    assert log.counts() == (2, 2)


def test_a_failure_leaves_nothing_and_the_next_follower_does_all_of_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(predicted(["a"], at=NOON), labelled(["a"], [1.0], at=NOON))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "move_cursor", die)
        with pytest.raises(KeyboardInterrupt):
            log.follow()
    assert log.counts() == (0, 0)
    assert log.joints() == {}
    assert log.profiles() == {}
    assert log.follow() == Followed(records=2, predictions=1, labels=1)
    assert log.counts() == (1, 1)


def test_two_followers_at_once_count_nothing_twice(log: Log) -> None:
    one, other = Follower(log.home), Follower(log.home)
    lost = predicted(["x"], [], at=NOON, failed=2, status=500)
    log.write(lost)
    assert one.follow().records == other.follow().records + 1 == 1
    log.write(lost)
    assert one.follow().records == 1
    log.write(lost)
    with pytest.raises(Conflict, match="another controller"):
        other.follow()
    assert other.follow().records == 1
    (tally,) = log.evidence().guards["errors"]
    assert tally.canary_events == 3


def test_a_log_older_than_its_database_stops_nothing(log: Log) -> None:
    log.write(predicted(["a"], at=NOON, version=9), labelled(["a"], [1.0], at=NOON))
    log.write(predicted(["b"], at=NOON, model="unheard-of"))
    assert log.follow() == Followed(records=3, predictions=2, labels=1)
    assert log.profiles() == {}


def test_a_release_that_is_held_gathers_nothing(log: Log) -> None:
    log.home.call(releases.hold, Decide(release=log.release, reason="lunch"))
    log.write(predicted(["a"], at=NOON))
    log.follow()
    assert log.evidence() == Evidence()


def test_many_records_are_followed_batch_by_batch(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_BATCH", 7)
    log.write(*(predicted([f"p{i}"], at=NOON) for i in range(30)))
    assert log.follow() == Followed(records=30, predictions=30, labels=0)
    with log.home.engine.begin() as conn:
        assert store.cursor(conn, CURSOR) is not None


# ---- against a recount of everything from the log, by the definitions -----------------------

MOMENTS = st.sampled_from([NOON - timedelta(minutes=30), NOON, NOON + timedelta(minutes=59)])
IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)


@st.composite
def records(draw: st.DrawFn) -> Record:
    ids, at = draw(IDS), draw(MOMENTS)
    kind = draw(st.sampled_from("ppslx"))
    scores = draw(
        st.lists(
            st.sampled_from([0.05, 0.4, 0.9, float("nan")]),
            min_size=len(ids),
            max_size=len(ids),
        )
    )
    canary = draw(st.booleans())
    if kind == "p":
        return predicted(ids, scores, at=at, version=2 if canary else 1, canary=canary)
    if kind == "x":
        return predicted(ids, [], at=at, failed=2 if canary else 1, status=500, canary=canary)
    if kind == "s":
        return shadowed(ids, scores if canary else None, at=at, version=draw(st.integers(1, 2)))
    labels = [float(draw(st.booleans())) for _ in ids]
    return labelled(ids, labels, at=at)


class Recount:
    """The same, from the definitions, one row at a time and with no database."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, tuple[float, int]] = {}
        self.predictions: list[PredictionRecord] = []
        self.shadows: list[ShadowRecord] = []
        self.labelled: list[Labelled] = []

    def batch(self, some: Sequence[Record]) -> Evidence:  # noqa: C901, PLR0912 - one flat definition
        """Take in what one call of a follower sees: answers, then shadows, then labels."""
        answers, shadows, labels, new = [], [], [], 0
        for record in some:
            if isinstance(record, PredictionRecord):
                fresh = [i for i, name in enumerate(record.ids) if name not in self.rows]
                for i in fresh if record.scores else []:
                    self.rows[record.ids[i]] = self._row(record, i)
                    new += 1
                if fresh or not record.scores:
                    answers.append(record)
        for record in some:
            if isinstance(record, ShadowRecord):
                alone = [n for n in record.ids if self._is_alone(n, record.versions[0])]
                scores = np.frombuffer(record.scores).tolist() if record.scores else None
                for name in alone:
                    score = scores[record.ids.index(name)] if scores else None
                    score = None if score is None or np.isnan(score) else score
                    self.rows[name]["other"] = (record.versions[0], score)
                if alone:
                    shadows.append(record)
        known = [name for name in self.waiting if name in self.rows]
        labels += [self._label(name, *self.waiting.pop(name)) for name in known]
        for record in some:
            if isinstance(record, LabelRecord):
                for name, label in zip(record.ids, record.labels, strict=True):
                    if name not in self.rows:
                        if self.waiting.get(name, (None, 0))[0] != label:
                            self.waiting[name] = (label, record.at_us)
                    elif self.rows[name]["label"] != label:
                        labels.append(self._label(name, label, record.at_us))
        self.labelled += labels
        told = [*answers, *shadows]
        counted = [
            r for r in some if not isinstance(r, LabelRecord) and any(r is one for one in told)
        ]
        seen = Seen(records=counted, labelled=labels, rows=new)
        return evidence(
            seen,
            candidate=2,
            live=1,
            slow_micros=None,
            task="classification",
            block=timedelta(minutes=1),
        )

    def _is_alone(self, name: str, version: int) -> bool:
        """Whether no other arm was asked about a row yet, and `version` is another."""
        row = self.rows.get(name)
        return row is not None and row["other"] == (None, None) and row["key"].version != version

    def joints(self) -> dict[WindowKey, Joint]:
        found: dict[WindowKey, Joint] = {}
        for row in self.rows.values():
            score = [row["score"]]
            one = joint.predicted(score, row["reference"])
            if row["label"] is not None:
                late = [max(row["told_us"] - row["at_us"], 0) / 1e6]
                label = joint.labelled(score, [row["label"]], row["reference"], delays=late)
                one += label
            found[row["key"]] = found[row["key"]] + one if row["key"] in found else one
        return found

    def profiles(self) -> dict[WindowKey, Profile]:
        found: dict[WindowKey, Profile] = {}
        for row in self.rows.values():
            one = profile(row["inputs"], row["reference"], scores=[row["score"]])
            found[row["key"]] = found[row["key"]] + one if row["key"] in found else one
        return found

    def _row(self, record: PredictionRecord, i: int) -> dict[str, Any]:
        version, role = record.versions[i], ("live", "canary")[record.roles[i]]
        start = aligned(from_micros(record.at_us), 3600)
        values = np.frombuffer(record.values).reshape(len(record.ids), -1)[i]
        return {
            "key": WindowKey(MODEL, version, role, start, 3600),
            "at_us": record.at_us,
            "score": float(np.frombuffer(record.scores)[i]),
            "inputs": {"a": [values[0]], "b": [values[1]]},
            "reference": _reference(version),
            "other": (None, None),
            "label": None,
            "told_us": None,
        }

    def _label(self, name: str, label: float, told_us: int) -> Labelled:
        row = self.rows[name]
        was, row["label"] = row["label"], label
        was_told, row["told_us"] = row["told_us"], told_us
        return Labelled(
            id=name,
            version=row["key"].version,
            role=row["key"].role,
            at_us=row["at_us"],
            score=row["score"],
            other_version=row["other"][0],
            other_score=row["other"][1],
            label=label,
            told_us=told_us,
            was=was,
            was_told_us=was_told,
        )


def _reference(version: int) -> Reference:
    return FIRST if version == 1 else SECOND


@pytest.fixture(scope="module")
def big_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    folder = tmp_path_factory.mktemp("follow")
    home = open_local(made.home_at(folder / "home"), ManualClock(NOON - HOUR))
    found = Log(home, folder / "project")
    yield found
    found.writer.close()
    home.engine.dispose()


def _emptied(log: Log) -> None:
    """Make the store as if nothing had been asked yet; the log goes on where it is."""
    tables = ("predictions", "waiting_labels", "profile_windows", "quality_windows", "traffic")
    with log.home.engine.begin() as conn:
        for name in tables:
            conn.exec_driver_sql(f"DELETE FROM {name}")
        conn.execute(delete(cursors).where(cursors.c.name == CURSOR))
        store.move_cursor(conn, CURSOR, log.writer.position)
        release_store.put_evidence(conn, log.release, Evidence())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=st.lists(st.lists(records(), max_size=8), min_size=1, max_size=4))
def test_windows_and_evidence_are_those_of_a_recount(
    big_log: Log, batches: list[list[Record]]
) -> None:
    log, naive, total = big_log, Recount(), Evidence()
    _emptied(log)
    for some in batches:
        log.write(*some)
        log.follow()
        total = merge(total, naive.batch(some))
    _same_evidence(log.evidence(), total)
    found, expected = log.joints(), naive.joints()
    assert found.keys() == expected.keys()
    for key, one in found.items():
        assert one.counts.tolist() == expected[key].counts.tolist()
        assert one.sums.tolist() == expected[key].sums.tolist()
        assert one.delays.tolist() == expected[key].delays.tolist()
    windows, recounted = log.profiles(), naive.profiles()
    assert windows.keys() == recounted.keys()
    for name, window in windows.items():
        assert window.rows == recounted[name].rows
        assert window.counts.tolist() == recounted[name].counts.tolist()
        np.testing.assert_allclose(window.moments, recounted[name].moments, atol=1e-9)


def _same_evidence(found: Evidence, expected: Evidence) -> None:
    assert found.guards == expected.guards
    assert found.requests_in_stage == expected.requests_in_stage
    assert found.canary_streak == expected.canary_streak
    assert found.loss.n == expected.loss.n
    assert found.loss.mean == pytest.approx(expected.loss.mean)
    assert found.loss.blocks.keys() == expected.loss.blocks.keys()


@pytest.mark.parametrize("seed", range(3))
def test_wherever_the_log_is_cut_into_batches_the_windows_are_the_same(
    big_log: Log, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(seed)
    some: list[Record] = []
    for i in range(40):
        at: datetime = NOON + timedelta(minutes=int(chance.integers(120)))
        some.append(predicted([f"{i}", f"{i}'"], [chance.random(), chance.random()], at=at))
        some.append(labelled([f"{chance.integers(40)}"], [float(i % 2)], at=at))
    results = []
    for batch in (1000, 3):
        _emptied(big_log)
        monkeypatch.setattr(follow, "_BATCH", batch)
        big_log.write(*some)
        big_log.follow()
        found = big_log.joints()
        results.append({k: (j.counts.tolist(), j.delays.tolist()) for k, j in found.items()})
    assert results[0] == results[1]


def test_rows_that_a_baseline_answered_are_errors_of_the_version_and_none_of_its_scores(
    log: Log,
) -> None:
    log.write(
        predicted(["a"], at=NOON),
        predicted(["b"], at=NOON, failed=1, fallback=True, status=500, roles=b"\2"),
        labelled(["b"], [1.0], at=NOON),
    )
    assert log.follow() == Followed(records=3, predictions=2, labels=1)
    (found,) = log.profiles().values()
    assert found.rows == 1
    (scores,) = log.joints().values()
    assert labels_of(scores) == (1, 0, 0)
    (tally,) = log.evidence().guards["errors"]
    assert (tally.stable_requests, tally.total_events) == (2, 1)
    with log.home.engine.begin() as conn:
        assert serving.prediction(conn, "b", MODEL).role is Role.FALLBACK
