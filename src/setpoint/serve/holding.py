"""Which endpoints there are, and which of them are in memory: brought in for who asks, given up.

An endpoint is never changed: one with its versions in memory and one without take each other's
place, so that whoever asks meanwhile goes on with the one it has, and reads are one look-up.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from setpoint.errors import Conflict, NotFound, Unavailable
from setpoint.serve.arms import Absent, Arm
from setpoint.serve.endpoints import Endpoint, emptied, made
from setpoint.serve.entities import Described, Names, Swap, Wanted
from setpoint.serve.loading import Loading, is_loaded, kept_of
from setpoint.serve.memory import Key, Memory, Unit, Version, give_back, to_give_up
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Source
from setpoint.serve.warming import Recent

NOT_HERE = "it is not in memory, and loaded when it is asked"

_log = logging.getLogger(__name__)


class Holding:
    """The endpoints of a server. Any thread reads; one at a time loads or gives up."""

    def __init__(
        self, source: Source, metrics: Metrics, memory: Memory | None, recent: Recent | None
    ) -> None:
        self.metrics = metrics
        self.memory = memory or Memory()
        self._loading = Loading(source, metrics, self.memory, recent or Recent(None))
        self._now: dict[str, Endpoint] = {}
        self._named: dict[Key, Endpoint] = {}  # those of versions that can be named
        self._names: dict[str, Names] = {}
        self._stored: dict[Version, int] = {}
        self._since: dict[Key, int] = {}  # when what is in memory came there
        self._turning = threading.Lock()  # held while one takes another's place, and no longer
        self.micros: Callable[[], int] = lambda: time.time_ns() // 1000
        #: whether requests of an endpoint wait, or are being scored beside the event loop
        self.is_asked: Callable[[Endpoint], bool] = lambda _endpoint: False
        #: told which versions of a model were given up
        self.given_up: Callable[[str, Iterable[int]], None] = lambda _model, _versions: None

    def get(self, model: str) -> Endpoint | None:
        return self._now.get(model)

    def all(self) -> dict[str, Endpoint]:
        return self._now

    def named(self, model: str, version: int) -> Endpoint | None:
        """Return what answers who names a version that is not deployed."""
        return self._named.get((model, version))

    def names(self, model: str) -> Names:
        """Return which versions of a model can be named besides those deployed."""
        return self._names.get(model, _NONE)

    def every(self) -> Iterable[Endpoint]:
        """Return the endpoints of what is deployed, then those of what can be named."""
        return [*self._now.values(), *self._named.values()]

    def current(self, key: Key) -> Endpoint | None:
        """Return what answers under a key now."""
        return self._named.get(key) if key[1] else self._now.get(key[0])

    def state(self, endpoint: Endpoint) -> tuple[str, str]:
        """Return whether an endpoint is READY, LOADING or UNAVAILABLE, and why, if it is not."""
        if (why := endpoint.trouble()) is not None:
            return "UNAVAILABLE", why
        if not endpoint.absent:
            return "READY", ""
        if self.memory.loading == endpoint.key:
            return "LOADING", ""
        why = self.memory.refused(endpoint.key, endpoint.generation)
        return "UNAVAILABLE", why or NOT_HERE

    def in_memory(self) -> dict[Version, int]:
        """Return the bytes that each version takes that is in memory."""
        found: dict[Version, int] = {}
        for endpoint in self.every():
            if not endpoint.absent:
                found |= self._bytes(endpoint)
        return found

    def bring(self, asked: Endpoint, *, pin: bool = False) -> Endpoint:
        """Have an endpoint's versions in memory; others make room where there is a limit.

        One that is there already stays. Blocks until it is done; not for the event loop.

        Args:
            asked: What somebody asks.
            pin: Whether it is to stay until it is given up by hand.

        Raises:
            NotFound: If it is not served any more.
            Unavailable: If it does not load; for some seconds that is not tried again.
            Conflict: If it is to be pinned, and all that is pinned would not fit.
        """
        key = asked.key
        with self.memory.one:
            now = self.current(key)
            if now is None:
                raise NotFound(f"{asked.model!r} is not served here any more")
            if pin:
                self._pin(now)
            if not now.absent:
                return now
            if (why := self.memory.refused(key, now.generation)) is not None:
                raise Unavailable(f"the model {asked.model!r} cannot answer: {why}")
            wanted = now.wanted
            kept = self._shared(now)
            self.make_room(self._needed(asked.model, wanted, kept), spare=key)
            new = self._load(asked.model, now.generation, wanted, kept, key[1])
            if new.broken is not None:
                self.memory.refuse(key, new.broken, now.generation)
                raise Unavailable(f"the model {asked.model!r} cannot answer: {new.broken}")
            new.goes_on_as(now)
            if not self._turn(now, new):  # what is deployed has changed meanwhile
                return self.bring(asked)
            self._settle(key)
            return new

    def give_up(self, key: Key) -> bool:
        """Let go of what is in memory under a key, until somebody asks; tell if there was any.

        Requests that are being scored end as if it were there.
        """
        with self.memory.one:
            self.memory.pinned.discard(key)
            now = self.current(key)
            if now is None or not any(is_loaded(arm) for arm in now.parts.values()):
                return False
            self._put(emptied(now))
            self.metrics.gave_up(now.model)
            self.given_up(now.model, [version for version in now.parts if version])
            del now
            give_back()
            return True

    def make_room(self, needed: int = 0, *, spare: Key | None = None) -> None:
        """Give up what was not asked for the longest time, until so many bytes fit."""
        if self.memory.limit is None:
            return
        for key in to_give_up(self._units(spare), self.memory.limit, needed):
            self.give_up(key)

    def _swap(self, model: str, generation: int, wanted: Wanted) -> Endpoint | None:
        """Load what an endpoint lacks of what is wanted; None: it stays as it was.

        A live version that does not load leaves what there was, where there was something.
        """
        key = model, 0
        with self.memory.one:
            before = self._now.get(model)
            kept = self._loading.kept(model, before, wanted.settings)
            needed = self._needed(model, wanted, kept)
            self.make_room(needed, spare=key)
            crowded = self.memory.limit is not None and needed > self._free()
            if crowded and before is not None and wanted.settings.swap is Swap.REPLACE:
                self._put(emptied(before))
                before = self._now[model]
                give_back()
            new = self._load(model, generation, wanted, kept, 0)
            if new.broken is not None and before is not None:
                return None
            if before is not None and new.parts.keys() & before.parts.keys():
                new.goes_on_as(before)
            self._put(new)
            gone = [] if before is None else [v for v in before.parts if v not in new.parts]
            self.given_up(model, gone)
            del before, kept
            self._settle(key)
            return new

    def _settle(self, key: Key) -> None:
        """Note that something has come into memory, and hold to the limit by what it takes."""
        self._since[key] = self.micros()
        if self.memory.limit is None:
            return
        self.make_room(spare=key)
        give_back()
        if self._free() < 0:
            taken = sum(self.in_memory().values())
            _log.warning("models take more than their limit", extra={"bytes": taken})

    def _without(
        self,
        model: str,
        generation: int,
        wanted: Wanted,
        known: Mapping[Version, Described],
        named: int = 0,
    ) -> Endpoint | None:
        """Return an endpoint of which nothing is in memory; None: too little is known of it."""
        versions = wanted.versions
        if any((model, version) not in known for version in versions):
            return None
        arms = {}
        for version in versions:
            one = known[model, version]
            self._stored[model, version] = one.size
            arms[version] = Arm(version, Absent(one.inputs, one.signature))
        return made(model, generation, wanted, arms, named)

    def _load(
        self, model: str, generation: int, wanted: Wanted, kept: Mapping[int, Arm], named: int
    ) -> Endpoint:
        self.memory.loading = model, named
        try:
            return self._loading.endpoint(model, generation, wanted, kept, self._stored, named)
        finally:
            self.memory.loading = None

    def _pin(self, now: Endpoint) -> None:
        sizes: dict[Version, int] = {}
        for key in {*self.memory.pinned, now.key}:
            one = self.current(key)
            sizes |= {} if one is None else {(one.model, v): 0 for v in one.parts}
        needed = sum(self.memory.size(v, self._stored.get(v, 0)) for v in sizes)
        if self.memory.limit is not None and needed > self.memory.limit:
            alone = not self.memory.pinned - {now.key}
            raise Conflict(
                f"{now.model!r} does not fit into memory"
                + ("" if alone else " beside what was loaded by hand before"),
                where=f"{needed:,} bytes, and the limit is {self.memory.limit:,}",
                hint="raise --model-memory" + ("" if alone else ", or unload one of those"),
            )
        self.memory.pinned.add(now.key)

    def _shared(self, endpoint: Endpoint) -> dict[int, Arm]:
        """Return the version of an endpoint that is named, if it is in memory as deployed."""
        number = endpoint.key[1]
        deployed = kept_of(self._now.get(endpoint.model), endpoint.settings)
        if not number or number not in deployed:
            return {}
        return {number: Arm(number, deployed[number].predictor)}

    def _needed(self, model: str, wanted: Wanted, kept: Mapping[int, Arm]) -> int:
        new = [(model, version) for version in wanted.versions if version not in kept]
        return sum(self.memory.size(version, self._stored.get(version, 0)) for version in new)

    def _free(self) -> int:
        return (self.memory.limit or 0) - sum(self.in_memory().values())

    def _units(self, spare: Key | None) -> list[Unit]:
        seen: set[Version] = set()
        found = []
        for endpoint in self.every():
            if endpoint.absent:
                continue
            sizes = self._bytes(endpoint)
            taken = sum(size for version, size in sizes.items() if version not in seen)
            seen |= sizes.keys()
            key = endpoint.key
            if taken:
                kept = key == spare or key in self.memory.pinned or self.is_asked(endpoint)
                found.append(Unit(key, taken, self._asked_us(endpoint), kept))
        return found

    def _asked_us(self, endpoint: Endpoint) -> int:
        times = [self.metrics.asked_us(endpoint.model, version) for version in endpoint.parts]
        return max([self._since.get(endpoint.key, 0), *times])

    def _bytes(self, endpoint: Endpoint) -> dict[Version, int]:
        versions = [(endpoint.model, v) for v, arm in endpoint.parts.items() if is_loaded(arm)]
        return {version: self.memory.size(version) for version in versions}

    def _turn(self, now: Endpoint, new: Endpoint) -> bool:
        """Put one endpoint in another's place, unless that has been taken already."""
        with self._turning:
            if self.current(now.key) is not now:
                return False
            self._place(new)
            return True

    def _put(self, new: Endpoint) -> None:
        with self._turning:
            self._place(new)

    def _place(self, new: Endpoint) -> None:
        if new.key[1]:
            self._named = {**self._named, new.key: new}
        else:
            self._now = {**self._now, new.model: new}

    def _drop(self, keys: Iterable[Key]) -> None:
        """Serve some endpoints no longer."""
        gone = set(keys)
        if not gone:
            return
        with self._turning:
            self._now = {m: one for m, one in self._now.items() if one.key not in gone}
            self._named = {key: one for key, one in self._named.items() if key not in gone}
        self.memory.pinned -= gone
        for key in gone:
            self._since.pop(key, None)


_NONE = Names()
