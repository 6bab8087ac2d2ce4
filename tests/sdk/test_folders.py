"""A run's folder, which several processes may look at while one removes it."""

import threading
from pathlib import Path

from setpoint.sdk.folders import Meta, RunFolder


def test_a_folder_goes_while_others_ask_for_the_right_to_deliver_it(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, "shared")
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            with folder.delivering():
                pass

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(30):
            folder.join(Meta(run="shared", experiment="x", url=None, offline=False)).close()
            assert folder.remove()
    finally:
        over.set()
        looking.join()
    assert RunFolder.all(tmp_path) == []
