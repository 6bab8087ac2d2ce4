"""Where runs are delivered: the store of this home, or a server."""

from typing import Protocol

from setpoint.artifacts.files import FileStore
from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.core.clock import from_micros
from setpoint.core.operations import Backend
from setpoint.db.local import open_local
from setpoint.errors import NotFound
from setpoint.runs import service
from setpoint.runs.commands import Append, Log, ShowRun, Start, UpdateRun
from setpoint.runs.entities import Artifact, Run, Status
from setpoint.sdk.batches import Batch
from setpoint.sdk.folders import RunFolder
from setpoint.sdk.records import Begin, End, Left, Origin, Said
from setpoint.sdk.remote import HttpBackend


class Destination(Protocol):
    """Takes what runs logged. Taking the same twice does no harm."""

    backend: Backend

    def put(self, folder: RunFolder, addresses: list[str]) -> None:
        """Take objects that lie in the folder, or in the files of its home."""

    def close(self) -> None: ...


class Embedded:
    """The store of this home, without a server."""

    def __init__(self, settings: Settings) -> None:
        self._local = open_local(settings)
        self.backend: Backend = self._local
        self._objects = open_store(settings)
        self._home = FileStore(settings.objects)

    def put(self, folder: RunFolder, addresses: list[str]) -> None:
        there = self._objects.find(addresses)
        for address in addresses:
            if address not in there:
                with self._objects.incoming() as file:
                    for piece in _holder(address, folder, self._home).chunks(address):
                        file.write(piece)
                    file.commit(address)

    def close(self) -> None:
        self._local.engine.dispose()


class Server:
    """A server of Setpoint."""

    def __init__(self, url: str, home: FileStore) -> None:
        self._remote = HttpBackend(url)
        self.backend: Backend = self._remote
        self._home = home

    def put(self, folder: RunFolder, addresses: list[str]) -> None:
        for address in self._remote.missing(addresses):
            self._remote.put(_holder(address, folder, self._home), address)

    def close(self) -> None:
        self._remote.close()


def open_destination(settings: Settings, url: str | None) -> Destination:
    """Open the store of `settings`, or the server at `url`."""
    return Embedded(settings) if url is None else Server(url, FileStore(settings.objects))


def _holder(address: str, folder: RunFolder, home: FileStore) -> FileStore:
    return folder.objects if folder.objects.has(address) else home


def show(backend: Backend, run: str) -> Run:
    """Return what a destination has of a run."""
    return backend.call(service.show, ShowRun(run=run))


def deliver(to: Destination, folder: RunFolder, run: str, writer: str, batch: Batch) -> None:
    """Hand one batch over.

    Raises:
        Unavailable: If the destination cannot be reached or cannot store it now.
        SetpointError: If it will never take it.
    """
    match batch.record:
        case None:
            position = batch.end.number
            append = Append(run=run, series=batch.series, source=writer, position=position)
            to.backend.call(service.append, append)
        case Begin() as begin:
            _begin(to.backend, run, begin)
        case Said(params=params, tags=tags, inputs=inputs):
            log = Log(run=run, params=params, tags=tags, inputs=inputs, late=True)
            to.backend.call(service.log, log)
        case Left(path=path, address=address, size=size):
            to.put(folder, [address])
            artifact = Artifact(address=address, size=size)
            to.backend.call(service.log, Log(run=run, artifacts={path: artifact}, late=True))
        case Origin(code=code, environment=environment, objects=objects):
            if objects:
                to.put(folder, objects)
            log = Log(run=run, code=code, environment=environment, late=True)
            to.backend.call(service.log, log)
        case End(at=at, status=status, error=error):
            ended_at = from_micros(at)
            update = UpdateRun(run=run, status=Status(status), ended_at=ended_at, error=error)
            to.backend.call(service.update, update)


def _begin(backend: Backend, run: str, record: Begin) -> None:
    # A run that is joined may have ended: starting it again would resume it.
    known = _find(backend, run) if record.joins else None
    if known is None:
        start = Start(
            id=run,
            experiment=record.experiment,
            started_at=from_micros(record.at),
            params=record.params,
            tags=record.tags,
            parent=record.parent,
        )
        known = backend.call(service.start, start)
    params = {name: v for name, v in record.params.items() if name not in known.params}
    if params or not record.tags.items() <= known.tags.items():
        backend.call(service.log, Log(run=run, params=params, tags=record.tags, late=True))


def _find(backend: Backend, run: str) -> Run | None:
    try:
        return show(backend, run)
    except NotFound:
        return None
