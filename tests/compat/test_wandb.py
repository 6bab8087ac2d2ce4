"""The wandb client, unchanged, against a server of ours; document by document, story by story."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    parse,
    print_ast,
    validate,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.compat import matrix
from tests.compat.conftest import Recorder, Running, client, lines, running, stories
from tests.compat.environments import needed
from tests.server.web import ask

from setpoint.server.wandb.answers import schema

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = HERE / "wandb_journeys.py"
JOURNEYS = re.findall(r"^@journey\ndef (\w+)\(", SCRIPT.read_text(), re.MULTILINE)
#: Those that take long and add nothing about the database.
LONG = {
    name
    for name in JOURNEYS
    if re.search("search|sweep|early|verification|stopped|machine|many", name)
}

#: What is not answered, all of it: teams and their people, registries above projects, launch
#: queues, automations, reports, charts kept on the server, uploads in parts.
NOT_OFFERED = re.compile(
    r"Team|Invite|ServiceAccount|User|ApiKey|Registr|Launch|RunQueue|Resource|Integration"
    r"|Automation|Trigger|Webhook|Slack|View|Report|CustomChart|Multipart|RewindRun|Job"
    r"|Organization|Scope|Entity"
)


class Documents(Recorder):
    """Notes, besides, which documents were answered, by the name of their operation."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self.answered: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/graphql":
            await super().__call__(scope, receive, send)
            return
        body = bytearray()
        status = []

        async def read() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        await super().__call__(scope, read, note)
        if status == [200]:
            self.answered |= {name for name, _ in _operations(json.loads(body)["query"])}


