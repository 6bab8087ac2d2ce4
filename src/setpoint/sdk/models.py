"""Bringing a trained model in from Python: ``sp.add_model``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from setpoint.artifacts.contract import ObjectStore
    from setpoint.config import Settings
    from setpoint.core.operations import Backend
    from setpoint.models.entities import ModelVersion

Delivered: TypeAlias = Callable[[list[str]], None]


def add_model(  # noqa: PLR0913 - what one may say of a model, by name
    name: str,
    model: Any,
    *,
    example: Any,
    kind: str = "",
    classes: Sequence[str | int | float | bool] = (),
    frame: str = "",
    run: str = "",
    why: str = "",
    home: "Path | str | None" = None,
    url: str | None = None,
) -> "ModelVersion":
    """Make a trained model a version that can be served; return the version.

    Args:
        name: Of the model; it is made if it is not there.
        model: The trained model, of any library that is known, an object of your own with
            ``predict_proba`` or ``predict`` (and ``load``, if it opens anything), a function; or
            the path of a file or folder that its library wrote.
        example: Rows as it takes them: a data frame, a mapping of columns, or an array. Some
            hundred of its training rows let a compiled form be proven; one is enough.
        kind: ``classification``, ``regression`` or ``any``; "" has it told by the model.
        classes: What a classifier tells apart, where it does not say so itself.
        frame: What an object of your own is handed: ``polars``, ``pandas``, ``numpy``, ``arrow``
            or ``columns``, a dict of arrays.
        run: Id of the run that trained it; a run has one version of a model.
        why: Why there is this version, for the record.
        home: Folder of the store; by default ``.setpoint`` or ``$SETPOINT_HOME``.
        url: Of a server that takes it instead; by default ``$SETPOINT_URL``.

    Raises:
        Invalid: If it is nothing that predicts, or does not take the example.
        UserCodeFailed: If it raises when it is asked about the example.
        MissingExtra: If its library is not installed.

    Example:
        >>> version = sp.add_model("iris", fitted, example=X_train)  # doctest: +SKIP
        >>> version.number  # doctest: +SKIP
        1
    """
    from setpoint.config import settings  # noqa: PLC0415 - all of it is heavy
    from setpoint.models import adding  # noqa: PLC0415
    from setpoint.models.service import register  # noqa: PLC0415

    with _destination(settings(home, url=url)) as (store, backend, delivered):
        held = adding.stored(store, model, example, kind=kind, classes=classes, frame=frame)
        delivered([each for each in (held.artifact, held.onnx) if each])
        return backend.call(register, adding.registration(name, held, run_id=run, why=why))


@contextmanager
def _destination(where: "Settings") -> "Iterator[tuple[ObjectStore, Backend, Delivered]]":
    """Yield where objects are made, who registers, and what brings the ones to the other."""
    if where.url is None:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - as above
        from setpoint.db.local import open_local  # noqa: PLC0415

        local = open_local(where)
        try:
            yield open_store(where), local, lambda _: None
        finally:
            local.engine.dispose()
        return
    from setpoint.artifacts.files import FileStore  # noqa: PLC0415
    from setpoint.sdk.remote import HttpBackend  # noqa: PLC0415

    made, server = FileStore(where.objects), HttpBackend(where.url)

    def delivered(addresses: list[str]) -> None:
        for address in server.missing(addresses):
            server.put(made, address)

    try:
        yield made, server, delivered
    finally:
        server.close()
