"""The main job in a terminal: a few days of the demo, to the JSON it ends with."""

import json
from pathlib import Path

import pytest
from tests.cli.running import free_ports, setpoint


@pytest.mark.slow
def test_the_demo_ends_with_one_json_object(tmp_path: Path) -> None:
    pages, inference = (str(port) for port in free_ports())
    out = setpoint(
        tmp_path, "demo", "--home", "store", "--until", "2013-03-03", "--no-ui", "--json",
        "--port", pages, "--inference-port", inference,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    told = json.loads(out.stdout.splitlines()[-1])
    assert told["predictions"] > 1000
    assert told["labels"] <= told["predictions"]
    assert told["versions"][0]["number"] == 1
    assert told["events_verified"] is True
    assert "Traceback" not in out.stderr
    listed = setpoint(tmp_path, "status", "--home", "store", "--json")
    assert json.loads(listed.stdout)["models"][0]["live"] == 1
    verified = setpoint(tmp_path, "events", "verify", "--home", "store")
    assert verified.returncode == 0, verified.stdout
