"""What the folder of a pipeline says of itself, with neither PyTorch nor transformers here."""

import json
from pathlib import Path
from typing import Any

import pytest

from setpoint.errors import Invalid
from setpoint.models.flavors.registry import detect
from setpoint.models.flavors.transformers import Transformers

NAMES = {"id2label": {"1": "pos", "0": "neg", "10": "else"}}


def folder(at: Path, architecture: str, **config: Any) -> Path:
    said = {"architectures": [architecture], **config}
    (at / "config.json").write_text(json.dumps(said))
    (at / "tokenizer_config.json").write_text("{}")
    return at


def test_the_classes_of_a_saved_pipeline_are_those_of_its_configuration(tmp_path: Path) -> None:
    saved = folder(tmp_path, "BertForSequenceClassification", **NAMES)
    assert detect(saved) == "transformers"
    how = Transformers()
    assert how.classes(how.save(saved)) == ["neg", "pos", "else"]


def test_images_are_told_apart_too(tmp_path: Path) -> None:
    saved = folder(tmp_path, "ViTForImageClassification", **NAMES)
    (saved / "tokenizer_config.json").rename(saved / "preprocessor_config.json")
    assert detect(saved) == "transformers"
    how = Transformers()
    assert how.classes(how.save(saved)) == ["neg", "pos", "else"]


@pytest.mark.parametrize(
    "config", [{**NAMES, "problem_type": "regression"}, {"id2label": {"0": "LABEL_0"}}, {}]
)
def test_values_are_no_classes(tmp_path: Path, config: dict[str, Any]) -> None:
    how = Transformers()
    assert how.classes(how.save(folder(tmp_path, "BertForSequenceClassification", **config))) == []


def test_the_task_that_was_kept_with_a_pipeline_goes_before(tmp_path: Path) -> None:
    saved = folder(tmp_path, "BertForSequenceClassification", **NAMES)
    (saved / "setpoint.json").write_text(json.dumps({"task": "zero-shot-classification"}))
    how = Transformers()
    assert how.classes(how.save(saved)) == []


def test_a_folder_that_tags_texts_is_taken_and_tells_no_classes_of_rows_apart(
    tmp_path: Path,
) -> None:
    how = Transformers()
    assert how.classes(how.save(folder(tmp_path, "BertForTokenClassification", **NAMES))) == []


def test_a_folder_whose_task_is_unknown_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="BertModel") as refused:
        Transformers().save(folder(tmp_path, "BertModel", **NAMES))
    assert "sp.add_model(" in refused.value.hint


def test_a_configuration_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Invalid, match="is no JSON"):
        Transformers().save(tmp_path)
