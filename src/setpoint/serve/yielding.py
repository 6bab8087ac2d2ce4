"""Letting the event loop have its turn while models are loaded, or asked, beside it.

All threads of a Python take turns, and so do all of a system. Five things keep the one that answers
waiting. A turn lasts 5 ms unless said otherwise. A thread that lets go of Python's lock for some
microseconds again and again, as a forest does for each of its trees, is back before another has
woken: only one that waited for a whole turn makes it give way, and the system has it wait for 50 µs
longer than it asked. The system lets a thread that runs end a turn of 3 ms. And the garbage
collector, which looks at every object there is when many are made, lets nobody else run meanwhile:
60 ms, once scikit-learn is loaded. And the loop lets go of the lock with every answer and waits for
it before the next: beside a thread that never rests it does less than half of what it can, and
requests pile up for as long as a load takes.
"""

import asyncio
import ctypes
import gc
import os
import platform
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter, sleep
from types import FrameType
from typing import TYPE_CHECKING, Any

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
_NICE, _LEAST_NICE = 10, 19  #: of threads that nobody waits for, as in nice(1); the most there is

RESTS = 6  #: times as long as it worked, a load rests beside a busy event loop
_WORK_SECONDS = 0.0001  #: at least, between two rests
_MOST_REST_SECONDS = 0.1
_BUSY = 0.1  #: share of the time for which the event loop ran lately, from which it is busy
_CALLS = 50  #: of functions, and ends of such, between two looks at the clock

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


def step_back(nice: int = _NICE) -> None:
    """Have this thread wait longer for Python's lock than those that answer, and run behind them.

    Args:
        nice: How far behind; 0 for one that mostly holds the lock. The system may put that one
            off for some 10 ms while it holds it, and the one that answers waits for both.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            thread = threading.get_native_id()
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(now + nice, _LEAST_NICE))
            ctypes.CDLL(None).prctl(_SET_SLACK, _BEHIND_NANOS, 0, 0, 0)


def hurry(why: str, *, wanted: bool) -> None:
    """Have turns be short for as long as there is a reason."""
    if wanted:
        _hurried.add(why)
    else:
        _hurried.discard(why)
    sys.setswitchinterval(SHORT_SECONDS if _hurried else TURN_SECONDS)


def hurried() -> bool:
    """Tell whether turns are short: another thread of the process wants Python's lock."""
    return bool(_hurried)


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
    since, asked_us = serving.micros() - _LATELY_MICROS, serving.metrics.asked_us
    return any(
        not one.slow and any(asked_us(one.model, version) > since for version in one.parts)
        for one in serving.endpoints.all().values()
    )


class _Resting:
    """Has a thread rest now and then while the one that answers is busy.

    As the thread's profile function it is told of every call, and can hold it up there: what
    loads a model is foreign code that knows of nobody who waits. A call of C it cannot divide.
    For Linux: not every system has a clock for each thread.
    """

    def __init__(self) -> None:
        self._answering = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self._left = _CALLS
        self._look()

    def __call__(self, _frame: FrameType, _event: str, _value: Any) -> None:
        self._left -= 1
        if self._left < 0:
            self._left = _CALLS
            worked = perf_counter() - self._at
            if worked > _WORK_SECONDS:
                answered = time.clock_gettime(self._answering) - self._answered
                if answered > _BUSY * worked:
                    sleep(min(RESTS * worked, _MOST_REST_SECONDS))
                self._look()

    def _look(self) -> None:
        self._answered = time.clock_gettime(self._answering)
        self._at = perf_counter()


@contextmanager
def _resting() -> Iterator[None]:
    """Rest beside the thread that answers, where nobody else looks at this one's calls."""
    answers = threading.current_thread() is threading.main_thread()
    if answers or sys.platform != "linux" or sys.getprofile() is not None:
        yield
        return
    sys.setprofile(_Resting())
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Load something without holding up the event loop for longer than needed.

    No garbage is collected meanwhile, and what stays is never looked at. Modules stay: once some
    were imported, all that exists is taken out of the collector's sight. A model alone may go
    again, so it stays in.

    While requests are answered in the main thread, a load in another one takes up to `RESTS` times
    longer. While a forest of 50 MB is loaded for the first time, with its library, into a server of
    2 cores at half of what it can answer, 99 of 100 requests then take 4 to 8 ms and not 60 to
    100, and the longest 8 to 16 and not 111. To look at the calls costs an import two thirds more.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    hurry("loading", wanted=True)
    gc.disable()
    try:
        with _resting():
            yield
    finally:
        hurry("loading", wanted=False)
        if collects:  # else somebody else sees to it
            if len(sys.modules) > known:
                gc.freeze()
            gc.enable()
