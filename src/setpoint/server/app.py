"""The control plane over HTTP: pages, the JSON API, and the record as it grows."""

import asyncio
import gc
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from setpoint.db.group import GroupCommit
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, SetpointError
from setpoint.events import store as events
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import AlarmState
from setpoint.operations import OPERATIONS
from setpoint.runs.keeping import settle
from setpoint.server import api, objects, problems
from setpoint.server.live import live
from setpoint.server.mlflow import endpoints as mlflow
from setpoint.server.pressure import Gate
from setpoint.server.security import Guard
from setpoint.server.ui import queries
from setpoint.server.ui.page import Answer, Ask, Page, answer, environment
from setpoint.server.ui.pages import (
    activity,
    alarms,
    arms,
    cards,
    channels,
    collections,
    compare,
    data,
    differences,
    experiments,
    find,
    inbox,
    keeping,
    models,
    previews,
    registry,
    releases,
    reports,
    run,
    runs,
    saved_views,
    sweeps,
    talk,
    versions,
    why,
)
from setpoint.server.ui.pages import events as record
from setpoint.server.wandb import routes as wandb

STATIC = Path(__file__).parent / "static"
#: Bytes of a form: a report, or some thousand runs that were chosen.
_FORM_LIMIT = 1024 * 1024
_SETTLE_EVERY = 30.0  #: seconds
_log = logging.getLogger(__name__)

Handler = Callable[[Ask], Answer]

_NAVIGATION = (
    ("Overview", "/", "o", "overview"),
    ("Models", "/models", "m", "models"),
    ("Releases", "/releases", "l", "releases"),
    ("Alarms", "/alarms", "a", "alarms"),
    ("Runs", "/runs", "r", "runs"),
    ("Data", "/data", "d", "data"),
    ("Team", "/inbox", "t", "team"),
    ("Events", "/events", "e", "events"),
)

_PAGES: tuple[tuple[str, Handler], ...] = (
    ("/", models.overview),
    ("/models", registry.models),
    ("/models/{model}", models.model),
    ("/models/{model}/arms", arms.arms),
    ("/models/{model}/{number:int}", versions.version),
    ("/models/{model}/{number:int}/card", cards.card),
    ("/models/{model}/{number:int}/diff", differences.differences),
    ("/releases", releases.releases),
    ("/releases/{release}", releases.release),
    ("/runs", runs.runs),
    ("/rows", runs.rows),
    ("/keeping", keeping.keeping),
    ("/compare", compare.page),
    ("/experiments", experiments.experiments),
    ("/experiments/{experiment:int}", experiments.experiment),
    ("/experiments/named/{name:path}", experiments.named),
    ("/collections", collections.collections),
    ("/collections/{collection:int}", collections.collection),
    ("/collections/{collection:int}/{version:int}", collections.version),
    ("/collections/named/{ref:path}", collections.named),
    ("/sweeps", sweeps.sweeps),
    ("/sweeps/{sweep}", sweeps.sweep),
    ("/reports", reports.reports),
    ("/reports/new", reports.write),
    ("/reports/{report}", reports.report),
    ("/reports/{report}/edit", reports.write),
    ("/runs/{run}/files/{path:path}", previews.file),
    ("/runs/{run}", run.run),
    ("/data", data.datasets),
    ("/data/{dataset}", data.dataset),
    ("/data/{dataset}/{number:int}", data.dataset),
    ("/data/{dataset}/{number:int}/profile", data.columns),
    ("/alarms", alarms.alarms),
    ("/alarms/{alarm}", alarms.alarm),
    ("/inbox", inbox.inbox),
    ("/activity", activity.activity),
    ("/channels", channels.channels),
    ("/channels/{channel}", channels.channel),
    ("/channels/{channel}/{delivery}", channels.sent),
    ("/events", record.stream),
    ("/search", find.search),
    ("/why", why.why),
)
_ACTIONS: tuple[tuple[str, Handler], ...] = (
    ("/models/{model}", registry.change),
    ("/models/{model}/{number:int}", versions.change),
    ("/models/{model}/{number:int}/card", cards.change),
    ("/channels", channels.create),
    ("/channels/{channel}", channels.change),
    ("/channels/{channel}/{delivery}", channels.again),
    ("/comments", talk.say),
    ("/comments/{comment}", talk.change),
    ("/releases/{release}/{decision}", releases.decide),
    ("/alarms/{alarm}", alarms.acknowledge),
    ("/runs", runs.change),
    ("/runs/{run}", run.change),
    ("/experiments/{experiment:int}", experiments.change),
    ("/keeping", keeping.change),
    ("/reports", reports.change),
    ("/reports/{report}", reports.change),
    ("/sweeps/{sweep}", sweeps.change),
    ("/views", saved_views.change),
)


