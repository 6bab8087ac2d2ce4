"""LightGBM models: stored as LightGBM's own text, which runs no code when it is loaded."""

import json
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import SCORE, Label, Signature
from setpoint.models.flavors import lightgbm_onnx
from setpoint.models.flavors.categories import Categories, numbering
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.openmp import provide_openmp
from setpoint.models.protocols import Ask, Rows

_TREES = "\nTree="  #: where the trees begin in a model's text


class LightGBM:
    """The ``lightgbm`` flavor: `Booster`, `LGBMClassifier` and `LGBMRegressor`."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.is_file() and model.read_bytes()[:5] == b"tree\n"
        return _booster(model) is not None

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            return model.read_bytes()
        booster = _booster(model)
        if booster is None:
            raise Invalid(f"{type(model).__name__} is no trained LightGBM model")
        text: str = booster.model_to_string()
        return text.encode()

    def load(self, data: bytes, signature: Signature) -> Ask:
        provide_openmp()
        try:
            from lightgbm import Booster  # noqa: PLC0415 - seconds, and only if it serves
        except ImportError:
            raise MissingExtra(
                "this model needs LightGBM", hint="pip install 'setpoint[lightgbm]'"
            ) from None
        text = data.decode()
        try:
            booster = Booster(model_str=text)
        except Exception as error:  # noqa: BLE001 - foreign code
            raise Invalid("LightGBM cannot read the model", where=str(error)[:200]) from None
        table = numbering(_categories(text, signature), signature)

        def answer(rows: Rows) -> Any:
            return booster.predict(table(rows, signature), num_threads=1)

        return answer

    def classes(self, data: bytes) -> list[Label]:
        """See `Classifies.classes`; the text says how many there are, not what they are called."""
        said = _fields(data.partition(_TREES.encode())[0].decode())
        objective = said.get("objective", "").partition(" ")[0]
        if objective in {"binary", "multiclass", "multiclassova"}:
            return list(range(max(int(said["num_class"]), 2)))
        return []

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        text = data.decode()
        if _categories(text, signature):
            raise Uncompilable("it takes categories")
        return lightgbm_onnx.convert(text, len(signature.inputs), signature.sole or SCORE)


def _fields(head: str) -> dict[str, str]:
    """Return what a model's text says before its trees."""
    return dict(line.partition("=")[::2] for line in head.splitlines())


def _categories(text: str, signature: Signature) -> Categories:
    """Return the categories of columns, which the text has without their names, in their order.

    Raises:
        Invalid: If it cannot be told which columns they are of.
    """
    said = text.rpartition("\npandas_categorical:")[2].partition("\n")[0]
    listed = json.loads(said) if said.startswith("[") else []
    texts = [each.name for each in signature.inputs if not each.numeric]
    ranges = _fields(text.partition(_TREES)[0]).get("feature_infos", "").split()
    coded = [
        each.name
        for each, values in zip(signature.inputs, ranges, strict=False)
        if not values.startswith("[") and values != "none"
    ]
    for names in (texts, coded):
        if len(names) == len(listed):
            return dict(zip(names, listed, strict=True))
    raise Invalid(
        f"the model has {len(listed)} columns of categories, the example {len(texts)} of texts",
        hint="give what was trained on: columns of pandas' type category as texts",
    )


def _booster(model: Any) -> Any:
    """Return the trained booster in `model`, or None if it has none."""
    if type(model).__module__.partition(".")[0] != "lightgbm":
        inherited = {base.__module__.partition(".")[0] for base in type(model).__mro__}
        if "lightgbm" not in inherited:
            return None
    if hasattr(model, "model_to_string"):
        return model
    try:
        return model.booster_
    except (AttributeError, ValueError) as error:  # what a NotFittedError is
        raise Invalid(
            f"the {type(model).__name__} that train returned is not fitted",
            where=str(error),
            hint="call its fit(…) before returning it",
        ) from None
