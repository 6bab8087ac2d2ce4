"""XGBoost models: stored as XGBoost's own binary JSON, which runs no code when it is loaded."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import SCORE, Label, Signature
from setpoint.models.flavors import xgboost_onnx
from setpoint.models.flavors.categories import Categories, numbering
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows

_SUFFIXES = (".ubj", ".xgb", ".json")


class XGBoost:
    """The ``xgboost`` flavor: `Booster`, `XGBClassifier`, `XGBRegressor`, ``.ubj``, ``.json``."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.suffix in _SUFFIXES and b"learner" in model.read_bytes()[:4096]
        return of_package(model, "xgboost")

    def save(self, model: Any) -> bytes:
        xgboost = _library()
        if isinstance(model, Path):
            return bytes(_read(model.read_bytes()).save_raw("ubj"))
        try:
            booster = model if isinstance(model, xgboost.Booster) else model.get_booster()
        except Exception as error:  # noqa: BLE001 - foreign code
            raise Invalid(
                f"the {type(model).__name__} is not fitted",
                where=str(error),
                hint="call its fit(…) first",
            ) from None
        return bytes(booster.save_raw("ubj"))

    def load(self, data: bytes, signature: Signature) -> Ask:
        xgboost = _library()
        booster = _read(data, nthread=1)
        in_place = '"gblinear"' not in booster.save_config()  # which cannot
        table = numbering(_categories(booster, signature), signature)

        def answer(rows: Rows) -> Any:
            given = table(rows, signature)
            if in_place:
                return booster.inplace_predict(given, validate_features=False)
            return booster.predict(xgboost.DMatrix(given), validate_features=False)

        return answer

    def classes(self, data: bytes) -> list[Label]:
        said = json.loads(_read(data).save_config())
        objective = said["learner"]["objective"]["name"]
        if objective == "binary:logistic":
            return [0, 1]
        if objective == "multi:softprob":
            return list(range(int(said["learner"]["learner_model_param"]["num_class"])))
        return []  # of values, or it answers a class itself

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        booster = _read(data)
        if _categories(booster, signature):
            raise Uncompilable("it takes categories")
        said = bytes(booster.save_raw("json"))
        return xgboost_onnx.convert(said, len(signature.inputs), signature.sole or SCORE)


def _read(data: bytes, **parameters: Any) -> Any:
    """Return the booster in a file's bytes.

    Raises:
        Invalid: If there is none.
    """
    library = _library()
    try:
        return library.Booster(parameters, model_file=bytearray(data))
    except Exception as error:  # noqa: BLE001 - XGBoost's own, with a stack of C++ in its words
        said = str(error).strip().partition("\n")[0][:200]
        raise Invalid("XGBoost cannot read the model", where=said) from None


def _categories(booster: Any, signature: Signature) -> Categories:
    """Return the categories of columns as the model keeps them; older ones keep none."""
    if "c" not in (booster.feature_types or ()):
        return {}
    made = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    kept = made.get("model", {}).get("cats", {}).get("enc", [])
    found = {each.name: _labels(said) for each, said in zip(signature.inputs, kept, strict=False)}
    return {name: labels for name, labels in found.items() if labels}


def _labels(said: dict[str, Any]) -> list[Label]:
    """Return categories: numbers, or texts one after the other.

    Of a pandas frame XGBoost (3.2) counts characters where it means bytes: texts that are not
    ASCII are cut short in its file, and nobody can tell which they were.

    Raises:
        Invalid: If they are such texts.
    """
    if "offsets" not in said:
        return list(said["values"])
    packed, ends = bytes(each & 0xFF for each in said["values"]), said["offsets"]
    if not packed.isascii():
        raise Invalid(
            "the model has categories that are not ASCII, which XGBoost's file cuts short",
            hint="train it on categories in ASCII, or on their numbers",
        )
    return [packed[start:end].decode() for start, end in pairwise(ends)]


def _library() -> Any:
    try:
        import xgboost  # noqa: PLC0415 - a second, and only where its models are
    except ImportError:
        raise MissingExtra("this model needs XGBoost", hint="pip install xgboost-cpu") from None
    return xgboost
