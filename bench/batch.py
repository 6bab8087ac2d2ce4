"""A Parquet file scored by `setpoint batch` beside a script that reads it whole and asks the model.

A million rows of 30 numbers. The script is what one writes by hand: Polars reads the file,
scikit-learn scores it, Polars writes ids and scores. It logs nothing, cannot go on after a kill,
and holds all of it in memory. Both are processes of their own, so starting counts.
"""

import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from setpoint.artifacts.store import open_store
from setpoint.config import environment as environment_of
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.models.build import build
from setpoint.models.service import Register, register

NAME = "batch"
ROWS, SLOW_ROWS = 1_000_000, 100_000
FEATURES = 30

_BY_HAND = """
import pickle, re, sys
import polars as pl
table = pl.read_parquet(sys.argv[1])
model = pickle.loads(open(sys.argv[2], "rb").read())
scores = model.predict_proba(table.drop("id").to_numpy())[:, 1]
table.select("id").with_columns(score=scores).write_parquet(sys.argv[3])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
_OURS = """
import re, sys
from setpoint.cli.main import run
code = run(sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
sys.exit(code)
"""


def run() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5_000, FEATURES))
    y = (x @ rng.normal(size=FEATURES) > 0).astype(int)
    linear = LogisticRegression().fit(x, y)
    forest = RandomForestClassifier(100, random_state=0).fit(x, y)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _store(folder / "home", x, {"linear": linear, "forest": forest})
        for model, fitted, rows in (("linear", linear, ROWS), ("forest", forest, SLOW_ROWS)):
            table = folder / f"{model}.parquet"
            columns = {f"x{i}": rng.normal(size=rows) for i in range(FEATURES)}
            ids = pl.int_range(rows, eager=True).cast(pl.String).alias("id")
            pl.DataFrame({"id": ids, **columns}).write_parquet(table)
            (folder / model).write_bytes(pickle.dumps(fitted))
            words = [str(table), str(folder / model), str(folder / "by-hand.parquet")]
            by_hand, its = _best(_BY_HAND, words, folder)
            for what, more in (
                ("", []), (", not logged", ["--no-log"]), (", 2 workers", ["--workers", "2"]),
            ):  # fmt: skip
                out = str(folder / "out.parquet")
                asked = ["batch", model + ":1", str(table), "-o", out, "--id", "id", "--overwrite"]
                seconds, ours = _best(_OURS, [*asked, *more], folder)
                found.append(
                    {
                        "work": f"{rows:,} rows, {model}{what}",
                        "ours": round(seconds, 2),
                        "peer": round(by_hand, 2),
                        "peer_version": "Polars and scikit-learn by hand",
                        "ratio": round(by_hand / seconds, 2),
                        "unit": "s",
                    }
                )
                if not more:
                    found.append(
                        {
                            "work": f"{rows:,} rows, {model}, memory",
                            "ours": ours,
                            "peer": its,
                            "peer_version": "Polars and scikit-learn by hand",
                            "ratio": round(its / ours, 2),
                            "unit": "MB",
                        }
                    )
    return found


def _store(home: Path, x: Any, models: dict[str, Any]) -> None:
    backend = open_local(settings(home))
    frame = pl.DataFrame({f"x{i}": x[:, i] for i in range(FEATURES)})
    for name, model in models.items():
        objects = open_store(backend.settings)
        held = build(objects, model, frame, rng=np.random.default_rng(1))
        fields = {each: getattr(held, each) for each in held.__struct_fields__}
        backend.call(register, Register(model=name, run_id=f"run_{name}", why="", **fields))
    backend.engine.dispose()


def _best(script: str, words: list[str], folder: Path) -> tuple[float, int]:
    """Return the shorter of two runs in seconds, and the most memory in MB."""
    environment = environment_of(settings(folder / "home"))
    took, memory = [], 0
    for _ in range(2):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        took.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
        memory = max(memory, int(done.stdout.splitlines()[-1]))
    return min(took), memory
