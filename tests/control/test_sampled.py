"""What is judged under a sampled log: counts as if all were logged, averages without bias."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import binom
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL, labelled, predicted, shadowed
from tests.monitor import windows
from tests.releases.begun import begun

from setpoint.control.follow import Follower
from setpoint.control.why import Why, trace
from setpoint.core.clock import ManualClock
from setpoint.db.local import open_local
from setpoint.errors import NotFound
from setpoint.monitor import store as monitor
from setpoint.profiles.profile import Profile
from setpoint.releases import store as release_store
from setpoint.releases.entities import Policy
from setpoint.releases.evidence import Evidence, PairedLoss
from setpoint.releases.sequential import mean_sequence
from setpoint.releases.service import Start
from setpoint.serve import store as serving
from setpoint.serve.entities import (
    EndpointSettings,
    LabelRecord,
    PredictionRecord,
    Record,
    ShadowRecord,
)
from setpoint.serve.keeping import Keeper, Keeping
from setpoint.serve.log import LogWriter
from setpoint.serve.metrics import Metrics
from setpoint.serve.sampling import is_sampled
from setpoint.serve.tables import waiting_labels

SHARE = 0.2
SLOW = timedelta(milliseconds=50)
GUARDS = {"errors": {"at_most": "1%"}, "latency_p99": {"at_most": "50ms"}}


class Store:
    """A store whose endpoint logs a share; a second version is being released."""

    def __init__(self, folder: Path, share: float) -> None:
        self.home = open_local(
            made.home_at(folder / "home"), ManualClock(NOON - timedelta(hours=1))
        )
        made.apply(
            self.home,
            folder / "project",
            serve={"log": {"sample": f"{share:.0%}"}},
            guardrails=GUARDS,
        )
        made.version(self.home, run="run_1", found=made.reference(1))
        made.version(self.home, run="run_2", found=made.reference(2))
        begun(self.home, Start(model=MODEL, version=1))
        self.release = begun(self.home, Start(model=MODEL, version=2, policy=Policy())).id
        with self.home.reading() as conn:
            self.settings = serving.settings_of(conn, MODEL)
        self.writer = LogWriter(self.home.settings.log)

    def take(self, traffic: list[Record]) -> None:
        """Log traffic as the inference server does, and follow it."""
        asyncio.run(self._log(traffic))
        Follower(self.home).follow()

    async def _log(self, traffic: list[Record]) -> None:
        kept, keeper = Keeping(self.settings), Keeper(self.writer, Metrics())
        for record in traffic:
            if isinstance(record, PredictionRecord):
                keeper.answered(kept, record)
            elif isinstance(record, ShadowRecord):
                keeper.shadowed(kept, record)
            elif isinstance(record, LabelRecord):
                keeper.labelled(kept, record)
        keeper.close()

    def evidence(self) -> Evidence:
        with self.home.reading() as conn:
            return release_store.get(conn, self.release).evidence

    def attempts(self) -> list[tuple[int, int]]:
        with self.home.reading() as conn:
            found = [
                one
                for version in (1, 2)
                for one in monitor.attempts_since(conn, MODEL, version, NOON - timedelta(days=1))
            ]
        return [(one.requests, one.failed) for one in found]

    def traffic(self) -> dict[tuple[int, str], int]:
        with self.home.reading() as conn:
            return {(t.version, t.role): t.rows for t in monitor.traffic(conn, MODEL)}

    def profiles(self) -> list[Profile]:
        with self.home.reading() as conn:
            return list(windows.profiles(conn, MODEL).values())


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    found = Store(tmp_path / "whole", 1.0), Store(tmp_path / "sampled", SHARE)
    yield found
    for one in found:
        one.writer.close()
        one.home.engine.dispose()


def traffic(requests: int, seed: int, *, bad: float = 0.03) -> list[Record]:
    """Draw requests of one to four rows; either arm fails or is slow now and then."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for at in range(requests):
        ids = [f"row-{seed}-{at}-{i}" for i in range(rng.integers(1, 5))]
        when = NOON + timedelta(seconds=at / 7)
        canary = bool(rng.random() < 0.3)
        fails = rng.random() < bad
        answer = predicted(
            ids,
            rng.random(len(ids)).tolist(),
            at=when,
            version=1 if fails or not canary else 2,
            canary=canary,
            micros=int(rng.exponential(20_000)),
        )
        if fails:  # a canary's failure is answered by the live version, the live one's by none
            nobody = {} if canary else {"scores": b""}
            answer = replace(answer, failed=2 if canary else 1, status=500, **nobody)
        found.append(answer)
        if not fails:
            said = None if rng.random() < bad else rng.random(len(ids)).tolist()
            other = shadowed(ids, said, at=when, version=1 if canary else 2)
            found.append(replace(other, micros=int(rng.exponential(20_000))))
    return found


