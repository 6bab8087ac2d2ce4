"""The thread that delivers a run while it goes on, and says when it cannot."""

import importlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from setpoint.config import Settings
from setpoint.errors import SetpointError
from setpoint.sdk.folders import Meta, RunFolder

if TYPE_CHECKING:
    from setpoint.sdk.courier import Courier
    from setpoint.sdk.destination import Destination

PERIOD_SECONDS = 0.5
_AGAIN_SECONDS = 0.05  #: between looks at what another process is to deliver
_LONGEST_SECONDS = 30.0  #: between two attempts at a destination that is away

_log = logging.getLogger("setpoint")


class Delivery:
    """Delivers one run's folder in a thread of its own.

    The store, its database driver and all that belongs to them are imported in that thread:
    a script that begins a run does not wait for them.
    """

    def __init__(self, folder: RunFolder, meta: Meta, settings: Settings, writer: str) -> None:
        self._folder = folder
        self._meta = meta
        self._settings = settings
        self._writer = writer
        self._wake = threading.Event()
        self._finishing = threading.Event()
        self._state = threading.Condition()
        self._asked = self._served = 0
        self._away = False
        self._waited = PERIOD_SECONDS
        self._courier: Courier | None = None
        self._settled = False
        self._swept = False
        self._thread = threading.Thread(target=self._work, name="setpoint-delivery", daemon=True)
        self._thread.start()

    def flush(self, seconds: float) -> bool:
        """Deliver what is written now; tell whether it arrived within so many seconds."""
        with self._state:
            self._asked += 1
            mine, self._away = self._asked, False
            self._wake.set()
            self._state.wait_for(
                lambda: self._served >= mine or self._away or not self._thread.is_alive(), seconds
            )
            return self._served >= mine

    def finish(self, seconds: float) -> bool:
        """Deliver the rest and end; tell whether all arrived within so many seconds.

        A destination that is away is tried once more and not waited for.
        """
        self._finishing.set()
        self._wake.set()
        self._thread.join(seconds)
        return self._settled

    def forget(self) -> None:
        """Let go of the parent's rights in a child process."""
        if self._courier is not None:
            self._courier.close()

    def _work(self) -> None:
        to: Destination | None = None
        try:
            courier = self._courier = _load("courier").Courier(self._folder, self._meta.run)
            while True:
                last = self._finishing.is_set()
                to = self._attempt(courier, to, last=last)
                if last and (self._settled or self._away):
                    return
                self._wake.wait(_AGAIN_SECONDS if last else self._waited)
                self._wake.clear()
        finally:
            self.forget()
            if to is not None:
                to.close()

    def _attempt(
        self, courier: "Courier", to: "Destination | None", *, last: bool
    ) -> "Destination | None":
        asked = self._asked
        try:
            to = to or _load("destination").open_destination(self._settings, self._meta.url)
            delivered = courier.deliver(to)
            if last:
                courier.finish(to)
                self._settled = courier.settled(self._writer)
            elif delivered is not None and not delivered.points:
                self._sweep(to)
        except SetpointError as error:
            self._trouble(error.message, error.where)
        except Exception as error:  # noqa: BLE001 - the outermost frame of the thread
            self._trouble(f"delivering failed: {error!r}", "")
        else:
            self._arrived(asked if delivered is not None else None)
        return to

    def _sweep(self, to: "Destination") -> None:
        """Once, when there is time: deliver what killed processes left in this home."""
        if self._swept:
            return
        self._swept = True
        left = _load("sync").sweep(self._settings, to, self._meta.url, self._meta.run)
        for found in left:
            _log.warning("setpoint: run %s of a process that ended is delivered", found.run)
            if self._finishing.is_set():
                break

    def _arrived(self, asked: int | None) -> None:
        """Note what was served; None while another process delivers for all."""
        if self._waited > PERIOD_SECONDS:
            _log.warning("setpoint: run %s is being delivered again", self._meta.run)
        self._waited = PERIOD_SECONDS
        with self._state:
            if asked is not None:
                self._served = asked
            elif self._courier is not None and self._courier.settled(self._writer):
                self._served = self._asked
            self._away = False
            self._state.notify_all()

    def _trouble(self, message: str, where: str) -> None:
        if self._waited == PERIOD_SECONDS:
            _log.warning(
                "setpoint: %s%s; run %s goes on and is kept in %s",
                message,
                f" ({where})" if where else "",
                self._meta.run,
                self._folder.path,
            )
        self._waited = min(self._waited * 2, _LONGEST_SECONDS)
        with self._state:
            self._away = True
            self._state.notify_all()


def _load(name: str) -> Any:
    return importlib.import_module(f"setpoint.sdk.{name}")
