"""Letting the event loop have its turn while models are loaded, or asked, beside it.

All threads of a Python take turns, and so do all of a system. Four things keep the one that answers
waiting. A turn lasts 5 ms unless said otherwise. A thread that lets go of Python's lock for some
microseconds again and again, as a forest does for each of its trees, is back before another has
woken: only one that waited for a whole turn makes it give way, and the system has it wait for 50 µs
longer than it asked. The system lets a thread that runs end a turn of 3 ms. And the garbage
collector, which looks at every object there is when many are made, lets nobody else run meanwhile:
60 ms, once scikit-learn is loaded.
"""

import asyncio
import ctypes
import gc
import os
import platform
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setpoint.serve.answering import Answering

TURN_SECONDS = 0.0005  #: usually: shorter ones are spent on changing over
SHORT_SECONDS = 0.00003  #: where a fast model is asked beside a slow one; at 10 µs nothing is done
LOOK_SECONDS = 0.1  #: how often it is looked which models are asked
_LATELY_MICROS = 200_000
_TURN_NANOS = 100_000  #: of the system's; the shortest that Linux takes
_SET_SCHEDULING = {"x86_64": 314, "aarch64": 274}  #: number of the system call, by machine
_SCHEDULING = struct.Struct("<IIQiIQQQ")  #: size, policy, flags, nice, priority, runtime, …
_SET_SLACK, _LEAST_NANOS, _BEHIND_NANOS = 29, 1, 2_000_000  #: how late a wait may end
_NICE = 10  #: of threads that nobody waits for, as in nice(1)

_hurried: set[str] = set()  #: why turns are short now


def take_short_turns() -> None:
    """Have this thread run soon after it wakes, whatever other threads of the process do.

    What the system is told holds for this thread, and for those that it starts; where it cannot be
    told, it is not.
    """
    sys.setswitchinterval(TURN_SECONDS)
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        system = ctypes.CDLL(None)
        system.prctl(_SET_SLACK, _LEAST_NANOS, 0, 0, 0)
        call = _SET_SCHEDULING.get(platform.machine())
        if call is not None:
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            asked = _SCHEDULING.pack(_SCHEDULING.size, 0, 0, nice, 0, _TURN_NANOS, 0, 0)
            system.syscall(call, 0, asked, 0)


def step_back() -> None:
    """Have this thread run behind those that answer, and wait longer for Python's lock.

    While a forest of 50 MB is loaded into a server of 2 cores at half of what it can answer, 99 of
    100 requests then take 30 to 64 ms and not 61 to 330.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            ctypes.CDLL(None).prctl(_SET_SLACK, _BEHIND_NANOS, 0, 0, 0)


def hurry(why: str, *, wanted: bool) -> None:
    """Have turns be short for as long as there is a reason."""
    if wanted:
        _hurried.add(why)
    else:
        _hurried.discard(why)
    sys.setswitchinterval(SHORT_SECONDS if _hurried else TURN_SECONDS)


async def hurry_fast_models(serving: "Answering") -> None:
    """Have turns be short while fast models are asked beside slow ones; until it is cancelled.

    Beside a forest of 200 trees that is asked without end, 99 of 100 requests of a fast model
    then take 7 ms and not 23 (2 cores), and the forest is as fast as before. Where only slow
    models are asked, short turns would cost them a fifth of their throughput.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        hurry("fast", wanted=serving.busy and _asks_fast(serving))


def _asks_fast(serving: "Answering") -> bool:
    """Tell whether a model that is scored in the event loop was asked lately."""
    since, last = serving.micros() - _LATELY_MICROS, serving.metrics.last
    return any(
        not one.slow and any(last.get((one.model, v), 0) > since for v in one.parts)
        for one in serving.endpoints.all().values()
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Load something without holding up the event loop for longer than needed.

    No garbage is collected meanwhile, and what stays is never looked at. Modules stay: once some
    were imported, all that exists is taken out of the collector's sight. A model alone may go
    again, so it stays in.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    hurry("loading", wanted=True)
    gc.disable()
    try:
        yield
    finally:
        hurry("loading", wanted=False)
        if collects:  # else somebody else sees to it
            if len(sys.modules) > known:
                gc.freeze()
            gc.enable()
