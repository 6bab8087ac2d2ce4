"""Whether a compiled model is the native one, compared where they likeliest differ."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.models.entities import Parity, Signature
from setpoint.models.protocols import Ask, Floats, Given, Rows
from setpoint.models.rows import only

TOLERANCE = 1e-5  #: of a probability; of values, times the largest of their output
_ROWS = 4_000  #: training rows compared
_THRESHOLD = 0.5  #: of a yes/no classifier, as serving labels
_SPLITS = 1_500  #: thresholds probed, drawn at random if a model has more
_NULLABLE = ("FP64", "FP32", "FP16", "BYTES")
_UNSEEN = "⁇ never seen in training"


def compare(
    native: Ask,
    compiled: Ask,
    sample: Rows,
    signature: Signature,
    rng: np.random.Generator,
    *,
    splits: list[tuple[int, float]],
) -> Parity:
    """Compare two forms of one model.

    Probes: training rows; a training row with one column at each split threshold and one
    unit in the last place to both sides, in double and in single precision; with one column
    (and with all) missing; infinite; of a category never seen. Missing and infinite values
    are probed where the signature says that the model takes them.

    It holds if no row changes its label (sides at a probability of 0.5, or the likeliest of
    several classes), no number is finite in only one form, and none differs by more than
    `TOLERANCE`.

    Args:
        native: Answers with the model as it was trained: scores, or all outputs by name.
        compiled: Answers with the compiled form.
        sample: Rows it was trained on; at most 4,000 are drawn.
        signature: Of both.
        rng: For which rows and thresholds are probed.
        splits: (input index, threshold) of every split of the compiled form.
    """
    rows = 0
    worst, flips, non_finite = 0.0, 0, 0
    probes: dict[str, int] = {}
    why = ""
    for name, probe in _probes(sample, signature, rng, splits):
        one, two = _numbers(native, probe, signature), _numbers(compiled, probe, signature)
        if isinstance(one, str) or isinstance(two, str):
            if isinstance(one, str) != isinstance(two, str):
                refuses = "the native" if isinstance(one, str) else "the compiled"
                why = why or f"{name}: only {refuses} model refuses such rows"
            continue
        if one.shape != two.shape:
            return Parity(held=False, why=f"{name}: it gives {two.shape[1]} numbers a row")
        gap = _Gap(one, two, signature.kind)
        rows, flips, non_finite = rows + len(one), flips + gap.flips, non_finite + gap.odd
        worst = max(worst, gap.worst)
        probes[name] = probes.get(name, 0) + len(one)
        why = why or gap.why(name)
    return Parity(
        held=not why,
        rows=rows,
        max_difference=worst,
        flips=flips,
        non_finite=non_finite,
        probes=probes,
        why=why,
    )


def refusals(native: Ask, sample: Rows, signature: Signature) -> tuple[bool, bool]:
    """Return whether a model answers rows with (NaN, infinities) with a number.

    One with outputs that can hold no NaN, such as whole numbers, is left to answer what it likes.
    """
    if any(each.datatype not in _NULLABLE for each in signature.outputs):
        return True, True
    first = only(sample, np.arange(_length(sample)) < 1)
    answers = []
    for value in (np.nan, np.inf):
        found = [
            _ask(native, _with(first, at, value, signature))
            for at, each in enumerate(signature.inputs)
            if each.numeric
        ]
        answers.append(all(not isinstance(f, str) and _finite(f) for f in found))
    return answers[0], answers[1]


def _finite(found: Floats | Given) -> bool:
    arrays = found.values() if isinstance(found, dict) else [found]
    return all(bool(np.isfinite(each).all()) for each in arrays if each.dtype.kind == "f")


def _numbers(form: Ask, rows: Rows, signature: Signature) -> Any:
    """Return what a form gives as [n, k], or what it said instead."""
    found = _ask(form, rows)
    if isinstance(found, str):
        return found
    if isinstance(found, dict):
        found = found[signature.outputs[0].name]
    return np.asarray(found, np.float64).reshape(len(found), -1)


class _Gap:
    """How far two outputs [n, k] on the same rows are apart."""

    def __init__(self, one: Floats, two: Floats, kind: str) -> None:
        both = np.isfinite(one) & np.isfinite(two)
        same = both | (np.isnan(one) & np.isnan(two)) | (one == two)
        self.odd = int((~same).any(axis=1).sum())
        one, two = np.where(both, one, 0.0), np.where(both, two, 0.0)
        far = np.abs(one - two).max(axis=0, initial=0.0)  # [k]
        self.worst = float(far.max(initial=0.0))
        self.flips, self.of_several = 0, one.shape[1] > 1
        spread = np.maximum(np.abs(one).max(axis=0, initial=0.0), 1e-12)
        if kind == "classification":
            whole, spread = both.all(axis=1), np.ones_like(spread)
            self.flips = int((_label(one[whole]) != _label(two[whole])).sum())
        self.is_far = bool((far > TOLERANCE * spread).any())

    def why(self, probe: str) -> str:
        """Return what is wrong, or nothing."""
        if self.flips and self.of_several:
            return f"{probe}: {self.flips} rows have another likeliest class"
        if self.flips:
            return f"{probe}: {self.flips} rows change sides at a probability of 0.5"
        if self.odd:
            return f"{probe}: {self.odd} outputs are a number in one form only"
        if self.is_far:
            return f"{probe}: outputs differ by up to {self.worst:.2g}"
        return ""


def _label(probabilities: Floats) -> NDArray[np.int64]:
    """Return the number of the class that rows [n, k] are told to be."""
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] >= _THRESHOLD).astype(np.int64)
    likeliest: NDArray[np.int64] = probabilities.argmax(axis=1)
    return likeliest


def _probes(
    sample: Rows,
    signature: Signature,
    rng: np.random.Generator,
    splits: list[tuple[int, float]],
) -> Iterator[tuple[str, Rows]]:
    size = _length(sample)
    keep = np.zeros(size, np.bool_)
    keep[rng.permutation(size)[:_ROWS]] = True
    chosen = only(sample, keep)
    yield "training rows", chosen
    splits = [(at, value) for at, value in splits if np.isfinite(value)]  # inf: all but the missing
    if splits and isinstance(chosen, np.ndarray):
        yield "thresholds", _at_splits(chosen, splits, rng)
    values = {"missing": np.nan} if signature.missing else {}
    if signature.infinite:
        values |= {"infinite": np.inf, "minus infinite": -np.inf}
    few = only(chosen, np.arange(_length(chosen)) < 50)
    for name, value in values.items():
        for at, each in enumerate(signature.inputs):
            if each.numeric:
                yield name, _with(few, at, value, signature)
        if signature.numeric:
            yield name, np.full((1, len(signature.inputs)), value)
    for at, each in enumerate(signature.inputs):
        if not each.numeric:
            yield "unseen category", _with(few, at, _UNSEEN, signature)


def _at_splits(
    rows: NDArray[Any], splits: list[tuple[int, float]], rng: np.random.Generator
) -> Floats:
    if len(splits) > _SPLITS:
        splits = [splits[at] for at in rng.choice(len(splits), _SPLITS, replace=False)]
    column = np.array([at for at, _ in splits])
    exact = np.array([value for _, value in splits])
    down, up = np.float32(-np.inf), np.float32(np.inf)
    with np.errstate(over="ignore"):  # a threshold may be the greatest number that there is
        single = exact.astype(np.float32)
        values = [
            exact,
            np.nextafter(exact, -np.inf),
            np.nextafter(exact, np.inf),
            single.astype(np.float64),
            np.nextafter(single, down).astype(np.float64),
            np.nextafter(single, up).astype(np.float64),
        ]
    probe: Floats = rows[rng.integers(0, len(rows), len(splits) * len(values))]
    probe[np.arange(len(probe)), np.tile(column, len(values))] = np.concatenate(values)
    return probe


def _with(rows: Rows, at: int, value: Any, signature: Signature) -> Rows:
    if not isinstance(rows, Mapping):
        changed = np.array(rows, dtype=np.float64)
        changed[:, at] = value
        return changed
    return {**rows, signature.inputs[at].name: np.full(_length(rows), value, dtype=object)}


def _length(rows: Rows) -> int:
    return len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows)


def _ask(score: Ask, rows: Rows) -> Any:
    """Return the scores, or what the model said instead: refusing is an answer, too."""
    try:
        return score(rows)
    except Exception as error:  # noqa: BLE001 - whatever an estimator raises is its answer
        return f"{type(error).__name__}: {error}"