def _operations(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and place of a document's operations: ``query project.run``."""
    for found in parse(text).definitions:
        if isinstance(found, OperationDefinitionNode):
            path = []
            here = found.selection_set
            for _ in range(2):
                fields = [one for one in here.selections if isinstance(one, FieldNode)]
                if not fields:
                    break
                path.append(fields[0].name.value)
                if fields[0].selection_set is None or found.operation.value == "mutation":
                    break
                here = fields[0].selection_set
            name = found.name.value if found.name else path[0]
            yield name, f"{found.operation.value} {'.'.join(path)}"


def _client(folder: Path, script: Path, *words: str) -> str:
    """Run a script whose settings and login are its own."""
    return client("wandb", script, *words, folder=folder, HOME=str(folder))


def _told(url: str, folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    return stories(_client(folder, SCRIPT, url, *names))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> list[DocumentNode]:
    """The documents that the client ships; those it makes of pieces are left out."""
    needed("wandb")
    folder = tmp_path_factory.mktemp("documents")
    (told,) = lines(_client(folder, HERE / "wandb_documents.py"), "documents")
    found = []
    for text in told["documents"]:
        try:
            found.append(parse(text))
        except GraphQLError:
            continue
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    needed("wandb")
    home = tmp_path_factory.mktemp("wandb")
    with running(home, f"sqlite:///{home / 'setpoint.db'}", Documents) as started:
        yield started


@pytest.fixture(scope="module")
def told(server: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return _told(server.url, tmp_path_factory.mktemp("client"), JOURNEYS)


@pytest.fixture(scope="module")
def told_on_postgresql(
    postgres: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    needed("wandb")
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE wandb_journeys")
    url = postgres.get_uri(database="wandb_journeys")
    with running(tmp_path_factory.mktemp("wandb"), url) as started:
        names = [name for name in JOURNEYS if name not in LONG]
        return _told(started.url, tmp_path_factory.mktemp("client"), names)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOURNEYS)
def test_the_real_client_gets_through(name: str, told: dict[str, dict[str, Any]]) -> None:
    assert not told[name]["error"], told[name]["error"]


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("name", [name for name in JOURNEYS if name not in LONG])
def test_the_real_client_gets_through_on_postgresql(
    name: str, told_on_postgresql: dict[str, dict[str, Any]]
) -> None:
    assert not told_on_postgresql[name]["error"], told_on_postgresql[name]["error"]


def test_every_document_it_ships_is_answered_but_for_what_is_not_offered(
    shipped: list[DocumentNode],
) -> None:
    assert len(shipped) > 100
    refused = {name for document in shipped for name in _names(document) if not _fits(document)}
    assert sorted(name for name in refused if not NOT_OFFERED.search(name)) == []


@pytest.mark.slow
def test_what_was_seen_is_kept_for_the_matrix(
    server: Running, shipped: list[DocumentNode], told: dict[str, dict[str, Any]]
) -> None:
    recorder: Any = server.recorder
    rows: dict[str, dict[str, Any]] = {}
    for document in shipped:
        for name, where in _places(document):
            row = {"call": name, "where": where, "answered": _fits(document)}
            if name not in rows or row["answered"]:
                rows[name] = row
    for name in recorder.answered - rows.keys():
        rows[name] = {"call": name, "where": "made of pieces", "answered": True}
    version = next(iter(told.values()))["version"]
    kept = [
        {"version": version, **row, "passed": name in recorder.answered}
        for name, row in sorted(rows.items())
    ]
    matrix.keep("wandb", kept)
    used = {row["call"] for row in kept if row["passed"]}
    assert {"UpsertBucket", "CommitArtifact", "HistoryPage", "Heartbeat", "Runs"} <= used


@pytest.mark.slow
def test_the_guide_works_as_written(server: Running, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "wandb.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python client=wandb\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    setting = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "WANDB_SILENT": "true"}
    for index, block in enumerate(blocks):
        script = tmp_path / f"block_{index}.py"
        script.write_text(f"import os\nos.environ.update({setting!r})\n{block}")
        _client(tmp_path, script)


@pytest.mark.slow
@pytest.mark.crash
def test_no_row_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    needed("wandb")
    script = tmp_path / "long.py"
    script.write_text(
        "import itertools, pathlib, time, wandb\n"
        "often = wandb.Settings(x_file_stream_transmit_interval=0.2)\n"
        "with wandb.init(project='killed', id='run', settings=often) as run:\n"
        "    for i in itertools.count():\n"
        "        run.log({'i': i, 'word': str(i)})\n"
        "        time.sleep(0.01)\n"
        "        if pathlib.Path('enough').exists():\n"
        "            break\n"
        "rows = list(wandb.Api().run('killed/run').scan_history())\n"
        "assert [row['i'] for row in rows] == list(range(i + 1)), (len(rows), i)\n"
        "assert [row['word'] for row in rows] == [str(n) for n in range(i + 1)]\n"
        "assert [row['_step'] for row in rows] == list(range(i + 1))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    setting = f"import os; os.environ.update(WANDB_BASE_URL='http://127.0.0.1:{port}', "
    setting += "WANDB_API_KEY='k' * 40)\n"
    script.write_text(setting + script.read_text())
    server = _serve(tmp_path, port)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _client(tmp_path, script)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failed.append(error)

    client = threading.Thread(target=run)
    client.start()
    try:
        for _ in range(3):
            _wait_for_rows(port)
            server.send_signal(signal.SIGKILL)
            server.wait()
            server = _serve(tmp_path, port)
        _wait_for_rows(port)
    finally:
        (tmp_path / "enough").touch()
        client.join(300)
        server.kill()
        server.wait()
    assert failed == []


def _serve(home: Path, port: int) -> "subprocess.Popen[bytes]":
    code = (
        "import sys, uvicorn; from pathlib import Path; from setpoint.config import Settings\n"
        "from setpoint.db.local import open_local; from setpoint.server.app import create_app\n"
        "home = Path(sys.argv[1]) / 'home'; url = f'sqlite:///{home}/setpoint.db'\n"
        "backend = open_local(Settings(home=home, database_url=url, actor='ada'))\n"
        "uvicorn.run(create_app(backend), port=int(sys.argv[2]), log_level='warning')\n"
    )
    command = [sys.executable, "-c", code, str(home), str(port)]
    started = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    _until(lambda: _asked(port, "{viewer{id}}") is not None)
    return started


def _wait_for_rows(port: int) -> None:
    """Wait until more rows have arrived than were there at first."""
    question = '{project(name:"killed"){run(name:"run"){historyLineCount}}}'

    def count() -> int:
        told = _asked(port, question) or {}
        run = (told.get("project") or {}).get("run") or {}
        return int(run.get("historyLineCount", 0))

    before = count()
    _until(lambda: count() > before)


def _asked(port: int, query: str) -> dict[str, Any] | None:
    try:
        body = json.dumps({"query": query}).encode()
        headers = {"content-type": "application/json"}
        url = f"http://127.0.0.1:{port}"
        answer = ask(url, "/graphql", method="POST", body=body, headers=headers)
    except OSError:
        return None
    told: dict[str, Any] = json.loads(answer.body)["data"]
    return told


def _until(holds: Any) -> None:
    ends = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < ends
        threading.Event().wait(0.05)


def _fits(document: DocumentNode) -> bool:
    return not validate(schema(), document)


def _names(document: DocumentNode) -> list[str]:
    return [name for name, _ in _places(document)]


def _places(document: DocumentNode) -> list[tuple[str, str]]:
    return list(_operations(print_ast(document)))
