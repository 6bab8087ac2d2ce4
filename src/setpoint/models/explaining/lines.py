"""Shapley values of linear models, through a sigmoid or not, against a background.

Without a sigmoid they are ``weight · (value − mean of the background)``.

With one, no closed form is known, but the sigmoid is a sum of sines to any precision wanted, on a
range: repeated with alternating sign every T, it is ``½ + Σ 2π/(T sinh(π² m/T)) sin(π m z/T)`` over
odd m, whose error on ``|z| ≤ Z`` is below ``2 exp(Z − T)``. A sine of a sum of independent terms
has a product for its mean, so the mean over the coalitions in which each input is with probability
q is a product too; the Shapley value is the integral over q of the difference that an input makes
(Owen 1972, "Multilinear extensions of games"), a polynomial in q of degree k−1, which
Gauss and Legendre's ⌈k/2⌉ points integrate exactly.
"""

from math import ceil, pi

import numpy as np
from numpy.typing import NDArray

from setpoint.models import linear
from setpoint.models.explaining.graphs import Line
from setpoint.models.protocols import Floats

_EXPONENT = 27.0  #: what is left out of the sum of sines is below exp(-27), 2e-12
_AT_ONCE = 200_000  #: complex numbers in an array
_MOST = 40_000_000  #: complex numbers for one row; more take seconds, and are estimated


def contributions(line: Line, row: Floats, background: Floats) -> Floats | None:
    """Return the Shapley values [k] of a row [k] against a background [m, k].

    None where a sigmoid would cost too much: with very many inputs, or values so large that the
    sigmoid is a step. Precise to 1e-9 with one, else to rounding.
    """
    if not line.sigmoid:
        return np.asarray(line.weights * (row - background.mean(axis=0)))
    moves = line.weights * (row - background)  # [m, k]
    active = np.flatnonzero(np.any(moves != 0, axis=0))
    found = np.zeros(len(row))
    if not active.size:
        return found
    moves, start = moves[:, active], background @ line.weights + line.constant
    reach = np.abs(start) + np.abs(moves).sum(axis=1)
    half = float(reach.max()) + _EXPONENT
    m = np.arange(1, ceil(_EXPONENT * half / pi**2) + 2, 2)
    points = ceil(active.size / 2)
    if not np.isfinite(half) or m.size * points * moves.size > _MOST:
        return None
    wave = np.asarray(pi * m / half)
    size = 2 * pi / (half * np.sinh(pi * wave))
    step = max(1, _AT_ONCE // (m.size * active.size))
    for begin in range(0, len(moves), step):
        some = slice(begin, begin + step)
        found[active] += _sum(start[some], moves[some], wave, size, points)
    found /= len(moves)
    return found


def _sum(start: Floats, moves: Floats, wave: Floats, size: Floats, points: int) -> Floats:
    """Return the values against background rows that score ``sigmoid(start)``, added up."""
    at, weight = np.polynomial.legendre.leggauss(points)
    at, weight = (at + 1) / 2, weight / 2
    turn = np.exp(1j * wave[None, :, None] * moves[:, None, :])  # [m, waves, k]
    whole = (turn - 1) * (size * np.exp(1j * np.outer(start, wave)))[:, :, None]
    found = np.zeros(moves.shape[1])
    for q, share in zip(at, weight, strict=True):
        found += share * (whole * _without((1 - q) + q * turn)).imag.sum(axis=(0, 1))
    return found


def _without(terms: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return for each place of the last axis the product of the others; none is divided by."""
    before, after = np.ones_like(terms), np.ones_like(terms)
    np.cumprod(terms[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(terms[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return before * after


def score(line: Line, rows: Floats) -> Floats:
    """Return the score for each of rows [n, k]."""
    return linear.scorer(line.weights, line.constant, sigmoid=line.sigmoid)(rows)
