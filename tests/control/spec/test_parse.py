"""A setpoint file becomes a spec, or every problem is said at once with its line."""

import string
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.control.spec.examples import ALL, DEMAND, FLIGHTS, SMALLEST

from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import (
    SpecInvalid,
    canonical,
    from_canonical,
    from_document,
    hash_of,
    parse,
    read,
    to_document,
)
from setpoint.control.spec.reader import Problem
from setpoint.control.spec.units import Amount, Rate
from setpoint.errors import NotFound


def refusal(text: str | bytes) -> SpecInvalid:
    with pytest.raises(SpecInvalid) as caught:
        parse(text, "f.yaml")
    return caught.value


def changed(old: str, new: str, text: str = FLIGHTS) -> SpecInvalid:
    assert old in text
    return refusal(text.replace(old, new))


def test_the_example_of_the_design_is_read_whole() -> None:
    spec = parse(FLIGHTS)
    assert spec.data.source["weather"] == "data/weather.parquet"
    assert spec.data.rows == "flights"
    assert (spec.data.label.known_at, spec.data.label.delay) == ("arrival", None)
    assert spec.train.split.test == timedelta(days=14)
    assert spec.guardrails.slices is not None
    assert spec.guardrails.slices.bounds["roc_auc"].at_least == 0.64
    assert spec.guardrails.errors is not None
    assert spec.guardrails.errors.at_most == 0.001
    assert spec.release.shadow.for_ == Amount(requests=500)
    assert spec.release.canary.steps == (0.05, 0.25, 1.0)
    assert spec.watch.alarm_budget == Rate(count=1, per=timedelta(days=30))
    assert spec.react.stale is not None
    assert spec.react.stale.after == timedelta(days=60)


def test_three_lines_suffice() -> None:
    spec = parse(SMALLEST)
    assert spec.data.source == {"churn": "data/churn.csv"}
    assert spec.data.label.column == "label"
    assert spec.train.split.by == "random"
    assert spec.objective.better_than == "nothing"
    assert spec.task == "classification"


def test_defaults_follow_what_else_is_said() -> None:
    text = SMALLEST.replace("churn.csv}", "churn.csv, time: at}")
    spec = parse(text.replace("churn:train}", "churn:train, baseline: churn:simple}"))
    assert spec.train.split.by == "time"
    assert spec.objective.better_than == "baseline"


def test_short_forms_stand_for_their_groups() -> None:
    text = SMALLEST.replace("churn.csv}", "churn.csv, label: left}") + "objective: f1\n"
    spec = parse(text)
    assert (spec.data.label.column, spec.objective.metric) == ("left", "f1")
    demand = parse(DEMAND)
    assert demand.react.stale is not None
    assert demand.react.stale.after == timedelta(days=45)
    assert demand.data.label.delay == timedelta(hours=36)
    assert demand.task == "regression"


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_the_canonical_form_reads_back_as_the_same_spec(text: str) -> None:
    spec = parse(text)
    assert from_canonical(canonical(spec)) == spec
    assert hash_of(from_canonical(canonical(spec))) == hash_of(spec)
    assert canonical(spec) == canonical(parse(yaml.safe_dump(to_document(spec))))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("latest 2", "latest 2"),
        ("all", "all"),
        ("4", "4"),
        ("[4, 1]", "1, 4"),
        ("[champion, latest 2]", "latest 2, champion"),
    ],
)
def test_versions_that_can_be_named_are_written_in_words(written: str, meant: str) -> None:
    text = SMALLEST.replace("train}", f"train}}\nserve: {{versions: {written}}}")
    assert parse(text).serve.versions == meant


@pytest.mark.parametrize("written", ["latest two", "{a: 1}", "[[1]]", "0", "2026-01-01"])
def test_what_names_no_versions_is_a_problem(written: str) -> None:
    text = SMALLEST.replace("train}", f"train}}\nserve: {{versions: {written}}}")
    with pytest.raises(SpecInvalid, match="versions"):
        parse(text)


def test_the_hash_is_of_the_meaning_not_the_writing() -> None:
    spelled = SMALLEST + "watch: {window: 24h, alarm_budget: 1/30d}\nobjective: roc_auc\n"
    assert hash_of(parse(spelled)) == hash_of(parse(SMALLEST))
    assert hash_of(parse(SMALLEST + "owner: ada\n")) != hash_of(parse(SMALLEST))
    assert hash_of(parse(SMALLEST)).startswith("blake3:")


def test_several_problems_are_said_at_once_with_their_lines() -> None:
    error = refusal("""\
model: 12
data: {source: rows.txt, lable: x}
train:
  code: flights.py:train
  seed: x
  seed: 1
release: {canary: {steps: 5%, at_most: 7}, at_least: 3}
""")
    assert [problem.line for problem in error.problems] == [1, 2, 2, 4, 5, 6, 7, 7, 7]
    assert "f.yaml has 9 problems" in error.message
    assert "f.yaml:2: unknown key “data.lable” (did you mean “label”?" in error.message
    assert "f.yaml:4: train.code: “flights.py:train”" in error.message
    assert "did you mean “flights:train”?" in error.message
    assert "train.seed is there twice (first in line 5)" in error.message
    assert "write it in brackets: [5%]" in error.message
    assert "it belongs under “objective”" in error.message
    assert error.where == "f.yaml:1"


