"""What a store deploys, as a source of a server: its database says what, its artifacts are it."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from setpoint.config import Settings
from setpoint.db.engine import connect
from setpoint.errors import Conflict, NotFound, Unavailable
from setpoint.models.explaining.explainer import Explainer, explainer
from setpoint.serve import store
from setpoint.serve.entities import EndpointSettings, Wanted
from setpoint.serve.protocols import Due, Explains, Fallback, Kept, Load, Predictor
from setpoint.serve.splits import store as splits

if TYPE_CHECKING:
    from setpoint.models.entities import ModelVersion


class Registered:
    """The deployments in a database, and how the versions they name are loaded."""

    def __init__(
        self,
        engine: Engine,
        load: Load,
        baseline: Fallback = lambda _model, _version: None,
        explains: Explains | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._engine = engine.execution_options(setpoint_reads=True)
        self._load = load
        self._baseline = baseline
        self._explains = explains
        self._kept = kept

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        try:
            with self._engine.begin() as conn:
                wanted = store.generations(conn)
                changed = {
                    model: Wanted(
                        deployments=store.deployments(conn, model),
                        settings=store.settings_of(conn, model),
                        arms=splits.arms(conn, model),
                    )
                    for model, generation in wanted.items()
                    if due(model, generation)
                }
        except SQLAlchemyError as error:
            raise Unavailable(
                f"the database cannot be read: {type(error).__name__}",
                hint="is the store set up, and reachable?",
            ) from error
        return wanted, changed

    def settings(self, model: str) -> EndpointSettings:
        """Return how the endpoint of a model is to answer, deployed or not."""
        with self._engine.begin() as conn:
            return store.settings_of(conn, model)

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:
        return partial(self._load, model, version)

    def baseline(self, model: str, version: int) -> Predictor | None:
        return self._baseline(model, version)

    def kept(self, address: str) -> bytes:
        if self._kept is None:
            raise Conflict("this server keeps nothing: its models are not of a registry")
        return self._kept(address)

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:
        if self._explains is None:
            raise Conflict("this server explains nothing: its models are not of a registry")
        return self._explains(model, version, predictor)


def from_store(settings: Settings, load: Load | None = None) -> Registered:
    """Return what the store in `settings` deploys.

    Args:
        settings: The store.
        load: How a version is brought into memory; from the registry by default.
    """
    engine = connect(settings.database_url)
    explains = explainers(settings)
    load = load or from_registry(settings)
    return Registered(engine, load, baselines(settings), explains, partial(_kept, settings))


def from_registry(settings: Settings) -> Load:
    """Return a function that loads registered versions of the store in `settings`."""
    return partial(_load, settings)


def _kept(settings: Settings, address: str) -> bytes:
    from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use

    return open_store(settings).get(address)


def _load(settings: Settings, model: str, version: int) -> Predictor:
    from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use
    from setpoint.models import runtime  # noqa: PLC0415

    return runtime.load(open_store(settings), _registered(settings, model, version))


def baselines(settings: Settings) -> Fallback:
    """Return a function that loads the baseline registered with a version, if there is one."""

    def load(model: str, version: int) -> Predictor | None:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use
        from setpoint.models import runtime  # noqa: PLC0415

        try:
            baseline = _registered(settings, model, version).baseline
        except NotFound:
            return None
        return None if baseline is None else runtime.load(open_store(settings), baseline)

    return load


def explainers(settings: Settings) -> Explains:
    """Return a function that explains registered versions of the store in `settings`."""

    def load(model: str, version: int, predictor: Predictor) -> Explainer:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use

        registered = _registered(settings, model, version)
        return explainer(open_store(settings), registered, predictor.predict)

    return load


def _registered(settings: Settings, model: str, version: int) -> "ModelVersion":
    from setpoint.models import store  # noqa: PLC0415 - on first use

    with _open(settings.database_url).begin() as conn:
        return store.get(conn, model, version)


@lru_cache(maxsize=1)
def _open(url: str) -> Engine:
    """Return the database, opened once: opening costs more than loading most models."""
    return connect(url).execution_options(setpoint_reads=True)
