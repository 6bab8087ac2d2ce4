"""Whether a server tells OpenTelemetry of its requests; else nothing of it is loaded."""

import logging
from typing import TYPE_CHECKING

from setpoint.config import telemetry
from setpoint.serve.metrics import Metrics

if TYPE_CHECKING:
    from setpoint.serve.measuring import Measuring
    from setpoint.serve.tracing import Tracing

_PROTOCOL = "http/protobuf"
_log = logging.getLogger(__name__)


def observed(metrics: Metrics) -> "tuple[Tracing | None, Measuring | None]":
    """Begin with spans and counters, where asked to. Where that cannot be, serve without."""
    asked = telemetry()
    if asked is None:
        return None, None
    if asked.protocol != _PROTOCOL:
        _log.warning("no spans are sent: only %s is spoken, not %s", _PROTOCOL, asked.protocol)
        return None, None
    try:
        from setpoint.serve import measuring, tracing  # noqa: PLC0415 - an extra
    except ImportError:
        _log.warning("no spans are sent: pip install 'setpoint[otel]'")
        return None, None
    for handler in logging.getLogger().handlers:
        handler.addFilter(tracing.TraceIds())
    return (
        tracing.Tracing(asked.traces) if asked.traces else None,
        measuring.Measuring(asked.metrics, metrics) if asked.metrics else None,
    )
