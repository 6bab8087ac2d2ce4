"""A test of versions beside one another, on the store that pages are tried on."""

from datetime import timedelta

import numpy as np
from tests.server.seed import MODEL

from setpoint.control.splitting import Arm, Split, split
from setpoint.core.clock import ManualClock, to_micros
from setpoint.db.local import LocalBackend
from setpoint.serve import store as serving
from setpoint.serve.entities import Deployment, PredictionRow, Role

#: arm, version, role, share of the rows, and how well its scores know the label
_ARMS = (
    ("", 5, Role.LIVE, 0.7, 0.55),
    ("control", 5, Role.ARM, 0.1, 0.55),
    ("winter", 6, Role.ARM, 0.2, 0.75),
)
_ROWS = 6_000


def split_for_ten_days(backend: LocalBackend, clock: ManualClock) -> None:
    """Begin a test of two arms, and have each answer rows and be told labels for ten days."""
    now = clock.now()
    clock.set(now - timedelta(days=10))
    with backend.engine.begin() as conn:
        live = Deployment(model=MODEL, version=5, role=Role.LIVE, weight=1.0)
        serving.deploy(conn, MODEL, [live])
    arms = [Arm(name=name, version=v, share=share) for name, v, _, share, _ in _ARMS if name]
    reason = "does the version that saw December's storms know more than the live one"
    backend.call(split, Split(model=MODEL, arms=arms, reason=reason))
    rng = np.random.default_rng(8)
    for name, version, role, share, skill in _ARMS:
        first = PredictionRow(MODEL, name or "live", version, role, 0, 0.0, name or None)
        _answered(backend, first, int(_ROWS * share), skill, rng)
    clock.set(now)


def _answered(
    backend: LocalBackend, like: PredictionRow, count: int, skill: float, rng: np.random.Generator
) -> None:
    """Put rows on record that an arm answered, nine in ten with the label."""
    late = (rng.random(count) < 0.24).astype(float)
    scores = np.clip(skill * late + 0.12 + rng.normal(0, 0.12, count), 0.01, 0.99)
    at = to_micros(backend.clock.now())
    rows = [
        like._replace(id=f"{like.id}-{i}", at_us=at + i * 1_000_000, score=float(scores[i]))
        for i in range(count)
    ]
    told = [row.id for row in rows if rng.random() < 0.9]
    labels = [late[int(id_.rpartition("-")[2])] for id_ in told]
    with backend.engine.begin() as conn:
        serving.insert_predictions(conn, rows)
        serving.label_predictions(conn, MODEL, told, labels, backend.clock.now())
