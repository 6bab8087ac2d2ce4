"""Why there is nothing about a prediction: nobody made it, or it was not sampled."""

from sqlalchemy import Connection

from setpoint.control.spec.units import format_percent
from setpoint.errors import NotFound
from setpoint.serve import store as serving
from setpoint.serve.sampling import is_sampled


def unknown_prediction(conn: Connection, name: str, model: str | None, *, hint: str) -> NotFound:
    """Return the error of a prediction that the index does not have.

    Args:
        conn: The caller's transaction.
        name: The prediction's id.
        model: That was asked about; None: any.
        hint: Where it would be in the sample of every model, had it been made.
    """
    for one in [model] if model else sorted(serving.generations(conn)):
        share = serving.settings_of(conn, one).sample
        if not is_sampled(name, share):
            return NotFound(
                f"no prediction {name!r} is on record: if {one} answered, it was not sampled: "
                f"{one} logs {format_percent(share)} of its predictions, and this id is none of "
                "them",
                hint="is the id right? What was answered and not sampled, only its client can "
                "tell; a larger serve.log.sample keeps more of those to come",
            )
    return NotFound(f"no prediction {name!r}", hint=hint)
