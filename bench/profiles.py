"""A profile pass against Evidently's default drift preset: CPU time on the same rows."""

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.profiles.distances import distances
from setpoint.profiles.profile import profile
from setpoint.profiles.reference import build_reference

NAME = "profiles"
ROWS, COLUMNS = 100_000, 50
VERSION = "0.7.23"
_PEER = Path(__file__).parent / ".peers" / "evidently"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")

# Runs in the peer's environment: reads two files, reports, prints CPU seconds.
_SCRIPT = """
import sys, time
import numpy as np, pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset
names = [f"x{i}" for i in range(int(sys.argv[3]))]
before, after = (pd.DataFrame(np.load(path), columns=names) for path in sys.argv[1:3])
start = time.process_time()
now, then = Dataset.from_pandas(after), Dataset.from_pandas(before)
Report([DataDriftPreset()]).run(now, then).dict()
print(time.process_time() - start)
"""


def run() -> list[dict[str, Any]]:
    """Measure both, one after the other, in processes of their own.

    The work of each is what one looks at every window: rows in, a distance for each column
    out. The reference is read before the clock starts where the tool allows it: ours keeps
    a profile, the peer must read the reference's rows again.
    """
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        paths = [Path(folder) / name for name in ("before.npy", "after.npy")]
        for path in paths:
            np.save(path, rng.normal(size=(ROWS, COLUMNS)))
        arguments = [*map(str, paths), str(COLUMNS)]
        ours = _seconds([sys.executable, __file__, *arguments])
        peer = _seconds([str(_peer()), "-W", "ignore", "-c", _SCRIPT, *arguments])
    return [
        {
            "work": f"drift of {ROWS:,} rows x {COLUMNS} columns",
            "ours": ours,
            "peer": peer,
            "peer_version": f"evidently {VERSION}",
            "ratio": peer / ours,
            "unit": "CPU s",
        }
    ]


def _peer() -> Path:
    """Return the Python of the peer's environment, made on first use."""
    python = _PEER / "bin" / "python"
    ready = _PEER / f"evidently-{VERSION}"
    if not ready.exists():
        venv.create(_PEER, with_pip=True)
        # it says neither that pandas 3 nor that new numpy breaks it
        needs = [f"evidently=={VERSION}", "pandas<3", "numpy<2.4"]
        command = [str(python), "-m", "pip", "install", "-q", *needs]
        subprocess.run(command, check=True)
        ready.touch()
    return python


def _seconds(command: list[str]) -> float:
    environment = {**os.environ, **_ONE_THREAD, "DO_NOT_TRACK": "1"}  # noqa: TID251
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def _ours(before: str, after: str, columns: int) -> float:
    """Return the CPU seconds of one profile and its distances, the median of five."""
    names = [f"x{i}" for i in range(columns)]
    old, new = (np.ascontiguousarray(np.load(path).T) for path in (before, after))
    reference = build_reference(dict(zip(names, old, strict=True)))
    batch = dict(zip(names, new, strict=True))
    taken = []
    for _ in range(5):
        start = time.process_time()
        found = distances(reference, profile(batch, reference))
        taken.append(time.process_time() - start)
        assert len(found) == columns
    return sorted(taken)[2]


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(_ours(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    else:
        print(json.dumps(run(), indent=2))
