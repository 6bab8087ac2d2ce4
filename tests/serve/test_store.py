from datetime import timedelta

import pytest
from tests.conftest import NOON

from setpoint.core.clock import to_micros
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound
from setpoint.serve import store
from setpoint.serve.entities import Deployment, EndpointSettings, PredictionRow, Role

from .made import canary, live, shadow

AT = to_micros(NOON)


def row(id_: str, version: int = 1, score: float | None = 0.5, model: str = "m") -> PredictionRow:
    return PredictionRow(model, id_, version, "live", AT, score)


def test_what_is_deployed_is_read_back(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.generation(conn, "m") == 0
        assert store.deploy(conn, "m", [canary(), live()]) == 1
        assert store.deployments(conn, "m") == [live(), canary()]
        assert store.generations(conn) == {"m": 1}


def test_deploying_the_same_again_changes_nothing(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
        assert store.deploy(conn, "m", [live()]) == 1
        assert store.deploy(conn, "m", [live(), canary(weight=0.05)]) == 2
        assert store.deploy(conn, "m", [live(), canary(weight=0.25)]) == 3
        assert store.deploy(conn, "m", [live(2)]) == 4
        assert store.deployments(conn, "m") == [live(2)]


@pytest.mark.parametrize(
    "wanted",
    [
        [canary()],
        [live(1), live(2)],
        [live(1), canary(1)],
        [live(1), canary(2), canary(3)],
        [live(1), canary(2, weight=1.5)],
        [live(1), shadow(2), shadow(3)],
    ],
)
def test_there_is_never_anything_but_one_live_version(
    backend: LocalBackend, wanted: list[Deployment]
) -> None:
    with backend.engine.begin() as conn, pytest.raises(Invalid):
        store.deploy(conn, "m", wanted)


def test_settings_are_kept_before_anything_is_deployed_and_make_a_generation_after(
    backend: LocalBackend,
) -> None:
    slow, fast = EndpointSettings(timeout=2.0, queue=5), EndpointSettings(timeout=0.25)
    with backend.engine.begin() as conn:
        assert store.settings_of(conn, "m") == EndpointSettings()
        store.configure(conn, "m", slow)
        assert (store.settings_of(conn, "m"), store.generations(conn)) == (slow, {})
        assert store.deploy(conn, "m", [live()]) == 1
        store.configure(conn, "m", slow)
        assert store.generation(conn, "m") == 1
        store.configure(conn, "m", fast)
        assert (store.settings_of(conn, "m"), store.generation(conn, "m")) == (fast, 2)
        store.configure(conn, "m", EndpointSettings())
        assert (store.settings_of(conn, "m"), store.generation(conn, "m")) == (
            EndpointSettings(),
            3,
        )


def test_a_prediction_is_indexed_once(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.insert_predictions(conn, [row("a"), row("b"), row("a", 2)]) == ["a", "b"]
        assert store.insert_predictions(conn, [row("b", 2), row("c", 2)]) == ["c"]
        assert store.insert_predictions(conn, [row("a", model="other")]) == ["a"]
        assert store.insert_predictions(conn, []) == []
        assert store.count_predictions(conn, "m") == (3, 0)
        assert [p.id for p in store.predictions(conn, "m", 1)] == ["a", "b"]


def test_a_row_that_had_no_answer_is_indexed_without_a_score(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.insert_predictions(conn, [row("a", score=None)])
        assert store.prediction(conn, "a", "m").score is None


def test_a_prediction_is_found_by_its_id_alone(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
        store.insert_predictions(conn, [row("ünï")])
        found = store.prediction(conn, "ünï")
        assert (found.model, found.version, found.role, found.at) == ("m", 1, Role.LIVE, NOON)
        with pytest.raises(NotFound, match="no prediction 'b'"):
            store.prediction(conn, "b")


def test_a_label_is_told_the_first_time_and_when_it_is_corrected(backend: LocalBackend) -> None:
    later = NOON + timedelta(hours=3)
    with backend.engine.begin() as conn:
        store.insert_predictions(conn, [row("a"), row("b", 2, 0.25)])
        store.pair_predictions(conn, "m", 1, ["b"], [0.75])
        first = store.label_predictions(conn, "m", ["b", "a"], [1.0, 0.0], later)
        assert [(one.id, one.version, one.label, one.was) for one in first] == [
            ("b", 2, 1.0, None),
            ("a", 1, 0.0, None),
        ]
        assert (first[0].other_version, first[0].other_score, first[0].at_us) == (1, 0.75, AT)
        assert store.label_predictions(conn, "m", ["b"], [1.0], later) == []
        (corrected,) = store.label_predictions(conn, "m", ["a", "b"], [1.0, 1.0], later)
        assert (corrected.id, corrected.label, corrected.was) == ("a", 1.0, 0.0)
        assert store.prediction(conn, "a", "m").labelled_at == later
        assert store.count_predictions(conn, "m") == (2, 2)


def test_labels_that_come_before_their_prediction_wait_for_it(backend: LocalBackend) -> None:
    early = NOON - timedelta(hours=1)
    with backend.engine.begin() as conn:
        assert store.label_predictions(conn, "m", ["a", "b"], [0.0, 1.0], early) == []
        assert store.label_predictions(conn, "m", ["a"], [1.0], NOON) == []
        new = store.insert_predictions(conn, [row("a"), row("c")])
        (joined,) = store.join_waiting(conn, "m", new)
        assert (joined.id, joined.label, joined.was) == ("a", 1.0, None)
        assert store.prediction(conn, "a", "m").labelled_at == NOON
        assert store.join_waiting(conn, "m", new) == []
        assert store.join_waiting(conn, "m", store.insert_predictions(conn, [row("b")]))


def test_the_last_of_several_labels_of_one_id_counts(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.insert_predictions(conn, [row("a")])
        (one,) = store.label_predictions(conn, "m", ["a", "a"], [0.0, 1.0], NOON)
        assert one.label == 1.0
