"""From a trained estimator to the stored model that serves."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Invalid, SetpointError, UserCodeFailed
from setpoint.models import compiled
from setpoint.models.entities import Label, Parity, Signature, Stored
from setpoint.models.explaining import background as backgrounds
from setpoint.models.flavors.answers import answering, signed
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import detect, flavor
from setpoint.models.frames import columns_of, signature_of
from setpoint.models.parity import compare, refusals
from setpoint.models.protocols import Ask, Flavor, Predictor, Rows
from setpoint.models.rows import only
from setpoint.models.runtime import Loaded
from setpoint.models.splits import splits

_PROBED = 4_000  #: training rows that parity is checked on


def build(
    store: ObjectStore,
    model: Any,
    features: pl.DataFrame,
    *,
    kind: str = "classification",
    rng: np.random.Generator,
    classes: Sequence[Label] = (),
    frame: str = "",
) -> Stored:
    """Store a trained model and, where it is proven to be the same, its compiled form.

    What is compared (and, without a compiled form, what serves) is the model read back
    from its bytes: one that does not survive storing is found here, not when it serves.

    Args:
        store: Where both forms go.
        model: What the project's train function returned, or the path of a model's file.
        features: The rows it was trained on, one column an input, in its order.
        kind: ``classification``, ``regression`` or ``any``; "" has it told by the model.
        rng: For the rows that parity probes, and those that are kept to explain by.
        classes: What a classifier tells apart, where the model does not say.
        frame: What it is handed, see `Signature.frame`.

    Raises:
        Invalid: If it is nothing that predicts, or was trained on no rows.
        UserCodeFailed: If the stored model cannot score the rows it was trained on.
    """
    if not features.height:
        raise Invalid("the model was trained on no rows")
    name = detect(model)
    how = flavor(name)
    native = how.save(model)
    classes = classes or _classes_of(model) or _classes_in(native, how)
    kind = kind or _kind_of(model, classes)
    signature = msgspec.structs.replace(signature_of(features, kind), frame=frame)
    ask = how.load(native, signature)
    picked = np.sort(rng.permutation(features.height)[:_PROBED])
    sample = columns_of(features[picked], signature)
    found = _try(ask, sample, model)
    signature = signed(found, len(picked), signature, classes)
    score = answering(ask, signature)
    missing, infinite = refusals(score, sample, signature)
    signature = msgspec.structs.replace(signature, missing=missing, infinite=infinite)
    data, parity = _compile(name, native, signature, score, sample, rng)
    background = backgrounds.chosen(sample, signature, Loaded(signature, score).predict, rng)
    return Stored(
        flavor=name,
        artifact=store.put(native),
        onnx=None if data is None else store.put(data),
        parity=parity,
        signature=signature,
        size=len(native if data is None else data),
        background=None if background is None else store.put(background),
    )


def latency(predictor: Predictor, rows: Rows, calls: int = 300) -> float:
    """Return the 99th percentile of one row's scoring time, in CPU seconds of this thread.

    CPU time and not the clock, so that a busy neighbour cannot fail a gate. 20 calls warm
    up first.
    """
    one = only(rows, np.arange(len(_any(rows))) < 1)
    spent = np.empty(calls)
    for _ in range(20):
        predictor.predict(one)
    for at in range(calls):
        start = time.thread_time_ns()
        predictor.predict(one)
        spent[at] = time.thread_time_ns() - start
    return float(np.quantile(spent, 0.99)) / 1e9


def _compile(
    name: str,
    native: bytes,
    signature: Signature,
    score: Ask,
    sample: Rows,
    rng: np.random.Generator,
) -> tuple[bytes | None, Parity]:
    if signature.sole is None:
        return None, Parity(held=False, why="what it gives is not one array of numbers")
    try:
        data = flavor(name).to_onnx(native, signature)
        form = compiled.scorer(data, signature)
    except Uncompilable as error:
        return None, Parity(held=False, why=str(error))
    except Invalid as error:
        return None, Parity(held=False, why=error.where or error.message)
    parity = compare(score, form, sample, signature, rng, splits=splits(data))
    return (data if parity.held else None), parity


def _try(ask: Ask, sample: Rows, model: Any) -> Any:
    try:
        return ask(sample)
    except SetpointError:
        raise
    except Exception as error:
        raise UserCodeFailed(
            f"the {_called(model)} cannot score the rows that it is shown",
            where=f"{type(error).__name__}: {_first_line(error)}",
            hint="they must be as those it was trained on: its columns, in their order and kinds",
        ) from error


def _called(model: Any) -> str:
    if isinstance(model, Path):
        return f"model in {model.name}"
    return f"trained {type(model).__name__}"


def _classes_of(model: Any) -> list[Label]:
    """Return what an estimator says it tells apart, as values of JSON; nothing if it does not."""
    said = getattr(model, "classes_", None)
    if said is None or any(np.ndim(each) for each in said):  # classes of each of several targets
        return []
    found = np.asarray(said).tolist()
    return found if all(isinstance(each, str | int | float | bool) for each in found) else []


def _classes_in(native: bytes, how: Flavor) -> list[Label]:
    """Return what the model's own file says it tells apart; most do not."""
    said: Callable[[bytes], list[Label]] | None = getattr(how, "classes", None)
    return said(native) if said is not None else []


def _kind_of(model: Any, classes: Sequence[Label]) -> str:
    if classes or hasattr(model, "predict_proba"):
        return "classification"
    if getattr(model, "_estimator_type", "") == "regressor":
        return "regression"
    return "any"


def _any(rows: Rows) -> Any:
    return rows if isinstance(rows, np.ndarray) else next(iter(dict(rows).values()))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
