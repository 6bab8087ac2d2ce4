"""Why a prediction is what it is: its score, split among the inputs it was answered for.

The operation only finds the prediction and the version that answered it. Reading the log, loading
the version and computing take up to seconds and are done outside of any transaction.
"""

import threading
from math import floor, isclose, log10

from msgspec import Struct

from setpoint.artifacts.store import open_store
from setpoint.control.unknown import unknown_prediction
from setpoint.core.operations import Context, operation
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, Unavailable
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion
from setpoint.models.explaining.entities import Explanation
from setpoint.models.explaining.explainer import explainer
from setpoint.serve import logged
from setpoint.serve import store as serving
from setpoint.serve.entities import Prediction, Role

_CLOSE = 1e-6  #: how far a score may be from the one that was answered, to be the same
_AT_ONCE = 2  #: explanations computed in one process; each takes a core for up to seconds

_room = threading.BoundedSemaphore(_AT_ONCE)


class WhichPrediction(Struct, frozen=True, kw_only=True):
    id: str
    model: str | None = None  #: where several models have its id


class Answered(Struct, frozen=True, kw_only=True):
    """A prediction, and the version that answered it."""

    prediction: Prediction
    version: ModelVersion


class ExplainedPrediction(Struct, frozen=True, kw_only=True):
    prediction: Prediction
    by: str  #: what answered: ``churn/3``, or ``the baseline of churn/3``
    inputs: logged.Inputs  #: what it was answered for; missing numbers are null in JSON
    nodes: dict[str, str] = {}  #: of a graph: the nodes that answered it, with their versions
    explanation: Explanation
    #: whether the version gives the score again that was answered; else another form of it serves
    same_score: bool


@operation("predictions.get", needs="lineage:read")
def answered(ctx: Context, cmd: WhichPrediction) -> Answered:
    """Return a prediction, and the version that answered it."""
    found = serving.named(ctx.conn, cmd.id, cmd.model)
    if not found:
        hint = "its id is in the answer to the request; it is indexed within a second"
        raise unknown_prediction(ctx.conn, cmd.id, cmd.model, hint=hint)
    if len(found) > 1:
        raise Invalid(
            f"{len(found)} models have a prediction {cmd.id!r}",
            hint="name one with --model: " + ", ".join(one.model for one in found),
        )
    version = models.get(ctx.conn, found[0].model, found[0].version)
    return Answered(prediction=found[0], version=version)


def explained(backend: LocalBackend, cmd: WhichPrediction) -> ExplainedPrediction:
    """Explain a prediction that was answered and logged.

    Takes a fraction of a second, for large models without a structure to read a few; call it in
    a thread that may wait.

    Raises:
        NotFound: If there is no such prediction, or the log has its inputs no more.
        Invalid: If several models have its id.
        Conflict: If nothing was answered, the version has no background, or inputs are redacted.
        Unavailable: If others are being explained.
    """
    found = backend.call(answered, cmd)
    prediction, version = found.prediction, found.version
    if prediction.score is None:
        raise Conflict(
            f"prediction {prediction.id!r} has no score to explain",
            hint="an input was missing that the version needs",
        )
    fell_back = prediction.role is Role.FALLBACK
    stored = version.baseline if fell_back else version
    name = f"{version.model}/{version.number}"
    if stored is None:
        raise Conflict(f"{name} has no baseline, and one answered prediction {prediction.id!r}")
    if not _room.acquire(blocking=False):
        raise Unavailable(
            f"{_AT_ONCE} explanations are being computed", hint="ask again in a few seconds"
        )
    try:
        kept = logged.of(backend.settings.log, prediction)
        inputs = kept.inputs
        missing = float("nan")
        row = {
            each.name: [inputs.get(each.name, missing if each.numeric else None)]
            for each in stored.signature.inputs
        }
        (explanation,) = explainer(open_store(backend.settings), stored).explain(row)
    finally:
        _room.release()
    return ExplainedPrediction(
        prediction=prediction,
        by=f"the baseline of {name}" if fell_back else name,
        inputs={each: inputs.get(each) for each in explanation.names},
        nodes=kept.nodes,
        explanation=explanation,
        same_score=isclose(explanation.score, prediction.score, rel_tol=_CLOSE, abs_tol=_CLOSE),
    )


def shares(found: ExplainedPrediction, top: int) -> tuple[list[tuple[str, float, float]], float]:
    """Return the inputs that count most, with contribution and its standard error; and the rest.

    Args:
        found: An explanation.
        top: How many inputs.

    Returns:
        ``(name, contribution, error)`` by size, and the sum of the contributions of all others.
    """
    one = found.explanation
    errors = one.errors or [0.0] * len(one.names)
    lines = sorted(
        zip(one.names, one.contributions, errors, strict=True), key=lambda each: -abs(each[1])
    )
    return lines[:top], sum(each[1] for each in lines[top:])


def decimals(found: ExplainedPrediction) -> int:
    """Return how many decimals tell the largest number of an explanation to four digits."""
    one = found.explanation
    largest = max(abs(each) for each in (one.base, one.score, *one.contributions))
    return max(0, min(12, 3 - floor(log10(largest)))) if largest else 0


OPERATIONS = (answered,)
