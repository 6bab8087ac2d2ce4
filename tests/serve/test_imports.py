import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_starting_imports_nothing_heavy() -> None:
    code = "import sys, setpoint.serve.main as m; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"polars", "pandas", "sklearn", "lightgbm", "pyarrow", "scipy"})
    assert "sqlalchemy" not in loaded, "a package is served without a database"
