"""Error rates and delays of the objective's evidence where rows go together, as flights do.

The weeks are drawn like those of the flights, measured over ten months: four blocks of six
hours a day with 95 to 375 rows, storms that last a day, blocks and hours in which many rows
are late, and in which what the models know helps little, or misleads. Two equally good
versions then differ by 0.06 of ROC AUC from block to block, and their losses as if there
were a fifteenth of the rows.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binom

from setpoint.releases.entities import Policy
from setpoint.releases.evidence import PairedLoss
from setpoint.releases.readings import FLOOR, OBJECTIVE_SHARE
from setpoint.releases.sequential import log_e_mean, mean_sequence

Floats = NDArray[np.float64]
POLICY = Policy(objective="roc_auc")
ALPHA = POLICY.false_rollback * OBJECTIVE_SHARE
DAYS = 7
MARGIN = 0.012  #: of the log loss: 2 % of what the live version loses
ROWS = (95, 140, 320, 375)  #: of a block, by the time of day
ODDS = (-0.6, -1.9, -1.3, -0.7)  #: how many of them are late, as log-odds


class Weeks(NamedTuple):
    """Of each release and block: releases × blocks."""

    differences: Floats  #: ROC AUC, candidate minus live; NaN of blocks too small to judge
    losses: Floats  #: mean log loss, candidate minus live
    design_effect: float  #: variance of a block's mean loss over that of independent rows


def upper(successes: int, trials: int, confidence: float = 0.99) -> float:
    """Return the upper end of the one-sided Clopper-Pearson interval."""
    return float(beta.ppf(confidence, successes + 1, trials - successes))


def auc(late: NDArray[np.bool_], score: Floats) -> Floats:
    """Return the ROC AUC of each row of the two matrices; there are no ties."""
    order = score.argsort(axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, score.shape[1] + 1)[None, :], axis=1)
    m = late.sum(1)
    below = (ranks * late).sum(1) - m * (m + 1) / 2
    return np.asarray(below / np.maximum(m * (late.shape[1] - m), 1))


class Block(NamedTuple):
    """What happens in a block: rows that are late, and what may be known of them."""

    late: NDArray[np.bool_]  #: releases × rows
    signals: Floats  #: 2 × releases × rows
    usual: float  #: log-odds at this time of day


def blocks(releases: int, rng: np.random.Generator) -> Iterator[Block]:
    """Draw a week of blocks: a storm lasts a day, and signals help more or less, or mislead."""
    for _ in range(DAYS):
        storm = rng.normal(0, 0.8, (releases, 1))
        today = rng.normal(0.85, 0.35, (2, releases, 1))
        for n, odds in zip(ROWS, ODDS, strict=True):
            hour = np.arange(n) * 6 // n
            signals = 0.55 * rng.normal(size=(2, releases, n))
            signals += 0.25 * rng.normal(size=(2, releases, 6))[..., hour]
            helps = today + rng.normal(0, 0.65, (2, releases, 1))
            together = rng.normal(0, 0.5, (releases, 1))
            together = together + rng.normal(0, 0.4, (releases, 6))[:, hour]
            truth = odds + storm + together + (signals * helps).sum(0)
            yield Block(rng.random(truth.shape) < 1 / (1 + np.exp(-truth)), signals, odds)


def scores(block: Block, rng: np.random.Generator, weights: tuple[float, float, float]) -> Floats:
    """Return log-odds as a version gives them that so leans on either signal and on chance."""
    first, second, chance = weights
    releases, n = block.late.shape
    own = 0.3 * rng.normal(size=(releases, 1))
    own = own + 0.3 * rng.normal(size=(releases, 6))[:, np.arange(n) * 6 // n]
    known = first * block.signals[0] + second * block.signals[1]
    return np.asarray(0.4 * block.usual - 0.7 + known + own + chance * rng.normal(size=own.shape))


def weeks(releases: int, seed: int, *, blur: float = 0.0, shuffled: bool = False) -> Weeks:
    """Draw releases of a candidate that differs from an equally good one by `blur`.

    A shuffled one has learned nothing.
    """
    rng = np.random.default_rng(seed)
    differences, losses, of_blocks, of_rows = [], [], 0.0, 0.0
    for block in blocks(releases, rng):
        late, n = block.late, block.late.shape[1]
        live = scores(block, rng, (0.65, 1.05, 0.35))
        candidate = scores(block, rng, (1.05, 0.65, 0.35 + blur))
        if shuffled:
            candidate = 0.2 * rng.normal(size=late.shape) - 1.1
        sign = np.where(late, -1.0, 1.0)
        worse = np.logaddexp(0, sign * candidate) - np.logaddexp(0, sign * live)
        of_blocks += n**2 * worse.mean(1).var()
        of_rows += n * worse.var()
        enough = np.minimum(late.sum(1), n - late.sum(1)) >= POLICY.least_of_class
        better = auc(late, candidate) - auc(late, live)
        differences.append(np.where(enough, better, np.nan))
        losses.append(worse.mean(1))
    return Weeks(
        np.stack(differences, axis=1), np.stack(losses, axis=1), float(of_blocks / of_rows)
    )


def evidence(drawn: Weeks) -> Floats:
    """Return log E against "as good as tolerated", looked at after every block."""
    gains = np.nan_to_num(-POLICY.objective_margin - drawn.differences)
    looks = range(1, gains.shape[1] + 1)
    floor = FLOOR * POLICY.objective_margin
    return np.stack([log_e_mean(gains[:, :k], floor) for k in looks], axis=1)


def test_equally_good_candidates_stay_though_their_rows_go_together() -> None:
    releases = 2000
    drawn = weeks(releases, seed=1)
    assert drawn.design_effect > 15, "as much together as flights"
    assert abs(np.nanmean(drawn.differences)) < 0.002
    assert 0.05 < np.nanstd(drawn.differences) < 0.07
    caught = int((evidence(drawn) >= -math.log(ALPHA)).any(1).sum())
    assert upper(caught, releases) <= ALPHA


def test_candidates_as_much_worse_as_is_tolerated_stay() -> None:
    releases = 2000
    drawn = weeks(releases, seed=2, blur=0.24)
    assert np.nanmean(drawn.differences) == pytest.approx(-POLICY.objective_margin, abs=0.003)
    caught = int((evidence(drawn) >= -math.log(ALPHA)).any(1).sum())
    assert binom.sf(caught - 1, releases, ALPHA) > 0.01, "not shown to be more often"


def test_a_model_of_shuffled_labels_is_rolled_back_in_three_days() -> None:
    drawn = weeks(500, seed=3, shuffled=True)
    assert np.nanmean(drawn.differences) == pytest.approx(-0.14, abs=0.02)
    over = evidence(drawn) >= -math.log(ALPHA)
    days = np.where(over.any(1), over.argmax(1) + 1, np.inf) / len(ROWS)
    assert np.median(days) <= 3
    assert np.isfinite(days).mean() > 0.95


def test_a_model_of_shuffled_labels_is_not_promoted_as_proven() -> None:
    releases, n = 300, np.tile(ROWS, DAYS)
    drawn = weeks(releases, seed=4, shuffled=True)
    doubted = evidence(drawn) > 0
    proven = 0
    for losses, doubts in zip(drawn.losses, doubted, strict=True):
        for look in range(POLICY.minimum_blocks, n.size):
            if doubts[look]:
                continue
            seen, rows = losses[: look + 1], n[: look + 1]
            mean = float(seen @ rows / rows.sum())
            together = {
                str(i): (int(k), float(k * x))
                for i, (k, x) in enumerate(zip(rows, seen, strict=True))
            }
            loss = PairedLoss(n=int(rows.sum()), mean=mean, blocks=together)
            _, high = mean_sequence(loss, POLICY.false_promote, tightest_at=POLICY.labels_expected)
            if high is not None and high < MARGIN:
                proven += 1
                break
    assert upper(proven, releases) <= POLICY.false_promote
