"""Processes of one platform end together, and their successors wait for them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setpoint.core.lifetime import await_predecessor, sole_owner
from setpoint.errors import Conflict

ENDS = """
import sys, time
from setpoint.core.lifetime import end_with_parent
end_with_parent(int(sys.argv[1]))
time.sleep(20)
"""

HOLDS = """
import sys, time
from pathlib import Path
from setpoint.serve.log import LogWriter
writer = LogWriter(Path(sys.argv[1]) / "log")
print("held", flush=True)
time.sleep(0.5)
writer.close()
"""


def test_a_process_whose_parent_was_gone_before_it_looked_ends_too() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert subprocess.run([sys.executable, "-c", ENDS, str(gone.pid)], check=False).returncode < 0


def test_a_successor_waits_until_the_server_before_it_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    before = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert before.stdout is not None
    assert before.stdout.readline() == b"held\n"
    began = time.monotonic()
    await_predecessor(tmp_path)
    assert 0.2 < time.monotonic() - began < 4
    assert before.wait(5) == 0
    before.stdout.close()


def test_nobody_waits_for_a_server_that_never_ran(tmp_path: Path) -> None:
    began = time.monotonic()
    await_predecessor(tmp_path)
    assert time.monotonic() - began < 1


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with (
        sole_owner(tmp_path),
        pytest.raises(Conflict, match=f"already up \\(process {os.getpid()}\\)"),
        sole_owner(tmp_path),
    ):
        pass
    with sole_owner(tmp_path):
        pass
