"""What a sweep tries next, and which of its runs it stops: decisions, as pure functions."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.server.wandb.sweeps.space import Parameter, Point, dimensions

_BEFORE_A_MODEL = 5  #: random points until there is something to learn from
_CANDIDATES = 1_000
_MODELLED = 100  #: points at most; fitting costs their number cubed

METHODS = ("grid", "random", "bayes")


class Goal(NamedTuple):
    """Which metric of a run is to become small or large."""

    metric: str
    maximize: bool

    def loss(self, value: Any) -> float:
        """Return what is to become small; a value that is no number is as bad as can be."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or math.isnan(value):
            return math.inf
        return -float(value) if self.maximize else float(value)


def goal(config: dict[str, Any]) -> Goal | None:
    """Read what a sweep's config wants.

    Raises:
        Invalid: If its method needs a metric and names none.
    """
    metric = config.get("metric")
    if isinstance(metric, dict) and isinstance(metric.get("name"), str):
        return Goal(metric["name"], metric.get("goal") == "maximize")
    if config.get("method") == "bayes" or config.get("early_terminate"):
        raise Invalid("this sweep needs a metric", hint='e.g. {"name": "loss", "goal": "minimize"}')
    return None


class Trial(NamedTuple):
    """A point that was tried."""

    point: Point
    loss: float | None  #: None: its run goes on


def random(space: Sequence[Parameter], rng: np.random.Generator) -> Point:
    """Return a point, uniform in the unit cube."""
    return tuple(rng.random(dimensions(list(space))).tolist())


def bayes(space: Sequence[Parameter], tried: Sequence[Trial], rng: np.random.Generator) -> Point:
    """Return the point of which a model of what was tried expects the most improvement.

    A Gaussian process (Matérn 5/2, a length scale for each parameter, noise) is fitted to the
    standardized losses, of which those of no number count as the worst seen; a run that goes
    on counts as the mean, so that agents who ask at once are sent to different places.
    Expected improvement is maximized over random points and points near the best one.
    Source: Snoek, Larochelle, Adams, "Practical Bayesian optimization", NeurIPS 2012.
    """
    ended = [trial for trial in tried if trial.loss is not None]
    finite = [trial.loss for trial in ended if trial.loss is not None and math.isfinite(trial.loss)]
    if len(finite) < _BEFORE_A_MODEL or dimensions(list(space)) == 0:
        return random(space, rng)
    recent = list(tried)[-_MODELLED:]
    worst, mean, spread = max(finite), float(np.mean(finite)), float(np.std(finite)) or 1.0
    points = np.array([trial.point for trial in recent])
    losses = np.array([(_seen(trial.loss, mean, worst) - mean) / spread for trial in recent])
    model = _fitted(points, losses, rng)
    candidates = _candidates(points[int(np.argmin(losses))], rng)
    expected, doubt = model.predict(candidates, return_std=True)
    best = int(np.argmax(_improvement(losses.min() - expected, doubt)))
    return tuple(candidates[best].tolist())


def _seen(loss: float | None, mean: float, worst: float) -> float:
    if loss is None:
        return mean
    return loss if math.isfinite(loss) else worst


def _fitted(points: Any, losses: Any, rng: np.random.Generator) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: PLC0415 - heavy
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel  # noqa: PLC0415

    scales = np.full(points.shape[1], 0.5)
    kernel = Matern(scales, (0.05, 10.0), nu=2.5) + WhiteKernel(1e-2, (1e-6, 1.0))
    model = GaussianProcessRegressor(kernel, random_state=int(rng.integers(2**31)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length scale at its bound is an answer
        return model.fit(points, losses)


def _candidates(best: Any, rng: np.random.Generator) -> Any:
    anywhere = rng.random((_CANDIDATES, best.size))
    near = best + rng.normal(0, 0.05, (_CANDIDATES // 2, best.size))
    return np.vstack([anywhere, np.clip(near, 0, 1 - 1e-9)])


def _improvement(gain: Any, doubt: Any) -> Any:
    from scipy.stats import norm  # noqa: PLC0415 - heavy

    doubt = np.maximum(doubt, 1e-9)
    z = gain / doubt
    return gain * norm.cdf(z) + doubt * norm.pdf(z)


# Stopping early


class Hyperband(Struct, frozen=True):
    """Where runs are compared, and how many go on."""

    bands: tuple[int, ...]  #: numbers of values of the metric
    eta: float  #: one in so many goes on


def hyperband(config: dict[str, Any]) -> Hyperband | None:
    """Read when a sweep stops its runs; None: never.

    Raises:
        Invalid: If it cannot be understood.
    """
    told = config.get("early_terminate")
    if not told:
        return None
    if not isinstance(told, dict) or told.get("type") != "hyperband":
        raise Invalid("early_terminate is of the type hyperband")
    eta = float(told.get("eta", 3))
    first: Any = told.get("min_iter")
    most: Any = told.get("max_iter")
    brackets: Any = told.get("s")
    if eta <= 1 or (first is None and (most is None or brackets is None)):
        raise Invalid(
            "hyperband needs min_iter, or max_iter and s, and an eta above 1",
            hint='e.g. {"type": "hyperband", "min_iter": 3}',
        )
    if first is not None:
        bands = tuple(int(first * eta**k) for k in range(20))
    else:
        bands = tuple(int(most / eta**k) for k in range(int(brackets), 0, -1))
    return Hyperband(tuple(band for band in bands if band > 0), eta)


def stopped(
    rule: Hyperband, curves: Mapping[str, Sequence[float]], running: Sequence[str]
) -> list[str]:
    """Return the running runs that a sweep stops.

    A run is judged at the last band that it and at least `eta` runs in all have reached, by its
    best loss up to there: it goes on if it is among the best one in `eta`.
    Source: Li et al., "Hyperband", JMLR 18, 2018, its successive halving made asynchronous.

    Args:
        rule: Where and how.
        curves: By run: its losses in the order of steps.
        running: The runs that can be stopped.
    """
    ranked = {
        band: sorted(_best(curve, band) for curve in curves.values() if len(curve) >= band)
        for band in rule.bands
    }
    gone = []
    for name in running:
        curve = curves.get(name, ())
        fair = [b for b in rule.bands if b <= len(curve) and len(ranked[b]) >= rule.eta]
        if fair:
            best = ranked[fair[-1]]
            kept = best[max(1, int(len(best) / rule.eta)) - 1]
            if _best(curve, fair[-1]) > kept:
                gone.append(name)
    return gone


def _best(curve: Sequence[float], band: int) -> float:
    return min(curve[:band], default=math.inf)
