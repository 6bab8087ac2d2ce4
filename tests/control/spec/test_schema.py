"""The published schema is valid and agrees with the parser."""

from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.control.spec.examples import ALL, FLIGHTS

from setpoint.cli.init_project import contents
from setpoint.control.spec.parse import SpecInvalid, parse, to_document
from setpoint.control.spec.schema import schema

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = {**ALL, "init": contents("churn")["churn.setpoint.yaml"]}


def groups(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict) or at == ("data", "source"):
        return []
    return [at, *(path for key in value for path in groups(value[key], (*at, key)))]


def test_it_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$defs"]["Spec"]["required"] == ["model", "data", "train"]
    assert SCHEMA["$defs"]["GraphSpec"]["required"] == ["model", "graph"]


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_it_accepts_every_example_and_its_canonical_form(text: str) -> None:
    VALIDATOR.validate(yaml.safe_load(text))
    VALIDATOR.validate(to_document(parse(text)))


@pytest.mark.parametrize("path", groups(yaml.safe_load(FLIGHTS)), ids=".".join)
def test_it_refuses_an_unknown_key_wherever_the_parser_does(path: tuple[str, ...]) -> None:
    document = yaml.safe_load(FLIGHTS)
    group = document
    for key in path:
        group = group[key]
    group["no_such_key"] = 1
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(SpecInvalid, match="unknown key"):
        parse(yaml.safe_dump(document))


@given(st.data())
def test_what_it_accepts_of_text_the_parser_reads_or_refuses_by_meaning(
    data: st.DataObject,
) -> None:
    """The parser accepts nothing the schema refuses, whatever stands at a key."""
    document = yaml.safe_load(FLIGHTS)
    path = data.draw(st.sampled_from(groups(document)))
    group = document
    for key in path:
        group = group[key]
    key = data.draw(st.sampled_from(sorted(group)))
    group[key] = data.draw(
        st.sampled_from(
            [
                *("x", "3d", "5%", "1/month", "7 requests", "a:b", "a.csv", "roc_auc"),
                *(0, 1, 0.5, True, -1, 300, ["x"], {}, {"column": "x"}, {"at_most": 1}),
            ]
        )
    )
    try:
        parse(yaml.safe_dump(document))
    except SpecInvalid:
        return
    assert VALIDATOR.is_valid(document)


def test_every_key_says_what_it_means() -> None:
    for group in SCHEMA["$defs"].values():
        assert group["description"]
        for name, key in group["properties"].items():
            assert key["description"], name


def test_defaults_are_written_as_people_write_them() -> None:
    assert SCHEMA["$defs"]["Watch"]["properties"]["alarm_budget"]["default"] == "1/month"
    assert SCHEMA["$defs"]["Canary"]["properties"]["at_most"]["default"] == "7d"
