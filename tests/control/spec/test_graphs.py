"""The spec of a graph: read with every problem at its line, and published as a schema."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from setpoint.control.spec.explain import changes, explain
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.parse import (
    GraphFile,
    SpecInvalid,
    graph_from_document,
    hash_of,
    read,
    to_document,
)
from setpoint.control.spec.schema import schema

TEXT = """\
model: checkout
owner: risk@example.com
graph:
  prepare:
    transform: steps:prepare
    takes: {amount: number}
    gives: {size: text}
  small: {model: fraud-small}
  large: {model: "fraud-large@champion"}
  both: {ensemble: [small, large], by: mean, weights: [1, 2.5]}
  by_size: {switch: size, cases: {little: small}, default: both}
  all: {chain: [prepare, by_size]}
serve:
  limits: {timeout: 100ms}
"""


def written(folder: Path, text: str) -> GraphSpec:
    path = folder / "checkout.setpoint.yaml"
    path.write_text(text)
    found = read(path)
    assert isinstance(found, GraphFile)
    return found.spec


def test_the_last_node_answers(tmp_path: Path) -> None:
    spec = written(tmp_path, TEXT)
    assert spec.answer == "all"
    assert spec.graph["both"].weights == (1.0, 2.5)


def test_its_canonical_form_is_the_same_spec(tmp_path: Path) -> None:
    spec = written(tmp_path, TEXT)
    again = graph_from_document(to_document(spec))
    assert hash_of(again) == hash_of(spec)
    assert again == spec


@pytest.mark.parametrize(
    ("was", "becomes", "line", "message"),
    [
        ("small: {model: fraud-small}", "small: {}", 8, "is nothing yet"),
        ("{model: fraud-small}", "{model: a, chain: [large]}", 8, "has model and chain"),
        ("{model: fraud-small}", "{modle: fraud-small}", 8, "unknown key"),
        ("{model: fraud-small}", "{model: 'a b'}", 8, "cannot be the name of a model"),
        ("{model: fraud-small}", "{model: 'a:x'}", 8, "is no number of a version"),
        ("{model: fraud-small}", "{model: checkout}", 8, "is made of itself"),
        ("{model: fraud-small}", "{model: a, by: max}", 8, "says nothing about a model"),
        ("by: mean", "by: mode", 10, "not one of the choices"),
        ("default: both", "default: nobody", 11, "there is no node “nobody”"),
        (", default: both", "", 11, "graph.by_size.default is missing"),
        ("chain: [prepare, by_size]", "chain: [prepare, all]", 12, "made of itself"),
        ("chain: [prepare, by_size]", "chain: by_size", 12, "not a list"),
        ("takes: {amount: number}", "takes: {amount: float}", 6, "not one of the choices"),
        ("takes: {amount: number}", "takes: [amount]", 6, "not values by name"),
        ("small: {model: fraud-small}", "s.m: {model: a}", 8, "cannot be the name of a node"),
        ("timeout: 100ms", "timeout: 0s", 14, "no time at all"),
        ("limits: {timeout: 100ms}", "fallback: baseline", 14, "a graph has no baseline"),
        ("owner: risk@example.com", "train: {code: a:b}", 2, "unknown key"),
    ],
)
def test_a_mistake_is_told_at_its_line(
    tmp_path: Path, was: str, becomes: str, line: int, message: str
) -> None:
    assert was in TEXT
    with pytest.raises(SpecInvalid, match=message) as caught:
        written(tmp_path, TEXT.replace(was, becomes))
    lines = [one.line for one in caught.value.problems if message in one.message]
    assert line in lines


def test_every_setting_is_explained_and_told_apart(tmp_path: Path) -> None:
    before = written(tmp_path, TEXT)
    rows = {row.path: row.value for row in explain(before)}
    assert rows["graph.both.ensemble"] == "[small, large]"
    assert [path for path in rows if path.startswith("graph.small")] == ["graph.small.model"]
    after = written(tmp_path, TEXT.replace("fraud-small", "other").replace("100ms", "1s"))
    assert [(one.path, one.after) for one in changes(before, after)] == [
        ("graph.small.model", "other"),
        ("serve.limits.timeout", "1s"),
    ]


SCHEMA = schema()


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document))


def test_the_schema_knows_graphs() -> None:
    document = yaml.safe_load(TEXT)
    assert valid(document)
    assert not valid(document | {"train": {"code": "a:b"}})
    document["graph"]["small"]["modle"] = "x"
    assert not valid(document)
