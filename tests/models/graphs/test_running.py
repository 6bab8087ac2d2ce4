"""Graphs answer what their nodes do, put together as declared, and say which nodes did."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.models.graphs.shelf import Shelf

from setpoint.errors import Invalid, UserCodeFailed
from setpoint.models.graphs import composing
from setpoint.models.graphs.entities import (
    NODES,
    Chain,
    Combine,
    Ensemble,
    Graph,
    Node,
    Switch,
)
from setpoint.models.graphs.running import NodeFailed


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "objects")


def a(frame: pl.DataFrame) -> Any:
    return frame["x"].to_numpy() + 1


def b(frame: pl.DataFrame) -> Any:
    return frame["x"].to_numpy() * 10 + frame["y"].to_numpy()


def nodes_of(found: dict[str, Any]) -> list[dict[str, str]]:
    return [json.loads(each) for each in found[NODES]]


def test_a_chain_hands_on_what_its_steps_give(shelf: Shelf) -> None:
    double = shelf.function(
        "double", lambda columns: {"y": columns["first"] * 2}, {"first": "number"}, {"y": "number"}
    )
    graph: dict[str, Node] = {
        "first": shelf.model("first", a, "x"),
        "double": double,
        "second": shelf.model("second", b, "x", "y", number=7),
        "all": Chain(steps=["first", "double", "second"]),
    }
    whole = shelf.loaded(graph)
    assert [each.name for each in whole.inputs] == ["x"]
    found = whole.predict(np.array([[3.0], [4.0]]))
    assert found["score"].tolist() == [3 * 10 + 8, 4 * 10 + 10]
    digits = shelf.parts["double"].function[3:15]
    told = {"first": "m-first:1", "double": digits, "second": "m-second:7"}
    assert nodes_of(found) == [told, told]


scores = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(rows=st.lists(scores, min_size=1, max_size=5), by=st.sampled_from(Combine))
def test_an_ensemble_combines_scores(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], by: Combine
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    weights = [1.0, 2.0, 5.0] if by in (Combine.MEAN, Combine.VOTE) else []
    names = ["p", "q", "r"]
    graph: dict[str, Node] = {
        name: shelf.model(
            name, lambda frame: frame[frame.columns[0]].to_numpy() / 4, name, classes=[0, 1]
        )
        for name in names
    }
    whole = shelf.loaded(graph | {"all": Ensemble(members=names, by=by, weights=weights)})
    given_rows = np.array(rows) * 4
    found = whole.predict(given_rows)["score"]
    members = given_rows / 4
    expected = {
        Combine.MEAN: np.average(members, axis=1, weights=weights or None),
        Combine.MEDIAN: np.median(members, axis=1),
        Combine.MIN: members.min(axis=1),
        Combine.MAX: members.max(axis=1),
        Combine.VOTE: np.average(members >= 0.5, axis=1, weights=weights or None),
    }[by]
    assert found == pytest.approx(expected)


def three(frame: pl.DataFrame) -> Any:
    x = np.clip(frame["x"].to_numpy(), 0, 1)
    return np.stack([x, (1 - x) / 2, (1 - x) / 2], axis=1)


def other_three(frame: pl.DataFrame) -> Any:
    return np.tile([0.2, 0.1, 0.7], (len(frame), 1))


@pytest.mark.parametrize(
    ("by", "expected"),
    [(Combine.MEAN, [0.55, 0.075, 0.375]), (Combine.VOTE, [0.5, 0.0, 0.5])],
)
def test_an_ensemble_of_several_classes_combines_probabilities(
    shelf: Shelf, by: Combine, expected: list[float]
) -> None:
    classes = ["no", "maybe", "yes"]
    graph: dict[str, Node] = {
        "one": shelf.model("one", three, "x", classes=classes),
        "other": shelf.model("other", other_three, "x", classes=classes),
        "all": Ensemble(members=["one", "other"], by=by),
    }
    whole = shelf.loaded(graph)
    found = whole.predict(np.array([[0.9]]))
    assert found["probabilities"][0].tolist() == pytest.approx(expected)
    assert found["score"].tolist() == [max(expected)]


def switched(shelf: Shelf) -> dict[str, Node]:
    side = shelf.function(
        "side",
        lambda columns: {"side": np.where(columns["x"] < 0, "left", "right")},
        {"x": "number"},
        {"side": "text"},
    )
    return {
        "side": side,
        "low": shelf.model("low", a, "x"),
        "high": shelf.model("high", b, "x", "y"),
        "by_side": Switch(column="side", cases={"left": "low"}, default="high"),
        "all": Chain(steps=["side", "by_side"]),
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8))
def test_rows_are_answered_together_as_they_are_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float]]
) -> None:
    whole = Shelf(tmp_path_factory.mktemp("shelf"))
    predictor = whole.loaded(switched(whole))
    together = predictor.predict(np.array(rows))
    alone = [predictor.predict(np.array([row])) for row in rows]
    assert together["score"].tolist() == [each["score"][0] for each in alone]
    assert nodes_of(together) == [nodes_of(each)[0] for each in alone]
    for (x, _), nodes in zip(rows, nodes_of(together), strict=True):
        assert ("low" in nodes, "high" in nodes) == (x < 0, x >= 0)


def test_a_switch_answers_what_is_missing_or_unknown_by_its_default(shelf: Shelf) -> None:
    graph: dict[str, Node] = {
        "low": shelf.model("low", a, "x"),
        "high": shelf.model("high", b, "x", "y"),
        "all": Switch(column="kind", cases={"1": "low", "2.5": "high"}, default="low"),
    }
    whole = shelf.loaded(graph)
    kind = np.array([2.5, 1.0, np.nan, 9.0, np.inf])
    ones = np.ones(5)
    found = whole.predict({"kind": kind, "x": ones, "y": ones})
    assert [list(each) for each in nodes_of(found)] == [
        ["high"],
        ["low"],
        ["low"],
        ["low"],
        ["low"],
    ]
    assert found["score"].tolist() == [11.0, 2.0, 2.0, 2.0, 2.0]


def test_a_graph_can_be_a_node_of_another(shelf: Shelf) -> None:
    inner = shelf.composed({"first": shelf.model("first", a, "x")})
    outer: dict[str, Node] = {
        "inner": shelf.put("inner", inner, number=4),
        "other": shelf.model("other", a, "x"),
        "all": Ensemble(members=["inner", "other"]),
    }
    found = shelf.loaded(outer).predict(np.array([[1.0]]))
    assert found["score"].tolist() == [2.0]
    assert nodes_of(found) == [{"inner": "m-inner:4", "other": "m-other:1"}]


def test_no_rows_are_answered_by_none(shelf: Shelf) -> None:
    found = shelf.loaded(switched(shelf)).predict(np.empty((0, 2)))
    assert found["score"].tolist() == []
    assert found[NODES].tolist() == []


def fails(columns: dict[str, Any]) -> Any:
    if (columns["x"] > 100).any():
        msg = "too much"
        raise ValueError(msg)
    return {"score": columns["x"]}


def test_the_node_that_fails_is_named(shelf: Shelf) -> None:
    whole = shelf.loaded(
        {"step": shelf.function("step", fails, {"x": "number"}, {"score": "number"})}
    )
    with pytest.raises(NodeFailed, match=r"node “step” .*ValueError: too much"):
        whole.predict(np.array([[101.0]]))


@pytest.mark.parametrize(
    ("gave", "why"),
    [
        ({}, "it gave no 'score'"),
        ({"score": [1.0, 2.0, 3.0]}, "it gave 3 'score' for 1 rows"),
        ({"score": ["a"]}, "could not convert"),
    ],
)
def test_what_does_not_answer_is_not_composed(shelf: Shelf, gave: Any, why: str) -> None:
    step = shelf.function("step", lambda _: gave, {"x": "number"}, {"score": "number"})
    with pytest.raises(UserCodeFailed, match="does not answer") as caught:
        shelf.composed({"step": step})
    assert why in (caught.value.where or "")


def test_a_function_may_give_one_number_for_all_rows(shelf: Shelf) -> None:
    step = shelf.function("step", lambda _: 0.25, {"x": "number"}, {"score": "number"})
    found = shelf.loaded({"step": step}).predict(np.zeros((3, 1)))
    assert found["score"].tolist() == [0.25, 0.25, 0.25]


def test_a_graph_is_not_made_of_itself(shelf: Shelf) -> None:
    inner = shelf.composed({"first": shelf.model("first", a, "x")})
    graph = Graph(nodes={"inner": shelf.put("inner", inner)}, answer="inner")
    whole = composing.composed(graph, shelf.parts)
    with pytest.raises(Invalid, match="made of itself"):
        composing.compose(shelf.store, whole, of="m-first")


def test_the_same_graph_of_the_same_parts_is_the_same_artifact(shelf: Shelf) -> None:
    graph = switched(shelf)
    first = shelf.composed(graph)
    assert shelf.composed(dict(reversed(graph.items())), answer="all").artifact == first.artifact
    shelf.model("low", a, "x", number=2)
    assert shelf.composed(graph).artifact != first.artifact


def test_what_its_models_were_trained_on_explains_it(shelf: Shelf) -> None:
    assert shelf.composed(switched(shelf)).background is not None
    step = shelf.function("step", lambda _: 0.25, {"z": "number"}, {"score": "number"})
    assert shelf.composed({"step": step}).background is None
