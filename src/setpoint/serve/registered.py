"""What a store deploys, as a source of a server: its database says what, its artifacts are it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from setpoint.config import Settings
from setpoint.db.engine import connect
from setpoint.errors import Conflict, NotFound, Unavailable
from setpoint.models.explaining.explainer import Explainer, explainer
from setpoint.serve import naming, store
from setpoint.serve.entities import Described, EndpointSettings, Names, Wanted
from setpoint.serve.polling import store as polling
from setpoint.serve.protocols import Backgrounds, Due, Explains, Fallback, Kept, Load, Predictor
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
        backgrounds: Backgrounds = lambda _model, _version: None,
        kept: Kept | None = None,
    ) -> None:
        self._engine = engine.execution_options(setpoint_reads=True)
        self._load = load
        self._baseline = baseline
        self._explains = explains
        self._backgrounds = backgrounds
        self._marks: tuple[Any, ...] = ()
        self._generations: dict[str, int] = {}
        self._kept = kept

    def close(self) -> None:
        """Close the database; what still loads opens it again."""
        self._engine.dispose()

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        with self._reading() as conn:
            marks = polling.marks(conn)
            if marks != self._marks:  # of a thousand endpoints mostly none has changed
                self._generations = store.generations(conn)
                self._marks = marks
            wanted = self._generations
            changed = {
                model: Wanted(
                    deployments=store.deployments(conn, model),
                    settings=store.settings_of(conn, model),
                    arms=splits.arms(conn, model),
                )
                for model in due(wanted)
            }
        return wanted, changed

    def described(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Described]:
        from setpoint.models import store as models  # noqa: PLC0415 - on first use

        found = {}
        with self._reading() as conn:
            for model, number in versions:
                with suppress(NotFound):
                    known = models.get(conn, model, number)
                    flavor = "" if known.onnx else known.flavor
                    found[model, number] = Described(
                        signature=known.signature, size=known.size, flavor=flavor
                    )
        return found

    def names(self, policies: Mapping[str, str]) -> dict[str, Names]:
        with self._reading() as conn:
            known = polling.could_serve(conn, list(policies))
            aliases = polling.aliases(conn, list(policies))
        return {
            model: naming.chosen(naming.read(said), known.get(model, ()), aliases.get(model, {}))
            for model, said in policies.items()
        }

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as conn:
                yield conn
        except SQLAlchemyError as error:
            raise Unavailable(
                f"the database cannot be read: {type(error).__name__}",
                hint="is the store set up, and reachable?",
            ) from error

    def settings(self, model: str) -> EndpointSettings:
        """Return how the endpoint of a model is to answer, deployed or not."""
        with self._engine.begin() as conn:
            return store.settings_of(conn, model)

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:
        return partial(self._load, model, version)

    def baseline(self, model: str, version: int) -> Predictor | None:
        return self._baseline(model, version)

    def background(self, model: str, version: int) -> Any:
        return self._backgrounds(model, version)

    def kept(self, address: str) -> bytes:
        if self._kept is None:
            raise Conflict("this server keeps nothing: its models are not of a registry")
        return self._kept(address)

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:
        if self._explains is None:
            raise Conflict("this server explains nothing: its models are not of a registry")
        return self._explains(model, version, predictor)


def from_store(settings: Settings, load: Load | None = None) -> Registered:
    """Return what the store in `settings` deploys; whoever asked closes it.

    Args:
        settings: The store.
        load: How a version is brought into memory; from the registry by default.
    """
    return Registered(
        _open(settings.database_url),
        load or from_registry(settings),
        baselines(settings),
        explainers(settings),
        backgrounds(settings),
        partial(_kept, settings),
    )


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


def backgrounds(settings: Settings) -> Backgrounds:
    """Return a function that reads some rows that a registered version was trained on."""

    def read(model: str, version: int) -> Any:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use
        from setpoint.models.explaining import background  # noqa: PLC0415

        known = _registered(settings, model, version)
        if known.background is None:
            return None
        return background.decode(open_store(settings).get(known.background), known.signature)

    return read


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