def test_errors_latency_and_rows_are_counted_as_if_all_were_logged(
    stores: tuple[Store, Store],
) -> None:
    for seed in range(2):  # followed twice
        some = traffic(600, seed)
        for store in stores:
            store.take(some)
    whole, sampled = stores
    needed = whole.settings.required
    assert whole.settings == EndpointSettings(required=needed)
    in_part = EndpointSettings(sample=SHARE, slow=SLOW.total_seconds(), required=needed)
    assert sampled.settings == in_part
    expected, found = whole.evidence(), sampled.evidence()
    assert set(found.guards) == {"errors", "slow requests"}
    assert found.guards == expected.guards
    assert found.requests_in_stage == expected.requests_in_stage
    assert found.canary_streak == expected.canary_streak
    assert sampled.attempts() == whole.attempts()
    assert sampled.traffic() == whole.traffic()
    assert set(whole.traffic()) == {(1, "live"), (1, "canary"), (2, "canary")}
    assert sampled.writer.bytes < 0.6 * whole.writer.bytes


def test_a_run_of_failures_is_told_from_failures_with_successes_between_them(
    stores: tuple[Store, Store],
) -> None:
    _, sampled = stores
    outside = [name for i in range(400) if not is_sampled(name := f"x{i}", SHARE)]
    some: list[Record] = []
    for at, name in enumerate(outside[:80]):
        when = NOON + timedelta(milliseconds=at)  # all in one second
        some.append(predicted([name], at=when))
        some.append(shadowed([name], None if at % 2 or at >= 70 else [0.5], at=when))
    sampled.take(some)
    streak = sampled.evidence().canary_streak
    assert (streak.length, streak.longest, streak.tail) == (80, 11, 11)


def test_profiles_are_those_of_the_sample_and_of_nothing_that_was_logged_for_failing(
    stores: tuple[Store, Store],
) -> None:
    some = traffic(800, 3, bad=0.2)
    for store in stores:
        store.take(some)
    _, sampled = stores
    answered = [r for r in some if isinstance(r, PredictionRecord) and r.scores]
    inside = [name for r in answered for name in r.ids if is_sampled(name, SHARE)]
    assert sum(profile.rows for profile in sampled.profiles()) == len(inside)
    everything = sum(len(record.ids) for record in answered)
    low, high = binom.interval(0.999, everything, SHARE)
    assert low <= len(inside) <= high


def test_labels_outside_the_sample_are_ignored_and_those_inside_joined_or_awaited(
    stores: tuple[Store, Store],
) -> None:
    _, sampled = stores
    names = [f"p{i}" for i in range(100)]
    inside = [name for name in names if is_sampled(name, SHARE)]
    sampled.take([predicted([name], at=NOON) for name in names])
    sampled.take([labelled(names, [1.0] * 100, at=NOON)])
    later = [f"later{i}" for i in range(100)]
    expected = [name for name in later if is_sampled(name, SHARE)]
    sampled.take([labelled(later, [1.0] * 100, at=NOON)])
    with sampled.home.reading() as conn:
        assert serving.count_predictions(conn, MODEL) == (len(inside), len(inside))
        waiting = set(conn.execute(waiting_labels.select()).scalars(1))
    assert waiting == set(expected)


def test_labels_of_rows_logged_before_the_share_fell_are_joined(
    stores: tuple[Store, Store],
) -> None:
    _, store = stores
    fell, store.settings = store.settings, EndpointSettings()
    names = [f"p{i}" for i in range(50)]
    store.take([predicted([name], at=NOON) for name in names])
    store.settings = fell
    store.take([labelled(names, [1.0] * 50, at=NOON)])
    with store.home.reading() as conn:
        assert serving.count_predictions(conn, MODEL) == (50, 50)


