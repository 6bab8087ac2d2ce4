"""From whatever a model returns to one score a row, or to all its outputs by name.

Libraries return arrays, lists of records, data frames, tensors. What a model returns is looked at
once, when it is registered (`signed`); how its answers are read follows from what was seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.models.entities import SCORE, Label, Output, Signature
from setpoint.models.protocols import Ask, Floats, Given, Rows

PROBABILITIES = "probabilities"
#: What a lone array is called that is no score: of texts, and of anything else.
_LABEL, _ALONE = "label", "output"
_SHORT = {"float": "FP", "int": "INT", "uint": "UINT", "bool": "BOOL"}


def signed(found: Any, count: int, signature: Signature, classes: Sequence[Label]) -> Signature:
    """Return the signature with the outputs of a model that gave `found` for `count` rows.

    Args:
        found: What the model's own library returned.
        count: Of the rows that it was asked about.
        signature: Its inputs and kind.
        classes: What it tells apart, if that is known; else 0, 1, …

    Raises:
        Invalid: If there is not one answer a row, or one that is no number, text or bytes.
    """
    given = _arrays(found)
    _check_counts(given, count)
    alone = given.get("")
    if alone is not None and signature.kind == "classification":
        width = 2 if alone.ndim == 1 else alone.shape[1]
        if alone.ndim <= 2 and alone.dtype.kind in "fiub":
            return _of_classes(signature, 2 if width == 1 else width, classes)
    if alone is not None and _is_value(alone):
        return signature
    named = {name or _name_of(array): array for name, array in given.items()}
    outputs = [_output(name, array) for name, array in named.items() if name != SCORE.name]
    scored = _score_of(named) is not None
    return msgspec.structs.replace(
        signature, outputs=outputs, scored=scored, classes=_fitting(named, classes)
    )


def answering(ask: Ask, signature: Signature) -> Ask:
    """Return a function from rows to scores [n] or, where the signature has outputs, to all."""
    if not signature.outputs:

        def score(rows: Rows) -> Floats:
            return _one_column(_array(ask(rows))) if _any(rows) else np.empty(0)

        return score
    if [each.name for each in signature.outputs] == [PROBABILITIES]:

        def probabilities(rows: Rows) -> Given:
            found = np.empty((0, len(signature.classes)))
            if _any(rows):
                found = _array(ask(rows)).astype(np.float64, copy=False)
            return {SCORE.name: found.max(axis=1, initial=0.0), PROBABILITIES: found}

        return probabilities
    wanted = {each.name: each for each in signature.outputs}

    def everything(rows: Rows) -> Given:
        if not _any(rows):
            return {each.name: np.empty((0, *map(abs, each.shape))) for each in signature.outputs}
        found = _arrays(ask(rows))
        named = {name or _name_of(array): array for name, array in found.items()}
        if missing := wanted.keys() - named.keys():
            raise Invalid(f"the model gave no {', '.join(sorted(missing))}")
        given = {name: _typed(named[name], each) for name, each in wanted.items()}
        score = _score_of(named)
        if score is not None and signature.scored:
            given[SCORE.name] = score
        return given

    return everything


def _any(rows: Rows) -> bool:
    """Tell whether there is a row; many libraries refuse to be asked about none."""
    return len(rows if isinstance(rows, np.ndarray) else next(iter(rows.values()), ())) > 0


def _of_classes(signature: Signature, count: int, classes: Sequence[Label]) -> Signature:
    if classes and len(classes) != count:
        raise Invalid(
            f"{len(classes)} classes are named, and the model gives {count} probabilities a row",
            hint="name all of them, in the order of the probabilities",
        )
    named = list(classes) or list(range(count))
    outputs = []
    if count != 2:
        outputs = [Output(name=PROBABILITIES, datatype="FP64", shape=[count])]
    return msgspec.structs.replace(signature, classes=named, outputs=outputs)


def _one_column(found: NDArray[Any]) -> Floats:
    if found.ndim == 2:
        if found.shape[1] not in {1, 2}:
            raise Invalid(f"the model gave {found.shape[1]} values a row, and should give one")
        found = found[:, -1]
    return np.ascontiguousarray(found, dtype=np.float64)


def _arrays(found: Any) -> Given:
    """Return what a library returned as arrays by name; a lone one has the name ""."""
    if isinstance(found, Mapping):
        return {str(name): _array(values) for name, values in found.items()}
    if hasattr(found, "to_pydict"):  # Arrow
        return {name: _array(values) for name, values in found.to_pydict().items()}
    columns = getattr(found, "columns", None)
    if columns is not None and hasattr(found, "shape") and len(found.shape) == 2:
        return {str(name): _array(found[name]) for name in columns}
    if isinstance(found, tuple) and found and all(hasattr(each, "shape") for each in found):
        return {f"{_ALONE}_{at}": _array(each) for at, each in enumerate(found)}
    if isinstance(found, list) and found and all(isinstance(each, Mapping) for each in found):
        return {str(name): _array([each[name] for each in found]) for name in found[0]}
    return {"": _array(found)}


def _array(found: Any) -> NDArray[Any]:
    """Return numbers, texts or bytes as an array; those of torch and TensorFlow are copied out."""
    if hasattr(found, "detach"):
        found = found.detach().cpu()
    if hasattr(found, "numpy") and not isinstance(found, np.ndarray):
        found = found.numpy()
    if hasattr(found, "to_numpy"):
        found = found.to_numpy()
    if hasattr(found, "toarray"):  # sparse
        found = found.toarray()
    try:
        array = np.asarray(found)
    except ValueError:
        raise Invalid(
            "the model gave rows of different shapes", hint="give every row the same shape"
        ) from None
    if array.dtype.kind in "OUS":
        return _texts(array)
    return array


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as one of numbers if they are, else of texts or bytes."""
    flat = array.reshape(-1).tolist()
    if array.dtype.kind == "O" and all(isinstance(each, int | float | None) for each in flat):
        return array.astype(np.float64)
    if all(isinstance(each, str | bytes | None) for each in flat):
        return array.astype(object)
    strange = next(each for each in flat if not isinstance(each, str | bytes | None))
    raise Invalid(
        f"the model gave a {type(strange).__name__}",
        hint="give numbers, texts, bytes, or several of them by name",
    )


