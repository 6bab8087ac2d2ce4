"""Delivering what processes left behind: offline runs, and runs whose process was killed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from msgspec import Struct

from setpoint.config import Settings
from setpoint.errors import NotFound
from setpoint.sdk.courier import Courier
from setpoint.sdk.destination import Destination, open_destination
from setpoint.sdk.folders import Meta, RunFolder


class Synced(Struct, frozen=True, kw_only=True):
    """What became of one run's folder."""

    run: str
    experiment: str
    to: str  #: address of a server, or the folder of a store
    points: int
    refused: int  #: batches that the destination will never take; the log said why
    complete: bool  #: whether nothing is left; otherwise a process still writes or delivers


def sync(settings: Settings, url: str | None = None, runs: Sequence[str] = ()) -> Iterator[Synced]:
    """Deliver the runs that wait in a home, and yield each when it is done.

    A run that still goes on is delivered as far as it is; it may be synced again. What is
    refused by the destination is told in a warning.

    Args:
        settings: Of the home.
        url: A server that takes all of them; None: each where it was begun for.
        runs: Only these.

    Raises:
        NotFound: If one of `runs` does not wait here.
        Unavailable: If a destination is; what was delivered before stays delivered.
    """
    found = [(folder, folder.meta()) for folder in RunFolder.all(settings.home)]
    missing = set(runs) - {meta.run for _, meta in found}
    if missing:
        hint = f"these do: {', '.join(meta.run for _, meta in found) or 'none'}"
        raise NotFound(f"run {min(missing)} does not wait in {settings.home}", hint=hint)
    opened: dict[str | None, Destination] = {}
    with ExitStack() as stack:
        for folder, meta in found:
            if runs and meta.run not in runs:
                continue
            target = url or meta.url
            if target not in opened:
                opened[target] = stack.enter_context(closing(open_destination(settings, target)))
            yield _sync(folder, meta, opened[target], target or str(settings.home))


def sweep(settings: Settings, to: Destination, url: str | None, own: str) -> Iterator[Synced]:
    """Deliver what killed processes left for a destination; yield each when it is done.

    Runs that are offline, that another process still writes, or the one called `own` are
    left alone.
    """
    for folder in RunFolder.all(settings.home):
        try:
            meta = folder.meta()
        except FileNotFoundError:  # delivered by another process meanwhile
            continue
        dead = not any(map(folder.alive, folder.writers()))
        if dead and not meta.offline and meta.url == url and meta.run != own:
            yield _sync(folder, meta, to, url or str(settings.home))


def _sync(folder: RunFolder, meta: Meta, to: Destination, where: str) -> Synced:
    with Courier(folder, meta.run) as courier:
        done = courier.deliver(to)
        complete = done is not None and courier.finish(to)
    return Synced(
        run=meta.run,
        experiment=meta.experiment,
        to=where,
        points=done.points if done else 0,
        refused=done.refused if done else 0,
        complete=complete,
    )