def test_a_prediction_outside_the_sample_is_said_not_to_have_been_sampled(
    stores: tuple[Store, Store],
) -> None:
    _, sampled = stores
    names = [f"p{i}" for i in range(50)]
    sampled.take([predicted([name], at=NOON) for name in names])
    outside = next(name for name in names if not is_sampled(name, SHARE))
    inside = next(name for name in names if is_sampled(name, SHARE))
    with pytest.raises(NotFound, match="it was not sampled: m logs 20% of its predictions"):
        sampled.home.call(trace, Why(id=outside))
    assert sampled.home.call(trace, Why(id=inside)).subject == f"prediction:{inside}"
    never = next(name for i in range(99) if is_sampled(name := f"never{i}", SHARE))
    with pytest.raises(NotFound, match=f"no prediction '{never}'"):
        sampled.home.call(trace, Why(id=never))


def test_a_failed_row_outside_the_sample_can_be_traced(stores: tuple[Store, Store]) -> None:
    _, sampled = stores
    name = next(name for i in range(99) if not is_sampled(name := f"p{i}", SHARE))
    stood_in = predicted([name], at=NOON, canary=True, failed=2, fallback=True, status=500)
    sampled.take([stood_in, labelled([name], [1.0], at=NOON)])
    assert "answered" in sampled.home.call(trace, Why(id=name)).links[0].says
    with sampled.home.reading() as conn:
        joints = windows.joints(conn, MODEL)
    assert sum(found.predicted for found in joints.values()) == 0, "it stands for nothing else"
    assert sum(found.positives for found in joints.values()) == 0


# ---- the declared error rates, by simulation ------------------------------------------------


class Drawn(NamedTuple):
    """Of each release: the differences of loss of the rows in the sample, with their blocks."""

    losses: list[np.ndarray]
    blocks: list[np.ndarray]


def draw(releases: int, share: float, mean: float, seed: int) -> Drawn:
    """Draw days of rows that go together by blocks, and thin them as the log does, by id."""
    rng = np.random.default_rng(seed)
    blocks, rows = 60, 50
    places = np.repeat(np.arange(blocks), rows)
    drawn = Drawn([], [])
    for release in range(releases):
        shared = rng.normal(0, 0.2, blocks)[places]
        found = mean + shared + rng.normal(0, 0.5, blocks * rows)
        inside = np.array([is_sampled(f"{seed}/{release}/{i}", share) for i in range(len(found))])
        drawn.losses.append(found[inside])
        drawn.blocks.append(places[inside])
    return drawn


def shown_worse(losses: np.ndarray, blocks: np.ndarray, margin: float, policy: Policy) -> bool:
    """Tell whether a release is rolled back at any look; there is one after each block."""
    for until in range(policy.minimum_blocks, blocks.max() + 1, 3):
        some = losses[blocks < until]
        if len(some) < policy.minimum_labels:
            continue
        rows = np.bincount(blocks[blocks < until])
        sums = np.bincount(blocks[blocks < until], some)
        loss = PairedLoss(
            n=len(some),
            mean=float(some.mean()),
            m2=float(((some - some.mean()) ** 2).sum()),
            blocks={str(b): (int(n), float(sums[b])) for b, n in enumerate(rows) if n},
        )
        low, _ = mean_sequence(loss, policy.false_rollback, tightest_at=policy.labels_expected)
        if low is not None and low > margin:
            return True
    return False


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_version_as_much_worse_as_is_tolerated_stays_under_a_sample(share: float) -> None:
    releases, policy = 250, Policy(false_rollback=0.05)
    drawn = draw(releases, share, mean=0.1, seed=11)
    caught = sum(
        shown_worse(losses, blocks, 0.1, policy)
        for losses, blocks in zip(drawn.losses, drawn.blocks, strict=True)
    )
    assert caught <= binom.ppf(0.999, releases, policy.false_rollback)


def test_a_version_that_is_clearly_worse_is_found_under_a_sample_too() -> None:
    drawn = draw(40, 0.1, mean=0.5, seed=12)
    policy = Policy()
    caught = [
        shown_worse(losses, blocks, 0.05, policy)
        for losses, blocks in zip(drawn.losses, drawn.blocks, strict=True)
    ]
    assert all(caught)
