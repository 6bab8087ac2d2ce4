"""Every call of MLflow's interface that is answered, and what is said to the others."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from setpoint.server.mlflow import (
    artifacts,
    experiments,
    metrics,
    registry,
    registry_versions,
    registry_webhooks,
    runs,
)
from setpoint.server.mlflow.evaluation import datasets, scorers
from setpoint.server.mlflow.logged import models
from setpoint.server.mlflow.routing import Endpoint, refusing
from setpoint.server.mlflow.traces import assessments, reported, spans

ENDPOINTS: tuple[Endpoint, ...] = (
    *metrics.ENDPOINTS,  # what is called most is found first
    *experiments.ENDPOINTS,
    *runs.ENDPOINTS,
    *artifacts.ENDPOINTS,
    *models.ENDPOINTS,
    *registry.ENDPOINTS,
    *registry_versions.ENDPOINTS,
    *registry_webhooks.ENDPOINTS,
    *spans.ENDPOINTS,  # before what takes their last word for a trace's id
    *reported.ENDPOINTS,
    *assessments.ENDPOINTS,
    *datasets.ENDPOINTS,
    *scorers.ENDPOINTS,
)

_INFO = "/api/3.0/mlflow/server-info"
_VERSION = "3.17.2"  #: of MLflow's own server, which this interface is held against
_REST = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/api/2.0/mlflow-artifacts", "/api/4.0/mlflow")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes() -> list[Route]:
    """Return all routes of MLflow's interface; the last ones refuse what is not offered."""
    refuse = refusing("this endpoint is not offered by Setpoint")
    return [
        *(endpoint.route for endpoint in ENDPOINTS),
        *artifacts.routes(),
        *spans.routes(),
        Route("/version", _version, methods=["GET"]),
        Route(_INFO, _info, methods=["GET"]),
        *(Route(f"{base}/{{rest:path}}", refuse, methods=_METHODS) for base in _REST),
    ]


async def _version(_: Request) -> Response:
    """Tell clients which calls they may make: they ask before they send spans."""
    return PlainTextResponse(_VERSION)


async def _info(_: Request) -> Response:
    """Tell clients what to use: files go and come in one stream, which is the fastest here."""
    return JSONResponse(
        {
            "store_type": "SqlStore",
            "workspaces_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
            "trace_archival_enabled": False,
        }
    )
