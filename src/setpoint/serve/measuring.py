"""The counters of `/metrics` for OpenTelemetry, sent by its own SDK; loaded where asked for.

The SDK's thread reads them now and then: requests neither count anything more nor wait.
"""

from collections.abc import Callable, Iterable

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from setpoint.serve import v2
from setpoint.serve.ending import in_time
from setpoint.serve.metrics import Metrics
from setpoint.serve.tracing import resource

_MODEL, _VERSION, _ROLE = "setpoint.model", "setpoint.version", "setpoint.role"


class Measuring:
    """Has the counters of a server sent, every minute unless OpenTelemetry's variables differ."""

    def __init__(self, endpoint: str, metrics: Metrics) -> None:
        """Begin to send counters to an address; where nobody listens, nothing happens.

        Args:
            endpoint: Where OTLP over HTTP is taken, e.g. ``http://host:4318/v1/metrics``.
            metrics: What is counted.
        """
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint))
        self._provider = MeterProvider([reader], resource=resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter("setpoint.serve", v2.VERSION)
        served = (_MODEL, _VERSION, _ROLE)
        for name, unit, labels, counted in (
            ("requests", "{request}", (*served, "http.response.status_code"), "requests"),
            ("rows", "{row}", served, "rows"),
            ("labels", "{label}", (_MODEL,), "labels"),
            ("shadow.rows", "{row}", (_MODEL,), "shadows"),
            ("fallback.rows", "{row}", (_MODEL,), "fallbacks"),
            ("unlogged.rows", "{row}", (_MODEL,), "not_logged"),
        ):
            meter.create_observable_counter(
                f"setpoint.{name}", [_read(metrics, counted, labels)], unit
            )

    def close(self) -> None:
        """Send the counters once more, for a short time at most, and stop."""
        in_time(self._provider.shutdown, "the last counters")


def _read(
    metrics: Metrics, counted: str, labels: tuple[str, ...]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return a function that tells counters by their labels."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        for key, count in list(getattr(metrics, counted).items()):
            parts = key if isinstance(key, tuple) else (key,)
            yield Observation(count, dict(zip(labels, parts, strict=True)))

    return read
