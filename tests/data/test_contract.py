import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import msgspec
import pytest
from tests.data.test_checks import HEAD, ORDERS

from setpoint.data.contract import load, parse
from setpoint.errors import Invalid, NotFound

PROJECT = Path(str(files("setpoint.demo"))) / "project"


@pytest.mark.parametrize(
    "text", [ORDERS, (PROJECT / "contracts/flights.odcs.yaml").read_text(encoding="utf-8")]
)
def test_our_contracts_are_valid_by_the_published_schema(text: str) -> None:
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    jsonschema.Draft201909Validator(schema).validate(msgspec.yaml.decode(text))
    parse(text, table=msgspec.yaml.decode(text)["schema"][0]["name"])


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        (("version:", "verzion:"), "unknown key 'verzion'", "did you mean 'version'?"),
        (("required:", "requird:"), "unknown key 'requird'", "did you mean 'required'?"),
        (
            ("logicalType: number", "logicalType: numbr"),
            "'numbr' is no logicalType",
            "'number'",
        ),
        (
            ("minimum: 0,", "minimun: 0,"),
            "unknown key 'minimun'",
            "did you mean 'minimum'?",
        ),
        (("metric: rowCount", "metric: rowCont"), "'rowCont' is no metric", "'rowCount'"),
        (
            ("mustBeBetween: [1, 10]", "mustBeBetween: 7"),
            "mustBeBetween must be a number",
            "",
        ),
        (
            ("mustBeBetween: [1, 10]", "name: n"),
            "a quality rule has no operator",
            "mustBe: 0",
        ),
        (
            ("severity: warning", "severity: fatal"),
            "severity 'fatal' is not known",
            "error",
        ),
        (("engine: polars", "engine: soda"), "engine 'soda' cannot be checked", "polars"),
        (("v3.1.0", "v2.2.0"), "apiVersion v2.2.0 is not supported", "v3.1.0"),
        (("name: country", "name: amount"), "'amount' is declared twice", ""),
        (("kind: DataContract\n", ""), "the contract lacks 'kind'", "ODCS"),
    ],
)
def test_a_mistake_is_one_clear_error(change: tuple[str, str], said: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(ORDERS.replace(*change), where="orders.odcs.yaml")
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.where.startswith("orders.odcs.yaml")


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "schema: {a: 1}"])
def test_what_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_the_table_must_be_named_where_there_are_two() -> None:
    two = HEAD + "  - {name: id}\n- {name: lines}\n"
    assert parse(two, table="lines").table == "lines"
    with pytest.raises(Invalid, match="which table is meant"):
        parse(two)
    with pytest.raises(Invalid, match="no table 'order'") as caught:
        parse(two, table="order")
    assert caught.value.hint == "did you mean 'orders'?"


def test_a_contract_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no contract at .*nope\.yaml"):
        load(tmp_path / "nope.yaml")
