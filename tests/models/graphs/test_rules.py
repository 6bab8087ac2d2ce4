"""What a graph takes and gives follows from its nodes; what cannot be is said with the node."""

import pytest

from setpoint.errors import Invalid
from setpoint.models.entities import Input, Output, Signature
from setpoint.models.graphs import flows, rules
from setpoint.models.graphs.entities import (
    Chain,
    Combine,
    Ensemble,
    Graph,
    Model,
    Node,
    Switch,
    Transform,
)

LEAF = Model(model="m")


def said(nodes: dict[str, Node]) -> list[str]:
    return [one.message for one in rules.problems(Graph(nodes=nodes, answer="all"))]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"all": Chain(steps=["nobody"])}, "there is no node “nobody”"),
        ({"all": Chain(steps=[])}, "a chain has at least one step"),
        ({"one": LEAF}, "there is no node “all” to answer"),
        ({"all": LEAF, "one": LEAF}, "nothing uses it"),
        ({"all": Ensemble(members=["one"]), "one": LEAF}, "an ensemble has at least two members"),
        ({"all": Ensemble(members=["one", "one"]), "one": LEAF}, "each once"),
        ({"all": Switch(column="x", cases={}, default="one"), "one": LEAF}, "at least one case"),
        ({"all": Transform(code="s:f")}, "a transform gives at least one column"),
        ({"all": Transform(code="s:f", gives={"nodes": "FP64"})}, "what every graph gives"),
        (
            {"all": Chain(steps=["one"]), "one": Chain(steps=["all"])},
            "it is made of itself: all → one → all",
        ),
    ],
)
def test_what_cannot_be(nodes: dict[str, Node], message: str) -> None:
    (found,) = said(nodes)
    assert message in found


@pytest.mark.parametrize(
    ("by", "weights", "message"),
    [
        (Combine.MAX, [1, 2], "weights mean nothing to max"),
        (Combine.MEAN, [1], "1 weights for 2 members"),
        (Combine.MEAN, [0, 0], "weights are 0 or more, and not all 0"),
        (Combine.VOTE, [-1, 2], "weights are 0 or more"),
    ],
)
def test_weights_fit_the_members(by: Combine, weights: list[float], message: str) -> None:
    ensemble = Ensemble(members=["one", "two"], by=by, weights=weights)
    (found,) = said({"all": ensemble, "one": LEAF, "two": LEAF})
    assert message in found


def numbers(*names: str, **more: object) -> Signature:
    inputs = [Input(name=name, datatype="FP64") for name in names]
    return Signature(inputs=inputs, **more)  # type: ignore[arg-type]


def texts(*names: str) -> Signature:
    return Signature(inputs=[Input(name=name, datatype="BYTES") for name in names])


def of(models: dict[str, Signature], **nodes: Node) -> Signature:
    every: dict[str, Node] = {name: Model(model=name) for name in models}
    return rules.signature(Graph(nodes=every | nodes, answer="all"), models)


def test_it_takes_what_no_node_before_gives() -> None:
    step = Transform(code="s:f", takes={"raw": "BYTES"}, gives={"size": "FP64"})
    models = {"one": numbers("size", "age"), "two": numbers("one", "age", "extra")}
    found = of(models, step=step, all=Chain(steps=["step", "one", "two"]))
    assert [(each.name, each.datatype) for each in found.inputs] == [
        ("raw", "BYTES"),
        ("age", "FP64"),
        ("extra", "FP64"),
    ]
    assert [(each.name, each.trace) for each in found.outputs] == [("nodes", True)]


def test_whole_and_other_numbers_go_together() -> None:
    whole = Signature(inputs=[Input(name="x", datatype="INT64")])
    found = of({"one": whole, "two": numbers("x")}, all=Ensemble(members=["one", "two"]))
    assert [each.datatype for each in found.inputs] == ["FP64"]


def test_a_switch_takes_its_column_as_its_cases_are_written() -> None:
    models = {"one": numbers("x"), "two": numbers("x")}
    by_number = Switch(column="kind", cases={"1": "one"}, default="two")
    by_text = Switch(column="kind", cases={"a": "one"}, default="two")
    assert of(models, all=by_number).inputs[0] == Input(name="kind", datatype="FP64")
    assert of(models, all=by_text).inputs[0] == Input(name="kind", datatype="BYTES")


PROBABLE = [Output(name="probabilities", datatype="FP64", shape=[3])]


@pytest.mark.parametrize(
    ("models", "node", "message"),
    [
        (
            {"one": numbers("x"), "two": texts("x")},
            Ensemble(members=["one", "two"]),
            "node “two” takes 'x' as text, another node as a number",
        ),
        (
            {"one": numbers("x"), "two": texts("one")},
            Chain(steps=["one", "two"]),
            "node “two” takes 'one' as text, and is given a number",
        ),
        (
            {"one": numbers("x", scored=False), "two": numbers("x")},
            Ensemble(members=["one", "two"]),
            "node “one” gives no score",
        ),
        (
            {"one": numbers("x", classes=[0, 1]), "two": numbers("x", classes=["a", "b"])},
            Ensemble(members=["one", "two"]),
            "tell apart different classes",
        ),
        (
            {"one": numbers("x"), "two": numbers("x")},
            Ensemble(members=["one", "two"], by=Combine.VOTE),
            "counts votes, and its members tell no classes apart",
        ),
        (
            {
                "one": numbers("x", classes=[1, 2, 3], outputs=PROBABLE),
                "two": numbers("x", classes=[1, 2, 3], outputs=PROBABLE),
            },
            Ensemble(members=["one", "two"], by=Combine.MAX),
            "which would not sum to 1",
        ),
        (
            {
                "one": numbers("x", scored=False, outputs=[Output(name="a", datatype="FP64")]),
                "two": numbers("x", scored=False, outputs=[Output(name="b", datatype="FP64")]),
            },
            Switch(column="x", cases={"1": "one"}, default="two"),
            "have no output in common",
        ),
    ],
)
def test_nodes_that_do_not_fit(models: dict[str, Signature], node: Node, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        of(models, all=node)


def test_a_switch_gives_what_all_its_cases_do() -> None:
    models = {
        "one": numbers("x", classes=["a", "b"], outputs=[Output(name="o", datatype="FP64")]),
        "two": numbers("x", classes=["a", "b"]),
    }
    found = of(models, all=Switch(column="x", cases={"1": "one"}, default="two"))
    assert found.classes == ["a", "b"]
    assert [each.name for each in found.outputs] == ["nodes"]


def test_rows_flow_through_steps_and_into_the_case_that_is_named() -> None:
    nodes: dict[str, Node] = {
        "step": Transform(code="s:f", gives={"size": "BYTES"}),
        "one": LEAF,
        "two": LEAF,
        "both": Ensemble(members=["one", "two"]),
        "which": Switch(column="size", cases={"s": "one"}, default="both"),
        "all": Chain(steps=["step", "which"]),
    }
    found = flows.flow(Graph(nodes=nodes, answer="all"))
    names = {box.key: box.node for box in found.boxes}
    arrows = sorted((names[one], names[other]) for one, other in found.arrows)
    assert arrows == [
        ("one", "both"),
        ("step", "which"),
        ("two", "both"),
        ("which", "one"),
        ("which", "one"),
        ("which", "two"),
    ]
    columns = {(box.node, box.column) for box in found.boxes}
    assert columns == {("step", 0), ("which", 1), ("one", 2), ("two", 2), ("both", 3)}