def create_app(backend: LocalBackend) -> Starlette:
    """Return the application that serves the store behind `backend`.

    Pages and the API run its operations in a thread pool.
    """
    app = Starlette(
        routes=[
            Route("/healthz", _healthy),
            Route("/live", live),
            Route("/icon.svg", _icon),
            *objects.routes(),
            *api.routes(OPERATIONS),
            *mlflow.routes(),
            *wandb.routes(),
            Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
            *(Route(path, _posting(handler), methods=["POST"]) for path, handler in _ACTIONS),
            *(Route(path, _showing(handler)) for path, handler in _PAGES),
            Route("/{rest:path}", _showing(find.missing)),
        ],
        middleware=[Middleware(Guard), Middleware(Gate)],
        lifespan=_living,
    )
    app.state.backend = backend
    app.state.writes = GroupCommit(backend)
    app.state.templates = environment()
    app.state.assets = _digest()
    return app


@asynccontextmanager
async def _living(app: Starlette) -> AsyncIterator[None]:
    """Merge what runs that pause left loose, now and then; at the end, write what waits."""
    settling = asyncio.create_task(_settle(app.state.backend))
    gc.freeze()  # what starting made stays: no collection need look at it again
    try:
        yield
    finally:
        settling.cancel()
        await run_in_threadpool(app.state.writes.close)


async def _settle(backend: LocalBackend) -> None:
    while True:
        await asyncio.sleep(_SETTLE_EVERY)
        try:
            await run_in_threadpool(settle, backend)
        except SetpointError as error:
            _log.warning("points could not be merged: %s", error)


def _showing(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        return await run_in_threadpool(_respond, request, handler, _ask(request))

    return show


def _posting(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def post(request: Request) -> Response:
        try:
            form = await _form(request)
        except SetpointError as error:
            return await run_in_threadpool(_failed, request, _ask(request), error)
        return await run_in_threadpool(_respond, request, handler, _ask(request, form))

    return post


def _ask(request: Request, form: Sequence[tuple[str, str]] = ()) -> Ask:
    theme = request.cookies.get("theme", "auto")
    return Ask(
        backend=request.app.state.backend,
        path=request.url.path,
        query=dict(request.query_params),
        params=dict(request.path_params),
        form=dict(form),
        pairs=[*request.query_params.multi_items(), *form],
        theme=theme if theme in {"light", "dark"} else "auto",
        partial=request.headers.get("hx-target") == "profile",
    )


async def _form(request: Request) -> list[tuple[str, str]]:
    content = await api.body(request, _FORM_LIMIT)
    try:
        return parse_qsl(content.decode(), keep_blank_values=True, strict_parsing=False)
    except (UnicodeDecodeError, ValueError):
        raise Invalid("the form cannot be read", hint="send it url-encoded, in UTF-8") from None


def _respond(request: Request, handler: Handler, ask: Ask) -> Response:
    templates: Environment = request.app.state.templates
    try:
        page = handler(ask)
        return answer(templates, ask, page, _frame(request, ask))
    except SetpointError as error:
        return _failed(request, ask, error)
    except Exception:  # noqa: BLE001 - the outermost frame of a request
        _log.exception("a page failed", extra={"path": ask.path})
        return _failed(request, ask, problems.internal())


def _failed(request: Request, ask: Ask, error: SetpointError) -> Response:
    if not problems.wants_page(request):
        return problems.response(error)
    status = problems.status_of(error)
    page = Page(
        template="error.html",
        title=error.message,
        active="",
        status=status,
        values={
            "error": error,
            "kind": error.code.replace("-", " "),
            "back": request.headers.get("referer") or "/",
        },
    )
    plain = Ask(backend=ask.backend, path=ask.path, theme=ask.theme)
    return answer(request.app.state.templates, plain, page, _frame(request, ask))


def _frame(request: Request, ask: Ask) -> dict[str, Any]:
    """Return what every page has around its content."""
    counts = {
        "Alarms": ask.read(monitor.count_alarms, state=AlarmState.OPEN),
        "Team": ask.read(queries.waiting),
    }
    return {
        "navigation": [
            {"name": name, "path": path, "key": key, "icon": icon, "count": counts.get(name, 0)}
            for name, path, key, icon in _NAVIGATION
        ],
        "head": ask.read(events.head),
        "assets": request.app.state.assets,
        "simulated": (ask.backend.settings.home / "clock").exists(),
    }


async def _healthy(request: Request) -> Response:
    """Answer 200 when the store can be read."""
    backend: LocalBackend = request.app.state.backend
    ask = Ask(backend=backend, path="/healthz")
    head = await run_in_threadpool(ask.read, events.head)
    return JSONResponse({"status": "ok", "events": head})


async def _icon(_: Request) -> Response:
    path = Path(__file__).parent / "ui" / "icon.svg"
    return FileResponse(path, media_type="image/svg+xml")


def _digest() -> str:
    """Name the current script and style, so that browsers never mix versions."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.glob("app.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
