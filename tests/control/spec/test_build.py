"""The same spec, written in Python."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from tests.control.spec.examples import ALL, SMALLEST

import setpoint as sp
from setpoint.control.spec.entities import Data, Label, Objective
from setpoint.control.spec.parse import SpecInvalid, parse


def train() -> None:
    """Stand for a training function."""


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_the_keys_of_a_file_are_the_arguments(text: str) -> None:
    assert sp.Model(**yaml.safe_load(text)) == parse(text)


def test_groups_may_be_structs_and_values_typed() -> None:
    spec = sp.Model(
        model="churn",
        data=Data(source={"churn": "data/churn.csv"}, time="at", label=Label(column="left")),
        train={"code": train, "split": {"test": timedelta(days=14)}},
        objective=Objective(metric="f1"),
        owner=None,
    )
    assert spec.data.label.column == "left"
    assert spec.train.code == f"{__name__}:train"
    assert spec.train.split.test == timedelta(days=14)
    assert spec.train.split.by == "time"


def test_paths_may_be_paths() -> None:
    data = {"source": Path("data") / "churn.csv"}
    spec = sp.Model(model="churn", data=data, train={"code": "churn:train"})
    assert spec == parse(SMALLEST)


def test_mistakes_are_answered_as_in_a_file() -> None:
    with pytest.raises(SpecInvalid, match="unknown key “dta”") as caught:
        sp.Model(model="churn", dta={}, train={"code": "churn:train"})
    assert "did you mean “data”?" in str(caught.value)
    assert caught.value.where == "sp.Model"


def test_reading_a_spec_needs_no_heavy_package() -> None:
    code = (
        "import sys, setpoint.control.spec.parse, setpoint.control.project;"
        "print(sorted({'polars', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
