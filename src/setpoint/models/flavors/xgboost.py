"""XGBoost models: stored as XGBoost's own binary JSON, which runs no code when it is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import SCORE, Label, Signature
from setpoint.models.flavors import xgboost_onnx
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import matrix

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
            return bytes(xgboost.Booster(model_file=str(model)).save_raw("ubj"))
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
        booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(data))
        numeric = signature.numeric
        in_place = numeric and '"gblinear"' not in booster.save_config()  # which cannot
        table: Callable[[Rows, Signature], Any] = matrix
        if not numeric:
            from setpoint.models.frames import frame  # noqa: PLC0415 - Polars, for who needs it

            table = frame

        def answer(rows: Rows) -> Any:
            if in_place:
                return booster.inplace_predict(matrix(rows, signature), validate_features=False)
            given = xgboost.DMatrix(table(rows, signature), enable_categorical=not numeric)
            return booster.predict(given, validate_features=not numeric)

        return answer

    def classes(self, data: bytes) -> list[Label]:
        said = json.loads(_library().Booster(model_file=bytearray(data)).save_config())
        objective = said["learner"]["objective"]["name"]
        if objective == "binary:logistic":
            return [0, 1]
        if objective == "multi:softprob":
            return list(range(int(said["learner"]["learner_model_param"]["num_class"])))
        return []  # of values, or it answers a class itself

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        if not signature.numeric:
            raise Uncompilable("it takes categories")
        booster = _library().Booster(model_file=bytearray(data))
        said = bytes(booster.save_raw("json"))
        return xgboost_onnx.convert(said, len(signature.inputs), signature.sole or SCORE)


def _library() -> Any:
    try:
        import xgboost  # noqa: PLC0415 - a second, and only where its models are
    except ImportError:
        raise MissingExtra("this model needs XGBoost", hint="pip install xgboost-cpu") from None
    return xgboost
