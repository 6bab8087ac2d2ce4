"""One loaded version behind an endpoint: from an endpoint's rows to what it answers."""

import logging
import traceback
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import Unavailable
from setpoint.serve.outputs import SCORE, outputs_of
from setpoint.serve.protocols import Floats, Given, Input, Predictor
from setpoint.serve.v2 import Inputs, InputSpec, Rows

_DOUBLE = np.dtype(np.float64)
_log = logging.getLogger(__name__)


class ModelFailed(Exception):  # an outcome, not an error of ours
    """A version raised, or answered something that is no score for every row."""


class Arm:
    """One loaded version behind an endpoint, ready to score an endpoint's rows."""

    def __init__(self, version: int, predictor: Predictor, fallback: "Arm | None" = None) -> None:
        self.version = version
        self.predictor = predictor
        self.fallback = fallback  #: answers when the version is live and fails
        self.inputs = tuple(predictor.inputs)
        self.names = tuple(i.name for i in self.inputs)
        self.outputs = outputs_of(predictor)
        signature: Any = getattr(predictor, "signature", None)
        self._takes_infinity = signature is None or signature.infinite
        self._specs = [spec_of(i) for i in self.inputs]
        self.takes_blobs = any(spec.blob for spec in self._specs)  #: tensors or raw bytes
        self._mixed = self.takes_blobs or any(spec.text for spec in self._specs)
        self._columns: list[int] | None = None
        self.pace = 0.0  #: microseconds that scoring a row takes, as warming showed
        self._discreet = False  # what a model says of a row is not logged

    def behind(self, inputs: Inputs, *, discreet: bool = False) -> "Arm":
        """Return this arm for an endpoint whose rows have the columns of `inputs`.

        A `discreet` one leaves what a failed model said out of the server's log: it may
        quote a value that is not to be written down.
        """
        fallback = None
        if self.fallback is not None:
            fallback = self.fallback.behind(inputs, discreet=discreet)
        arm = Arm(self.version, self.predictor, fallback)
        arm._discreet = discreet
        arm.pace = self.pace
        order = [
            inputs.numeric.index(spec.name)
            for spec in self._specs
            if not spec.text and not spec.blob
        ]
        arm._columns = None if order == list(range(len(inputs.numeric))) else order
        return arm

    def score(self, rows: Rows) -> Floats:
        """Return ``[n]`` scores, see `answer`."""
        return self.answer(rows)[0]

    def answer(self, rows: Rows) -> tuple[Floats, Given | None]:
        """Return ``[n]`` scores, and all outputs of a model that gives more than those.

        A score is NaN where a row lacks an input that the version needs, or the model gives none.

        Raises:
            ModelFailed: If the model raised, or its answer is not one for each row.
        """
        if rows.absent and not rows.absent.isdisjoint(self.names):
            missing = sorted(rows.absent.intersection(self.names))
            raise ModelFailed(f"version {self.version} needs the inputs {', '.join(missing)}")
        values = rows.values if self._columns is None else rows.values[:, self._columns]
        try:
            given: Any = self._named(values, rows) if self._mixed else values
            found = self.predictor.predict(given)
            outputs = found if type(found) is dict else None
            scores = found if outputs is None else _score_in(outputs, rows.count)
            if type(scores) is not np.ndarray or scores.dtype is not _DOUBLE:
                scores = np.asarray(scores, dtype=_DOUBLE)
        except Exception as error:  # noqa: BLE001 - a model is foreign code
            trace = _places(error) if self._discreet else _trace(error)
            _log.warning("model raised", extra={"version": self.version, "trace": trace})
            raise ModelFailed(f"version {self.version}: {type(error).__name__}: {error}") from None
        if scores.shape != (rows.count,):
            raise ModelFailed(
                f"version {self.version} answered {scores.shape} for {rows.count} rows"
            )
        if outputs is not None:
            self._check_counts(outputs, rows.count)
        if self.outputs.scored:
            told = scores.item() if rows.count == 1 else scores.dot(scores)
            if not isfinite(told):
                self._check(scores, rows)
        return scores, outputs

    def _check_counts(self, outputs: Given, count: int) -> None:
        for name, values in outputs.items():
            if len(values) != count:
                raise ModelFailed(
                    f"version {self.version} answered {len(values)} {name} for {count} rows"
                )

    def given(self, rows: Rows) -> Any:
        """Return an endpoint's rows as the version takes them, as `score` hands them over."""
        values = rows.values if self._columns is None else rows.values[:, self._columns]
        return self._named(values, rows) if self._mixed else values

    def _check(self, scores: Floats, rows: Rows) -> None:
        """Let NaN stand for "no answer" only where an input of the row is missing."""
        wrong = ~np.isfinite(scores)
        excused = np.isnan(scores) & np.isnan(rows.values).any(axis=1)
        if not self._takes_infinity:
            excused &= ~np.isinf(rows.values).any(axis=1)
        for texts in rows.texts.values():
            excused |= np.isnan(scores) & np.array([text is None for text in texts])
        if (wrong & ~excused).any():
            row = int(np.flatnonzero(wrong & ~excused)[0])
            raise ModelFailed(f"version {self.version} answered {scores[row]} for row {row}")

    def warm(self) -> None:
        """Score one row of zeros, so that no request pays for what happens only once."""
        if self.takes_blobs:
            return  # no image is a row of zeros
        texts: dict[str, list[str | None]] = {s.name: [""] for s in self._specs if s.text}
        given: Any = np.zeros((1, len(self.inputs) - len(texts)))
        if texts:
            given = self._named(given, Rows(1, given, texts))
        self.predictor.predict(given)

    def _named(self, values: Floats, rows: Rows) -> dict[str, NDArray[Any]]:
        named: dict[str, NDArray[Any]] = {}
        column = 0
        for known in self._specs:
            if known.blob:
                named[known.name] = rows.blobs[known.name]
            elif known.text:
                named[known.name] = np.array(rows.texts[known.name], dtype=object)
            else:
                named[known.name] = values[:, column]
                column += 1
        return named


class Broken(Struct, frozen=True):
    """Stands for a version that did not load: every score is its failure."""

    why: str
    inputs: Sequence[Any]

    def predict(self, rows: object) -> NDArray[Any]:  # noqa: ARG002
        raise Unavailable(self.why)


class Absent(Struct, frozen=True):
    """Stands for a version that is not in memory, and says what it would take and give."""

    inputs: Sequence[Any]
    signature: Any = None  #: None: it says none of its outputs, so it gives a score

    @classmethod
    def of(cls, predictor: Any) -> "Absent":
        """Return what stands for a version that is given up."""
        return cls(list(predictor.inputs), getattr(predictor, "signature", None))

    def predict(self, rows: object) -> NDArray[Any]:  # noqa: ARG002
        raise Unavailable("the version is not in memory")


def spec_of(known: Input, *, required: bool = True) -> InputSpec:
    """Return an input of a model as requests are read against it."""
    shape, raw = tuple(getattr(known, "shape", ())), getattr(known, "raw", False)
    blob = bool(shape) or raw
    text = known.datatype == "BYTES" and not blob
    return InputSpec(known.name, text, required, blob, known.datatype, shape)


def _score_in(outputs: Given, count: int) -> Floats:
    """Return the score among outputs, NaN if there is none."""
    return outputs[SCORE] if SCORE in outputs else np.full(count, np.nan)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _places(error: BaseException) -> str:
    """Return where an error happened and its kind, without what it says."""
    where = "".join(traceback.format_tb(error.__traceback__))
    return f"{where}{type(error).__name__}"[-4000:]
