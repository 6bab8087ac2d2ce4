"""Splits the scores of a loaded version among its inputs, by the best method for its kind."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Conflict
from setpoint.models import runtime
from setpoint.models.entities import ModelVersion, Signature, Stored
from setpoint.models.explaining import background as backgrounds
from setpoint.models.explaining import coalitions, graphs, lines
from setpoint.models.explaining.entities import (
    COALITIONS,
    LINEAR,
    PERMUTATIONS,
    TREES,
    Explanation,
)
from setpoint.models.explaining.trees import Trees
from setpoint.models.protocols import Floats, Rows
from setpoint.models.rows import by_name, matrix, number, text

_SEED = 2_718  #: of the permutations: the same row is explained the same way again
_CLOSE = 1e-9  #: how far a structure that was read may be from what serves
_STEEPEST = 32.0  #: margin from which a double next to 1 no longer tells what it was

_LINKS: dict[str, Callable[[Floats], Floats]] = {
    "": lambda margin: margin,
    "Sigmoid": lambda margin: 1 / (1 + np.exp(-margin)),
    "Exp": np.exp,
}
_MARGINS: dict[str, Callable[[Floats], Floats]] = {
    "Sigmoid": lambda score: np.log(score) - np.log1p(-score),
    "Exp": np.log,
}


class Explainer:
    """Explains what a version answers. Thread-safe, and nothing is kept between calls."""

    def __init__(
        self,
        signature: Signature,
        background: Rows,
        score: Callable[[Any], Any],
        compiled: bytes | None = None,
    ) -> None:
        """Read the structure of a compiled model, and hold it against what serves.

        Args:
            signature: Of the version.
            background: Rows to compare with, as the model takes them.
            score: What serves: rows in, one score a row out.
            compiled: The compiled model, where it is what serves.
        """
        self.signature = signature
        self._background = background
        self._score = score
        self._scores = self._ask(background)
        self.base = float(self._scores.mean())  #: the mean score of the background
        found = graphs.read(compiled) if compiled is not None and signature.numeric else None
        self._structure = found if self._agrees(found) else None
        self._saturates = isinstance(found, Trees) and max(map(abs, found.reach())) > _STEEPEST

    def explain(self, rows: Rows) -> list[Explanation]:
        """Return an explanation for each of some rows.

        Raises:
            Invalid: If a column is missing or cannot be a number.
        """
        given = _typed(rows, self.signature)
        scores = self._ask(given)
        return [self._one(_row(given, at), float(score)) for at, score in enumerate(scores)]

    def _one(self, row: Rows, score: float) -> Explanation:
        names = self.signature.names
        if not isfinite(score):  # an input is missing that the model needs
            nothing = [float("nan")] * len(names)
            return self._made(nothing, float("nan"), COALITIONS)
        exact = self._exact(row)
        if exact is not None:
            method = TREES if isinstance(self._structure, Trees) else LINEAR
            return self._made(exact.tolist(), score, method)
        mixer = coalitions.Mixer(row, self._background, names)
        rng = np.random.default_rng(_SEED)
        found = coalitions.shapley(self._ask, mixer, len(names), rng, self._guide(row, mixer))
        values = found.contributions.tolist()
        if found.errors is None:
            return self._made(values, score, COALITIONS, evaluations=found.evaluations)
        errors = found.errors.tolist()
        return self._made(values, score, PERMUTATIONS, errors, found.evaluations)

    def _exact(self, row: Rows) -> Floats | None:
        structure, others = self._structure, self._background
        if structure is None or not isinstance(row, np.ndarray):
            return None
        if isinstance(structure, graphs.Line):
            return lines.contributions(structure, row[0], np.asarray(others))
        if structure.link:
            return None
        return np.asarray(structure.contributions(row[0], np.asarray(others)).mean(axis=0))

    def _guide(self, row: Rows, mixer: coalitions.Mixer) -> coalitions.Guide | None:
        """Return what trees under a sigmoid or an exponential tell of a row, if that helps."""
        if not isinstance(self._structure, Trees) or not isinstance(row, np.ndarray):
            return None
        if self._saturates or coalitions.are_few(mixer):
            return None
        values = self._structure.contributions(row[0], np.asarray(self._background))
        return coalitions.Guide(values, _MARGINS[self._structure.link])

    def _made(
        self,
        values: list[float],
        score: float,
        method: str,
        errors: list[float] | None = None,
        evaluations: int = 0,
    ) -> Explanation:
        return Explanation(
            names=self.signature.names,
            contributions=values,
            base=self.base,
            score=score,
            method=method,
            errors=errors or [],
            evaluations=evaluations,
        )

    def _agrees(self, structure: "graphs.Line | Trees | None") -> bool:
        """Tell whether a structure scores the background as what serves does."""
        if structure is None or not isinstance(self._background, np.ndarray):
            return False
        if isinstance(structure, Trees):
            margin = structure.margin(self._background)
            own = _LINKS[structure.link](margin)
        else:
            own = lines.score(structure, self._background)
        return bool(np.allclose(own, self._scores, rtol=_CLOSE, atol=_CLOSE))

    def _ask(self, rows: Rows) -> Floats:
        return backgrounds.scores_of(self._score(rows))


def explainer(
    store: ObjectStore, version: ModelVersion | Stored, score: Callable[[Any], Any] | None = None
) -> Explainer:
    """Return what explains a stored version.

    Args:
        store: Where its files are.
        version: The version, or the baseline of one.
        score: What it answers with, where it is loaded already.

    Raises:
        Conflict: If no background was kept with it, or there is no score to explain.
        NotFound: If a file of it is missing.
        Invalid: If one is corrupt.
    """
    cannot = backgrounds.why_not(version.signature)
    if cannot:
        raise Conflict(f"predictions of this version cannot be explained: {cannot}")
    if version.background is None:
        raise Conflict(
            "no background was kept with this version, so its predictions cannot be explained",
            hint="it was trained by an older Setpoint: train it again, new versions have one",
        )
    data = store.get(version.background)
    return Explainer(
        version.signature,
        backgrounds.decode(data, version.signature),
        score or runtime.load(store, version).predict,
        None if version.onnx is None else store.get(version.onnx),
    )


def _typed(rows: Rows, signature: Signature) -> Rows:
    """Return rows as the background is: a float matrix, or columns of floats and of texts."""
    if signature.numeric:
        return matrix(rows, signature)
    held = by_name(rows, signature)
    return {
        each.name: number(held[each.name], each) if each.numeric else text(held[each.name])
        for each in signature.inputs
    }


def _row(rows: Rows, at: int) -> Any:
    if isinstance(rows, np.ndarray):
        return rows[at : at + 1]
    return {name: values[at : at + 1] for name, values in rows.items()}
