"""How a run shows itself in a notebook."""

import html as escaping

from setpoint.errors import SetpointError
from setpoint.sdk.tracked import Tracked


def html(tracked: Tracked) -> str:
    """Return a table of the run's params and latest metrics."""
    try:
        run = tracked.show()
    except SetpointError as error:
        return f"<p>{escaping.escape(f'{tracked.experiment}: {tracked.id}: {error.message}')}</p>"
    rows = "".join(
        f"<tr><td>{escaping.escape(name)}</td><td>{escaping.escape(str(value))}</td></tr>"
        for name, value in [*run.params.items(), *run.metrics.items()]
    )
    head = escaping.escape(f"{run.experiment}: {run.id}, {run.status}")
    return f"<table><caption>{head}</caption>{rows}</table>"
