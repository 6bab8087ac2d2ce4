"""CatBoost models: stored as CatBoost's own binary file, which runs no code when it is loaded."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import SCORE, Label, Signature
from setpoint.models.flavors import catboost_onnx
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.frames import handing
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import matrix

_MAGIC = b"CBM1"
#: What CatBoost calls the prediction of a model with this loss; of others it is the raw value.
_PREDICTIONS = {
    **dict.fromkeys(("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll"), "Probability"),
    **dict.fromkeys(("Poisson", "Tweedie"), "Exponent"),
}


class CatBoost:
    """The ``catboost`` flavor: `CatBoostClassifier`, `CatBoostRegressor`, ``.cbm`` files."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.is_file() and model.read_bytes()[: len(_MAGIC)] == _MAGIC
        return of_package(model, "catboost")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            return model.read_bytes()
        if not model.is_fitted():
            raise Invalid(f"the {type(model).__name__} is not fitted", hint="call its fit(…) first")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.cbm")
            model.save_model(str(path))
            return path.read_bytes()

    def load(self, data: bytes, signature: Signature) -> Ask:
        model = _loaded(data)
        numeric = signature.numeric
        table = handing("pandas")
        kind = _PREDICTIONS.get(_loss(model), "RawFormulaVal")

        def answer(rows: Rows) -> Any:
            given = matrix(rows, signature) if numeric else table(rows, signature)
            return model.predict(given, prediction_type=kind, thread_count=1)

        return answer

    def classes(self, data: bytes) -> list[Label]:
        model = _loaded(data)
        answers_them = _PREDICTIONS.get(_loss(model)) == "Probability"
        found: list[Label] = np.asarray(model.classes_).tolist() if answers_them else []
        return found

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        if not signature.numeric:
            raise Uncompilable("it takes categories or texts")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.json")
            _loaded(data).save_model(str(path), format="json")
            said = path.read_bytes()
        return catboost_onnx.convert(said, len(signature.inputs), signature.sole or SCORE)


def _loss(model: Any) -> str:
    said: str = model.get_all_params().get("loss_function", "")
    return said.partition(":")[0]


def _loaded(data: bytes) -> Any:
    try:
        import catboost  # noqa: PLC0415 - a second, and only where its models are
    except ImportError:
        raise MissingExtra("this model needs CatBoost", hint="pip install catboost") from None
    try:
        return catboost.CatBoost().load_model(blob=data)
    except catboost.CatBoostError as error:
        raise Invalid("the stored model cannot be loaded", where=str(error)[:200]) from None
