"""Which process of a server runs its jobs: the one that holds their folder."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from setpoint.errors import Conflict, SetpointError
from setpoint.serve.answering import Answering
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.outbox import Depot
from setpoint.serve.jobs.queue import Jobs

_TRY_SECONDS = 0.5  #: between two tries to hold a folder that a sibling holds

_log = logging.getLogger(__name__)


class Keeper:
    """Runs the jobs of a folder in this process; of several, in the first that can hold it.

    The others pass on what they are asked about jobs, and one of them takes over when it ends.
    """

    def __init__(self, path: Path, *, shared: bool, depot: Depot | None = None) -> None:
        """Hold the folder, unless siblings may hold it, too.

        Args:
            path: The folder.
            shared: Whether they may.
            depot: Where answers of invocations go; None: none are taken.

        Raises:
            Conflict: If another server holds it.
            Unavailable: If it cannot be written.
        """
        self._path = path
        self._depot = depot
        self._folder = None if shared else Folder(path)
        self._task: asyncio.Task[None] | None = None

    def start(self, serving: Answering) -> None:
        """Run the jobs, now or once no sibling does."""
        if self._folder is not None:
            _run(serving, self._folder, self._depot)
        else:
            self._task = asyncio.get_running_loop().create_task(self._wait(serving))

    async def close(self) -> None:
        """Wait no longer; the jobs themselves end with `Answering.close`."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _wait(self, serving: Answering) -> None:
        told = ""
        while not serving.draining:
            try:
                folder = await asyncio.to_thread(Folder, self._path)
            except Conflict:
                pass
            except SetpointError as error:
                if error.message != told:
                    _log.warning("jobs are not taken", extra={"problem": str(error)})
                told = error.message
            else:
                _run(serving, folder, self._depot)
                return
            await asyncio.sleep(_TRY_SECONDS)


def _run(serving: Answering, folder: Folder, depot: Depot | None) -> None:
    serving.jobs = Jobs(serving, folder, depot)
    serving.jobs.start()
