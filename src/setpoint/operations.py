"""Every operation there is, listed by hand: nothing registers itself by import."""

from typing import Any

from setpoint.comments import service as comments
from setpoint.control import explaining, splitting, starting, why
from setpoint.control import service as control
from setpoint.control.graphs import service as graphs
from setpoint.core.operations import Operation
from setpoint.data import service as data
from setpoint.events import service as events
from setpoint.models import operations as models
from setpoint.monitor import service as monitor
from setpoint.notify import service as notify
from setpoint.releases import service as releases
from setpoint.reports import service as reports
from setpoint.runs import service as runs

_ALL: tuple[Operation[Any, Any], ...] = (
    *control.OPERATIONS,
    *graphs.OPERATIONS,
    *why.OPERATIONS,
    *explaining.OPERATIONS,
    *starting.OPERATIONS,
    *splitting.OPERATIONS,
    *data.OPERATIONS,
    *runs.OPERATIONS,
    *reports.OPERATIONS,
    *models.OPERATIONS,
    *monitor.OPERATIONS,
    *comments.OPERATIONS,
    *notify.OPERATIONS,
    *releases.OPERATIONS,
    *events.OPERATIONS,
)

OPERATIONS: dict[str, Operation[Any, Any]] = {op.name: op for op in _ALL}
