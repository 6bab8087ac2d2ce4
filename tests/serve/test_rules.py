import numpy as np

from setpoint.serve.rules import index_rows, scores

from .made import predicted


def test_an_answered_record_is_one_index_row_a_prediction() -> None:
    record = predicted("a", "b", versions=[1, 2], roles=b"\0\1")
    assert index_rows(record) == [
        ("m", "a", 1, "live", 1_000_000, 0.5, None),
        ("m", "b", 2, "canary", 1_000_000, 0.5, None),
    ]


def test_a_record_that_nobody_answered_has_no_rows() -> None:
    assert index_rows(predicted("a", status=500, failed=1, scores=b"")) == []


def test_a_row_without_an_answer_has_no_score() -> None:
    assert scores(predicted("a", "b", scores=np.array([np.nan, 1.0]).tobytes())) == [None, 1.0]
