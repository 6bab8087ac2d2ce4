"""A real server does what its OpenAPI document says, whatever is sent: asked by schemathesis."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compat.environments import needed
from tests.load import clients
from tests.load.wire import Wire, request
from tests.serve.made import live
from tests.serve.processes import process

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve import store

EXAMPLES = clients.of(8, 200)  #: for each operation
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def port(settings: Settings, backend: LocalBackend) -> Iterator[int]:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
    with process(settings) as (_, found):
        yield found


def test_a_server_does_what_its_document_says(port: int, tmp_path: Path) -> None:
    python = needed("schemathesis")
    phases = "examples,coverage,fuzzing"
    asked = subprocess.run(
        [
            python.with_name("st"),
            "run",
            f"http://127.0.0.1:{port}/openapi.json",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={EXAMPLES}",
            f"--phases={phases}",
            "--mode=all",
            "--seed=7",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=1_800,
    )
    assert asked.returncode == 0, asked.stdout[-6_000:] + asked.stderr[-2_000:]
    answer = Wire(port).ask(request("/v2/models/m"))
    assert json.loads(answer.body)["name"] == "m"
