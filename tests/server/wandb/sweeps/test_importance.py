"""What a sweep's metric depends on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.server.wandb.sweeps.importance import importance

RNG = np.random.default_rng(11)


def test_what_matters_comes_first_though_it_has_no_trend() -> None:
    x, seed = RNG.uniform(-1, 1, 200), RNG.uniform(0, 1, 200)
    kind = RNG.choice(["a", "b"], 200)
    loss = 4 * x**2 + (kind == "a") * 0.8 + RNG.normal(0, 0.1, 200)
    params = {"x": x.tolist(), "seed": seed.tolist(), "kind": kind.tolist()}
    first, second, third = importance(params, loss.tolist())
    assert [first.name, second.name, third.name] == ["x", "kind", "seed"]
    assert first.share > 0.5 > second.share > 0.03 > third.share
    assert first.trend is not None
    assert abs(first.trend) < 0.2
    assert second.trend is None


def test_a_trend_has_the_sign_of_its_way() -> None:
    x = RNG.uniform(0, 1, 60)
    (down,) = importance({"x": x.tolist()}, (-x).tolist())
    assert down.trend == pytest.approx(-1)
    assert down.share > 0.8


def test_chance_alone_explains_nothing_on_average() -> None:
    shares = [
        importance({"x": RNG.choice([1, 2, 3], 40).tolist()}, RNG.normal(0, 1, 40).tolist())[
            0
        ].share
        for _ in range(400)
    ]
    assert np.mean(shares) < 0.04


@given(st.lists(st.tuples(st.sampled_from([1, 2.5, "a", None, True]), st.integers()), max_size=30))
def test_shares_are_shares_whatever_was_tried(rows: list[tuple[object, int]]) -> None:
    found = importance({"x": [value for value, _ in rows]}, [float(loss) for _, loss in rows])
    assert all(0 <= each.share <= 1 for each in found)


def test_nothing_is_said_of_few_runs_or_of_what_never_varies() -> None:
    assert importance({"x": [1, 2, 3]}, [1.0, 2.0, 3.0]) == []
    assert importance({"x": [1] * 9}, list(range(9))) == []
    assert importance({"x": list(range(9))}, [1.0] * 9) == []
