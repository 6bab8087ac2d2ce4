"""scikit-learn estimators and pipelines: pickled, and compiled by skl2onnx where it can."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

from setpoint.models import compiled
from setpoint.models.entities import SCORE, Output, Signature
from setpoint.models.flavors import pickles, sklearn_linear, sklearn_trees
from setpoint.models.flavors.asking import asker
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name, matrix, text


class Sklearn:
    """The ``sklearn`` flavor: whatever derives from `sklearn.base.BaseEstimator`."""

    def detect(self, model: Any) -> bool:
        base = sys.modules.get("sklearn.base")
        return base is not None and isinstance(model, base.BaseEstimator)

    def save(self, model: Any) -> bytes:
        return pickles.dump(model)

    def load(self, data: bytes, signature: Signature) -> Ask:
        model = pickles.load(data)
        return asker(model, signature, _preparing(model, signature))

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        """See `Flavor.to_onnx`.

        Trees, forests and linear models are converted here; everything else by skl2onnx, in
        doubles where ONNX Runtime has all its operators for them, else in floats (imputers,
        scalers); parity then tells whether that is good enough.
        """
        model, output = pickles.load(data), signature.sole or SCORE
        if sklearn_trees.holds_trees(model):
            if not signature.numeric:
                raise Uncompilable("trees over text are not compiled")
            return sklearn_trees.convert(model, len(signature.inputs), output)
        if signature.numeric and sklearn_linear.is_linear(model):
            return sklearn_linear.convert(model, len(signature.inputs), output)
        try:
            from skl2onnx import convert_sklearn  # noqa: PLC0415 - optional and slow
            from skl2onnx.common import data_types  # noqa: PLC0415
        except ImportError:
            raise Uncompilable("skl2onnx is not installed") from None
        classifies = signature.kind == "classification"
        options = {id(model): {"zipmap": False}} if classifies else None
        why = ""
        for number in (data_types.DoubleTensorType, data_types.FloatTensorType):
            inputs = _inputs(model, signature, number, data_types.StringTensorType)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # skl2onnx's own, about its own code
                    found = convert_sklearn(model, initial_types=inputs, options=options)
                made = _alone(found, output, classifies=classifies)
                compiled.scorer(made, signature)
            except Exception as error:  # noqa: BLE001 - its converters raise anything
                why = _first_line(error)
            else:
                return made
        raise Uncompilable(f"skl2onnx refused it: {why}")


def _preparing(model: Any, signature: Signature) -> Callable[[Rows, Signature], Any]:
    """Return what makes of rows what a model was trained on."""
    if not signature.frame and _takes_texts(model, signature):
        return _texts
    named = hasattr(model, "feature_names_in_") or not signature.numeric
    if not named and not signature.frame:
        return matrix
    from setpoint.models.frames import frame, handing  # noqa: PLC0415 - Polars, for who needs it

    return handing(signature.frame) if signature.frame else frame


def _takes_texts(model: Any, signature: Signature) -> bool:
    """Tell whether a model is handed texts, one a row, and no table: its words are counted."""
    first = model.steps[0][1] if getattr(model, "steps", None) else model
    alone = len(signature.inputs) == 1 and signature.inputs[0].text
    return alone and hasattr(first, "build_analyzer")


def _texts(rows: Rows, signature: Signature) -> list[str]:
    """Return the texts of the only column; a missing one has no words."""
    return [each or "" for each in text(by_name(rows, signature)[signature.names[0]])]


def _inputs(model: Any, signature: Signature, number: Any, text: Any) -> list[Any]:
    if signature.numeric and not _by_name(model):
        return [("rows", number([None, len(signature.inputs)]))]
    return [(each.name, (number if each.numeric else text)([None, 1])) for each in signature.inputs]


def _by_name(model: Any) -> bool:
    """Tell whether a pipeline picks its columns by name, so that they must stay apart."""
    steps = [step for _, step in getattr(model, "steps", [])] or [model]
    return any(type(step).__name__ == "ColumnTransformer" for step in steps)


def _alone(model: Any, output: Output, *, classifies: bool) -> bytes:
    """Return `model` with one output alone: of two probabilities the second."""
    import numpy as np  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - as skl2onnx above

    graph = model.graph
    told = graph.output[-1 if classifies else 0]  # of clusters the first is what predict returns
    source = _renamed(graph, told.name)
    if classifies and output is SCORE:
        graph.initializer.append(numpy_helper.from_array(np.array([1]), "setpoint_one"))
        graph.node.append(
            helper.make_node("Gather", [source, "setpoint_one"], ["setpoint_p"], axis=1)
        )
        source = "setpoint_p"
    to = TensorProto.FLOAT if output.datatype == "FP32" else TensorProto.DOUBLE
    shape = [None, *(output.shape or [1])]
    graph.node.append(helper.make_node("Cast", [source], [output.name], to=to))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output.name, to, shape))
    return bytes(model.SerializeToString())


def _renamed(graph: Any, name: str) -> str:
    """Give a value of a graph a name of ours, which frees its own, and return it."""
    ours = "setpoint_given"
    for node in graph.node:
        node.input[:] = [ours if each == name else each for each in node.input]
        node.output[:] = [ours if each == name else each for each in node.output]
    return ours


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
