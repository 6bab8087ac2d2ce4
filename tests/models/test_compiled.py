"""ONNX Runtime as it is loaded here."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.running import ROOT


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    code = "from setpoint.models import compiled; compiled._onnxruntime()"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {
        "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*")), "it keeps an id of this machine to report with"