def _name_of(array: NDArray[Any]) -> str:
    return _LABEL if array.dtype.kind == "O" and array.ndim == 1 else _ALONE


def _check_counts(given: Given, count: int) -> None:
    for name, array in given.items():
        if array.ndim == 0 or len(array) != count:
            what = f"output {name!r}" if name else "answer"
            raise Invalid(
                f"the model's {what} has the shape {list(array.shape)} for {count:,} rows",
                hint="give one answer a row",
            )


def _is_value(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "fiub" and (
        array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    )


def _score_of(named: Given) -> Floats | None:
    """Return the output that is logged: the one of that name, or the only number a row."""
    numbers = [name for name, array in named.items() if _is_value(array)]
    if SCORE.name in numbers:
        numbers = [SCORE.name]
    if len(numbers) != 1:
        return None
    return named[numbers[0]].reshape(-1).astype(np.float64)


def _fitting(named: Given, classes: Sequence[Label]) -> list[Label]:
    """Return the classes if an output has one value for each of them."""
    widths = {array.shape[1] for array in named.values() if array.ndim == 2}
    return list(classes) if len(classes) in widths else []


def _output(name: str, array: NDArray[Any]) -> Output:
    shape = list(array.shape[1:])
    return Output(name=name, datatype=datatype_of(array.dtype), shape=[] if shape == [1] else shape)


def _typed(array: NDArray[Any], of: Output) -> NDArray[Any]:
    return array.reshape(-1) if not of.shape and array.ndim == 2 else array


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a dtype.

    Raises:
        Invalid: If there is none.
    """
    if dtype.kind in "OUS":
        return "BYTES"
    name = dtype.name.rstrip("0123456789")
    if name not in _SHORT:
        raise Invalid(f"arrays of {dtype.name} cannot be told to a client")
    return _SHORT[name] if name == "bool" else f"{_SHORT[name]}{8 * dtype.itemsize}"
