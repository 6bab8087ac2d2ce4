"""What an endpoint can answer: its score, labels and probabilities, whatever else its model gives.

The counterpart of `v2.Inputs`. A yes/no classifier and a regression answer their score; a client
that wants label or probabilities names them. Models that give more answer all of it, unless a
client names what it wants.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve.blobs import digest, digests
from setpoint.serve.protocols import Given, Predictor

SCORE = "score"  #: positive-class probability or value, FP64 [n]; what is logged and watched
LABEL = "label"  #: the likeliest class
PROBABILITIES = "probabilities"  #: of the classes, in their order, FP64 [n, classes]
MOST_KEPT = 64  #: numbers a row of an output that are logged
_THRESHOLD = 0.5

Label = str | int | float | bool
#: What is told of rows: a name, its datatype and shape, and the values [n, …].
Told = tuple["OutputSpec", NDArray[Any]]


class OutputSpec(Struct, frozen=True):
    """An output as answers are written of it."""

    name: str
    datatype: str
    shape: tuple[int, ...] = ()  #: of one row; -1 is any length
    trace: bool = False  #: says how an answer came about: told to who names it


_SCORE = OutputSpec(SCORE, "FP64")


class Outputs:
    """The outputs of an endpoint, with what every answer asks about them worked out."""

    def __init__(
        self,
        given: Sequence[OutputSpec] = (),
        classes: Sequence[Label] = (),
        *,
        scored: bool = True,
    ) -> None:
        """Take what a model gives besides its score, what it tells apart, and if it has a score."""
        self.given = tuple(given)
        self.classes = list(classes)
        self.scored = scored
        self._names = [str(each) for each in self.classes]
        mixed = self.classes and _datatype(self.classes) == "BYTES"
        told = [str(each) for each in self.classes] if mixed else self.classes
        self._classes = np.array(told, dtype=object)
        names = {spec.name for spec in given}
        derived = []
        labelled = len(self.classes) == 2 or (self.classes and PROBABILITIES in names)
        if labelled and LABEL not in names:
            derived.append(OutputSpec(LABEL, _datatype(self.classes)))
        if len(self.classes) == 2 and PROBABILITIES not in names and scored:
            derived.append(OutputSpec(PROBABILITIES, "FP64", (2,)))
        self.specs = (*((_SCORE,) if scored else ()), *derived, *self.given)
        untraced = tuple(spec for spec in self.specs if not spec.trace)
        self.default = untraced if any(not spec.trace for spec in self.given) else (_SCORE,)
        #: the output that tells what answered each row, and is logged; None: nothing does
        self.trace = next((spec.name for spec in self.given if spec.trace), None)
        self.only_score = self.default == (_SCORE,)
        self._by_name = {spec.name: spec for spec in self.specs}

    def chosen(self, names: Sequence[str], where: str = "$.outputs") -> tuple[OutputSpec, ...]:
        """Return the outputs of these names, the default ones where there is none.

        Raises:
            Invalid: If there is no such output.
        """
        if not names:
            return self.default
        for name in names:
            if name not in self._by_name:
                raise Invalid(
                    f"there is no output {name!r}",
                    where=where,
                    hint=f"ask for {' or '.join(repr(known) for known in self._by_name)}",
                )
        return tuple(self._by_name[name] for name in dict.fromkeys(names))

    def told(
        self, chosen: Sequence[OutputSpec], scores: Sequence[float], given: Given
    ) -> list[Told]:
        """Return the values of outputs for rows with these scores and what the model gave."""
        return [(spec, self._values(spec, scores, given)) for spec in chosen]

    def require(self, what: str) -> None:
        """Refuse to ``classify`` or ``regress`` by a model that cannot.

        Raises:
            Invalid: If it gives no score, or no probabilities of classes.
        """
        if PROBABILITIES in self._by_name if what == "classify" else self.scored:
            return
        raise Invalid(
            f"the model gives no {'probabilities' if what == 'classify' else 'score'}",
            hint=f"ask for what it gives: {', '.join(self._by_name)}; a classifier that was added "
            "from a file has classes if they were named (--class)",
        )

    def classified(self, scores: Sequence[float], given: Given) -> tuple[list[str], NDArray[Any]]:
        """Return the names of the classes, and [n, classes] probabilities."""
        return self._names, self._probabilities(scores, given)

    def label_of(self, told: Label, where: str) -> float:
        """Return a label as it is kept: a number, or the place of one among the classes.

        A class is told by its name or its value; where those are no numbers, by its place, too.

        Raises:
            Invalid: If it is none of the model's classes.
        """
        if not self.classes:
            if isinstance(told, str):
                raise _no_label(told, where, "send numbers")
            return float(told)
        if isinstance(told, str):
            places = [at for at, name in enumerate(self._names) if name == told]
        elif any(isinstance(each, int | float) for each in self.classes):
            places = [at for at, each in enumerate(self.classes) if each == told]
        else:
            places = [at for at in range(len(self.classes)) if at == told]
        if not places:
            raise _no_label(told, where, f"its classes are {', '.join(self._names)}")
        return float(places[0])

    def kept(self, given: Given) -> tuple[dict[str, bytes], dict[str, list[str | None]]]:
        """Return what the log has of what a model gave besides its score: numbers, and texts.

        Of classes with probabilities the label too; of bytes and of more than `MOST_KEPT` numbers
        a row a digest.
        """
        numbers: dict[str, bytes] = {}
        texts: dict[str, list[str | None]] = {}
        held = {spec.name: given[spec.name] for spec in self.given if spec.name in given}
        if PROBABILITIES in held and LABEL not in held and self.classes:
            labels = self._labels([], given).tolist()
            texts[LABEL] = [None if each is None else str(each) for each in labels]
        for name, values in held.items():
            if name == self.trace:
                continue
            if values.dtype == object:
                texts[name] = [_text(each) for each in values]
            elif values[:1].size > MOST_KEPT:
                texts |= digests({name: values})
            else:
                numbers[name] = np.asarray(values, dtype=np.float64).tobytes()
        return numbers, texts

    def _values(self, spec: OutputSpec, scores: Sequence[float], given: Given) -> NDArray[Any]:
        if spec.name in given:
            return given[spec.name]
        if not len(scores):
            return np.empty((0, *map(abs, spec.shape)))  # of no row
        if spec.name == LABEL:
            return self._labels(scores, given)
        if spec.name == PROBABILITIES:
            return self._probabilities(scores, given)
        return np.array(scores, dtype=np.float64)

    def _labels(self, scores: Sequence[float], given: Given) -> NDArray[Any]:
        found = given.get(PROBABILITIES)
        if found is None:
            values = np.array(scores, dtype=np.float64)
            unknown: Any = ~np.isfinite(values)
            index = (values >= _THRESHOLD).astype(int)
        else:
            unknown = ~np.isfinite(found).all(axis=1)
            index = np.where(unknown[:, None], 0, found).argmax(axis=1)
        labels: NDArray[Any] = self._classes[index]
        labels[unknown] = None
        return labels

    def _probabilities(self, scores: Sequence[float], given: Given) -> NDArray[Any]:
        if PROBABILITIES in given:
            return given[PROBABILITIES]
        positive = np.array(scores, dtype=np.float64)
        return np.stack([1 - positive, positive], axis=1)


def _no_label(told: Label, where: str, hint: str) -> Invalid:
    said = f"{told[:60]!r}" if isinstance(told, str) else f"{told:g}"
    return Invalid(f"the label {said} is no class of the model", where=where, hint=hint)


def _text(value: Any) -> str | None:
    """Return a text as it is, and a digest of bytes or of what is several texts."""
    if value is None or isinstance(value, str):
        return value
    return digest(value if isinstance(value, bytes) else repr(value.tolist()).encode())


def outputs_of(predictor: Predictor) -> Outputs:
    """Return what a predictor gives; one that does not say gives a score."""
    signature = getattr(predictor, "signature", None)
    return Outputs() if signature is None else signed_outputs(signature)


def signed_outputs(signature: Any) -> Outputs:
    """Return what a model with this signature (see `models.entities`) gives."""
    given = [
        OutputSpec(each.name, each.datatype, tuple(each.shape), each.trace)
        for each in signature.outputs
    ]
    classes = signature.classes
    if signature.kind == "classification" and not classes and not given:
        classes = [0, 1]  # it says that it tells two apart, and not what they are called
    return Outputs(given, classes, scored=signature.scored)


def plain(array: NDArray[Any]) -> list[Any]:
    """Return values as JSON has them: bytes in base 64, NaN as null by who encodes them."""
    found: list[Any] = array.tolist()
    if array.dtype != object:
        return found
    return [base64.b64encode(each).decode() if isinstance(each, bytes) else each for each in found]


def rows(told: Sequence[Told]) -> list[Any]:
    """Return what is told row by row: the value of a lone output, else an object of all."""
    columns = [plain(array) for _, array in told]
    if len(columns) == 1:
        return columns[0]
    names = [spec.name for spec, _ in told]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def columns(told: Sequence[Told]) -> Any:
    """Return what is told column by column: the values of a lone output, else of all by name."""
    if len(told) == 1:
        return plain(told[0][1])
    return {spec.name: plain(array) for spec, array in told}


def merged(
    specs: Sequence[OutputSpec],
    parts: Sequence[tuple[Sequence[int] | None, Given | None]],
    count: int,
) -> Given:
    """Return what several versions gave, put together in the order of the rows.

    Args:
        specs: What is to be told; a version that gives no such output leaves its rows empty.
        parts: The rows each answered (None: all) and what it gave, None where that is a score.
        count: Of all rows.
    """
    if len(parts) == 1 and parts[0][0] is None:
        return parts[0][1] or {}
    found: Given = {}
    for name in [spec.name for spec in specs]:
        pieces = [(index, given[name]) for index, given in parts if given and name in given]
        if pieces:
            found[name] = _put_together(pieces, count)
    return found


def _put_together(
    pieces: Sequence[tuple[Sequence[int] | None, NDArray[Any]]], count: int
) -> NDArray[Any]:
    first = pieces[0][1]
    covered = sum(len(piece) for _, piece in pieces) == count
    if covered:
        whole: NDArray[Any] = np.empty((count, *first.shape[1:]), first.dtype)
    elif first.dtype.kind == "f":
        whole = np.full((count, *first.shape[1:]), np.nan, first.dtype)
    else:
        whole = np.full((count, *first.shape[1:]), None, object)
    for index, piece in pieces:
        whole[slice(None) if index is None else list(index)] = piece
    return whole


def _datatype(classes: Sequence[Label]) -> str:
    if all(isinstance(each, bool) for each in classes):
        return "BOOL"
    if all(isinstance(each, int) and not isinstance(each, bool) for each in classes):
        return "INT64"
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in classes):
        return "FP64"
    return "BYTES"
