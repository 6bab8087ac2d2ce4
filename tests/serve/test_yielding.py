import asyncio
import ctypes
import gc
import json
import os
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import Served
from tests.serve.made import Sum, live

from setpoint.serve import yielding
from setpoint.serve.arms import Arm
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import Deployment, Role
from setpoint.serve.yielding import (
    LOOK_SECONDS,
    RESTS,
    SHORT_SECONDS,
    TURN_SECONDS,
    hurry,
    hurry_fast_models,
    step_back,
    take_short_turns,
    undisturbed,
)


@pytest.fixture
def turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)  # Python's own; whatever other tests have left
    yield
    hurry("fast", wanted=False)
    sys.setswitchinterval(before)
    gc.unfreeze()


@pytest.mark.usefixtures("turns")
def test_a_thread_that_computes_is_asked_for_its_turn_sooner_than_usual() -> None:
    usual = sys.getswitchinterval()
    thread = threading.Thread(target=take_short_turns)  # the system is told of that one
    thread.start()
    thread.join()
    assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
    assert sys.getswitchinterval() < usual / 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told")
@pytest.mark.usefixtures("turns")
def test_the_system_is_told_to_run_the_thread_soon_and_no_other() -> None:
    told: dict[str, int] = {}

    def ask(name: str) -> None:
        told[name] = ctypes.CDLL(None).prctl(30, 0, 0, 0, 0)  # how late its waits may end
        said = Path(f"/proc/self/task/{threading.get_native_id()}/sched")
        if said.exists() and (found := re.search(r"se\.slice +: +(\d+)", said.read_text())):
            told[f"{name} turn"] = int(found[1])

    def promptly() -> None:
        take_short_turns()
        ask("prompt")

    def behind() -> None:
        step_back()
        ask("behind")
        told["nice"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    for work in (promptly, lambda: ask("other"), behind):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert told["prompt"] == 1 < told["other"] < told["behind"]
    assert told["nice"] == min(10 + os.getpriority(os.PRIO_PROCESS, 0), 19)
    if "prompt turn" in told:
        assert told["prompt turn"] <= 100_000 < told["other turn"]


@pytest.mark.usefixtures("turns")
def test_turns_are_short_for_as_long_as_there_is_a_reason() -> None:
    with undisturbed():
        assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
        hurry("fast", wanted=True)
    assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
    hurry("fast", wanted=False)
    assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)


class Slow(Sum):
    """Takes until it may stop."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__()
        self.over = over

    def predict(self, rows: Any) -> Any:
        self.over.wait(20)
        return super().predict(rows)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the switch interval tells nobody
            await asyncio.sleep(0.01)


def is_short() -> bool:
    return sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("turns")
def test_a_fast_model_that_is_asked_beside_a_slow_one_makes_turns_short(served: Served) -> None:
    over = threading.Event()
    served.deploy(live())
    deployed = Deployment(model="slow", version=1, role=Role.LIVE, weight=1.0)
    slow = Endpoint("slow", 1, [deployed], {1: Arm(1, Slow(over))})
    slow.slow = True
    served.endpoints._put(slow)
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}
    body = json.dumps({"inputs": [tensor]}).encode()

    async def story() -> None:
        watching = asyncio.create_task(hurry_fast_models(served.app))
        asked = served._ask("POST", "/v2/models/slow/infer", body, ())
        waiting = asyncio.create_task(asked)
        await until(lambda: served.app.busy)
        await asyncio.sleep(2 * LOOK_SECONDS)  # it looks, and finds that only the slow one is asked
        assert not is_short()
        await served._ask("POST", "/v2/models/m/infer", body, ())
        await until(is_short)
        over.set()
        await waiting
        await until(lambda: not is_short())
        watching.cancel()

    served._runner.run(story())


@pytest.mark.usefixtures("turns")
def test_nothing_is_collected_while_a_version_is_loaded() -> None:
    seen: list[str] = []
    gc.callbacks.append(lambda phase, _info: seen.append(phase))
    try:
        with undisturbed():
            _held = [[number] for number in range(20_000)]
            assert not seen
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()


@pytest.mark.usefixtures("turns")
def test_what_came_with_modules_is_out_of_the_collectors_sight() -> None:
    before = gc.get_freeze_count()
    with undisturbed():
        sys.modules["imported_by_a_model"] = types.ModuleType("imported_by_a_model")
    del sys.modules["imported_by_a_model"]
    assert gc.get_freeze_count() > before


@pytest.mark.usefixtures("turns")
def test_a_model_that_imports_nothing_stays_in_sight() -> None:
    before = gc.get_freeze_count()
    with undisturbed():
        _model: list[dict[str, int]] = [{} for _ in range(100)]
    assert gc.get_freeze_count() == before


@pytest.mark.usefixtures("turns")
def test_a_load_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ValueError, match="broken"), undisturbed():
        raise ValueError("broken")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def loaded_beside(work: Callable[[], None], *, busy: bool) -> None:
    """Have a thread load something while this one is busy, or only waits."""

    def load() -> None:
        with undisturbed():
            work()

    thread = threading.Thread(target=load)
    thread.start()
    while busy and thread.is_alive():
        pass
    thread.join()


def some_calls() -> None:
    for number in range(200_000):
        str(number).strip()


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a thread was to rest, each time."""
    found: list[float] = []
    monkeypatch.setattr(yielding, "sleep", found.append)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread ran")
@pytest.mark.usefixtures("turns")
def test_a_load_rests_for_most_of_the_time_while_requests_are_answered(rests: list[float]) -> None:
    end = time.monotonic() + 20

    def until_it_has_rested() -> None:
        while len(rests) <= 50 and time.monotonic() < end:
            some_calls()

    loaded_beside(until_it_has_rested, busy=True)
    assert len(rests) > 50
    assert min(rests) > RESTS * 0.0001
    assert max(rests) <= 0.1


@pytest.mark.usefixtures("turns")
def test_a_load_does_not_rest_where_nobody_asks(rests: list[float]) -> None:
    loaded_beside(some_calls, busy=False)
    assert len(rests) < 5  # it runs for a moment when the thread starts


@pytest.mark.usefixtures("turns")
def test_nothing_rests_in_the_thread_that_answers(rests: list[float]) -> None:
    with undisturbed():
        assert sys.getprofile() is None
        some_calls()
    assert not rests


@pytest.mark.usefixtures("turns")
def test_who_profiles_a_load_is_left_alone() -> None:
    calls: list[str] = []

    def profiled() -> None:
        sys.setprofile(lambda _frame, event, _value: calls.append(event))
        with undisturbed():
            some_calls()
        calls.clear()
        str(1).strip()
        sys.setprofile(None)

    loaded_beside(profiled, busy=False)
    assert "c_call" in calls


@pytest.mark.usefixtures("turns")
def test_a_load_that_failed_looks_at_no_calls_any_more() -> None:
    left: list[object] = []

    def fails() -> None:
        with pytest.raises(ValueError, match="broken"), undisturbed():
            raise ValueError("broken")
        left.append(sys.getprofile())

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    assert left == [None]
