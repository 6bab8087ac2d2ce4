import ctypes
import gc
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.serve.yielding import TURN_SECONDS, take_short_turns, undisturbed


@pytest.fixture
def turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)  # Python's own; whatever other tests have left
    yield
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

    for work in (promptly, lambda: ask("other")):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert told["prompt"] == 1 < told["other"]
    if "prompt turn" in told:
        assert told["prompt turn"] <= 100_000 < told["other turn"]


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