def test_at_most_ten_problems_are_shown() -> None:
    error = refusal("".join(f"k{n}: 1\n" for n in range(30)))
    assert len(error.problems) == 33
    assert "… and 23 more" in error.message
    assert len(error.message.splitlines()) == 12


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("owner:", "onwer:", "unknown key “onwer”", "did you mean “owner”?"),
        ("entity:", "at_least:", "unknown key “data.at_least”", "under “objective”"),
        ("0.1%", "0.1 ms", "“0.1 ms” is not a percentage", "such as 5%"),
        ("0.1%", "5", "5 is above 1", "did you mean 5%?"),
        ("20ms", "20", "“20” (a number) has no unit", "20ms"),
        ("20ms", "20sm", "“20sm” is not a duration", "20ms"),
        ("1/month", "1/moth", "“1/moth” is not a rate", "1/month"),
        ("500 requests", "lots", "“lots” is neither", "500 requests"),
        ("[origin]", "origin", "not a list", "[origin]"),
        ("{at_most: 20ms}", "[20ms]", "is a list, not a group of keys", "at_most"),
        ("{at_most: 0.05}", "{}", "calibration_error.at_most is missing", "add"),
        ("seed: 7", "seed: 7.5", "“7.5” (a number) is not a whole number", "7"),
        ("seed: 7", "seed: -1", "-1 is out of range", "between"),
        ("seed: 7", "seed:", "train.seed has no value", "remove the key"),
        ("prediction: true", "prediction: 1", "not true or false", "true or false"),
        ("at_least: 0.68", "at_least: .nan", "not a finite number", "0.7"),
        ("metric: roc_auc", "metric: roc_ac", "not one of the choices", "“roc_auc”"),
        ("on_breach: rollback", "on_breach: no", "not one of the", "There are: rollback"),
        ("owner: ops-team", "owner: 2024-05-01", "neither text nor a number", "quote"),
        ("model: flights-late", "model: flights late", "cannot be the name", "letter"),
        ("flights:train", "train", "is not a function", "module:function"),
        ("data/flights.parquet", "data/flights.xls", "neither a parquet", "rows.csv"),
        ("delay: arrival", "delay: 3 dayz", "“3 dayz” is not a duration", "14d"),
        ("flights: data", "my-rows: data", "cannot be the name of a source", "_"),
        ("serve:", "? [a]\n: b\nserve:", "a list stands where a key", ""),
    ],
)
def test_each_mistake_gets_one_answer(old: str, new: str, said: str, hint: str) -> None:
    error = changed(old, new)
    assert len(error.problems) == 1
    assert said in error.message
    assert hint in error.hint
    line = FLIGHTS[: FLIGHTS.index(old)].count("\n") + 1
    assert error.where == f"f.yaml:{line}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n- b\n", "is a list, not a group of keys"),
        ("just words", "not a group of keys"),
        ("model: m\n\tdata: x\n", "a tab where spaces belong"),
        ("model: [a, b\n", "not valid YAML"),
        ("model: 'a\n", "not valid YAML"),
        ("model: a\n---\nmodel: b\n", "a second document"),
        ("[" * 1500, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("model: &a [*a]\n", "nested too deeply"),
        ("model: *nothing\n", "not valid YAML"),
        ("model: a\x01b\n", "a character that YAML does not allow"),
        (b"\xff\xfem\x00", "not UTF-8"),
        (b"model: caf\xe9\n", "not UTF-8"),
        ("model: !!python/object:os.system x\n", "quote it"),
        ('model: "\\ud800"\n', "a character that is no text"),
        ("x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_what_is_no_setpoint_file_is_refused_in_words(text: str | bytes, said: str) -> None:
    assert said in str(refusal(text))


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "too large" in refusal("\n".join(lines)).message


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse(b"\xef\xbb\xbf" + SMALLEST.encode()).model == "churn"


def test_names_may_be_in_any_script() -> None:
    assert parse(SMALLEST.replace("model: churn", "model: größe-日本")).model == "größe-日本"


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read(tmp_path / "x.setpoint.yaml")


def test_a_file_remembers_the_line_of_every_key(tmp_path: Path) -> None:
    path = tmp_path / "flights.setpoint.yaml"
    path.write_text(FLIGHTS)
    file = read(path)
    assert file.where("train.seed") == f"{path}:15"
    assert file.where("release.canary.steps[1]") == f"{path}:26"
    assert file.where("train.window") == f"{path}:11"
    assert file.where("") == f"{path}:1"


TEXT = st.text(string.printable, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [at]
    return [at, *(path for key in value for path in paths(value[key], (*at, key)))]


@given(st.data())
def test_any_value_anywhere_is_read_or_refused_never_a_traceback(
    data: st.DataObject,
) -> None:
    document = yaml.safe_load(FLIGHTS)
    *above, last = data.draw(st.sampled_from(paths(document)[1:]))
    group = document
    for key in above:
        group = group[key]
    group[last] = data.draw(VALUES)
    problems: tuple[Problem, ...] = ()
    try:
        spec = parse(yaml.safe_dump(document, allow_unicode=True))
        assert from_canonical(canonical(spec)) == spec
    except SpecInvalid as error:
        problems = error.problems
    assert all(problem.message for problem in problems)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_refused_in_words(data: bytes | str) -> None:
    with pytest.raises(SpecInvalid):
        parse(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))


def test_a_spec_that_lacks_a_newer_key_takes_its_default() -> None:
    document = to_document(parse(FLIGHTS))
    del document["release"]["canary"]["loss_margin"]
    assert from_document(document) == parse(FLIGHTS)


def test_specs_are_values() -> None:
    assert msgspec.structs.replace(parse(FLIGHTS)) == parse(FLIGHTS)
    with pytest.raises(AttributeError):
        parse(FLIGHTS).model = "other"  # type: ignore[misc]
    assert isinstance(parse(FLIGHTS), Spec)
