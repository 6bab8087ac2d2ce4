"""Where spans go, and how the addresses of requests are named in them."""

import os

import pytest

from setpoint.config import Telemetry, telemetry
from setpoint.serve.tracing import route_of


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"ENDPOINT": "http://c:4318"}, Telemetry(traces="http://c:4318/v1/traces")),
        ({"ENDPOINT": "http://c/x/"}, Telemetry(traces="http://c/x/v1/traces")),
        (
            {"ENDPOINT": "http://c", "TRACES_ENDPOINT": "http://d/spans"},
            Telemetry(traces="http://d/spans"),
        ),
        (
            {"ENDPOINT": "http://c", "PROTOCOL": "grpc"},
            Telemetry(traces="http://c/v1/traces", protocol="grpc"),
        ),
        (
            {"ENDPOINT": "http://c", "/OTEL_METRICS_EXPORTER": "otlp"},
            Telemetry(traces="http://c/v1/traces", metrics="http://c/v1/metrics"),
        ),
        ({"METRICS_ENDPOINT": "http://d/counts"}, Telemetry(metrics="http://d/counts")),
        ({"ENDPOINT": "http://c", "/OTEL_SDK_DISABLED": "true"}, None),
        ({"ENDPOINT": "http://c", "/OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_the_variables_of_opentelemetry_say_where_spans_go(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], found: Telemetry | None
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        own = name.removeprefix("/") if name[0] == "/" else f"OTEL_EXPORTER_OTLP_{name}"
        monkeypatch.setenv(own, value)
    assert telemetry() == found


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/m/versions/3/infer", "/v2/models/{model}/versions/{version}/infer"),
        ("/v1/models/m/labels/canary:predict", "/v1/models/{model}/labels/{version}:predict"),
        ("/v2/models/m/labels", "/v2/models/{model}/labels"),
        ("/endpoints/m/invocations", "/endpoints/{model}/invocations"),
        ("/invocations", "/invocations"),
    ],
)
def test_a_route_has_no_names_in_it(path: str, route: str) -> None:
    assert route_of(path) == route
