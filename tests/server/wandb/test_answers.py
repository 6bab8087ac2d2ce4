"""Documents and streams over HTTP, as no client would send them."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.server.web import Answer, ask

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.events import store as events
from setpoint.server.wandb.tables import wandb_lines, wandb_rows, wandb_runs

Post = Callable[..., Answer]
JSON = {"content-type": "application/json"}


def gql(url: str, query: str, **variables: Any) -> tuple[int, dict[str, Any]]:
    """Ask a document; return status and answer."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    answer = ask(url, "/graphql", method="POST", body=body, headers=JSON)
    return answer.status, json.loads(answer.body)


def begin(url: str, name: str = "r1", **fields: Any) -> dict[str, Any]:
    """Make a run of project ``p``."""
    query = "mutation($i: UpsertBucketInput!) {upsertBucket(input: $i) {inserted bucket {id name}}}"
    status, told = gql(url, query, i={"name": name, "modelName": "p", **fields})
    assert status == 200, told
    made: dict[str, Any] = told["data"]["upsertBucket"]
    return made


def stream(url: str, body: Any, name: str = "r1", **headers: str) -> Answer:
    """Send a part of a run's stream."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/files/setpoint/p/{name}/file_stream"
    return ask(url, path, method="POST", body=data, headers=JSON | headers)


def rows(url: str, name: str = "r1") -> list[dict[str, Any]]:
    query = 'query($n: String!) {project(name: "p") {run(name: $n) {history(minStep: 0)}}}'
    _, told = gql(url, query, n=name)
    return [json.loads(line) for line in told["data"]["project"]["run"]["history"]]


def part(*lines: dict[str, Any], offset: int = 0) -> dict[str, Any]:
    content = [json.dumps(line) for line in lines]
    return {"files": {"wandb-history.jsonl": {"offset": offset, "content": content}}}


# Documents


def test_a_document_that_asks_for_what_is_not_there_names_the_nearest(empty: str) -> None:
    status, told = gql(empty, "{viewer {usernam}}")
    assert status == 400
    assert "Did you mean 'username'" in told["errors"][0]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"query": 3}', b"\xff", b'{"query": "{"}', b'{"query": ""}']
)
def test_what_is_no_document_is_refused(empty: str, body: bytes) -> None:
    answer = ask(empty, "/graphql", method="POST", body=body, headers=JSON)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"]


def test_a_document_of_endless_length_is_refused(empty: str) -> None:
    status, told = gql(empty, "{viewer {" + "id " * 10_000 + "}}")
    assert status == 400
    assert "token" in told["errors"][0]["message"]


def test_a_change_that_fails_in_any_field_leaves_nothing(empty: str) -> None:
    query = """mutation {
        upsertBucket(input: {name: "half", modelName: "p"}) {bucket {id}}
        stopRun(input: {id: "missing"}) {success}
    }"""
    status, told = gql(empty, query)
    assert status == 404
    assert "missing" in told["errors"][0]["message"]
    _, told = gql(empty, '{project(name: "p") {id}}')
    assert told["data"]["project"] is None


def test_what_the_client_leaves_null_says_nothing(empty: str) -> None:
    assert begin(empty, tags=["a"], anythingNew=None)["inserted"]
    query = "mutation($i: UpsertBucketInput!) {upsertBucket(input: $i) {inserted}}"
    status, _ = gql(empty, query, i={"name": "r2", "modelName": "p", "anythingNew": 1})
    assert status == 400


def test_introspection_tells_what_is_there(empty: str) -> None:
    _, told = gql(empty, '{__type(name: "Run") {fields {name}} none: __type(name: "X") {name}}')
    assert {"name": "historyKeys"} in told["data"]["__type"]["fields"]
    assert told["data"]["none"] is None


@pytest.mark.parametrize("identity", ["x", "QXJ0aWZhY3Q6", "QXJ0aWZhY3Q6YQ==", "UnVuOjE="])
def test_what_is_no_id_is_refused(empty: str, identity: str) -> None:
    status, told = gql(empty, "query($i: ID!) {artifact(id: $i) {id}}", i=identity)
    assert status == 400
    assert "is no id of a Artifact" in told["errors"][0]["message"]


def test_a_foreign_site_may_not_ask(empty: str) -> None:
    body = b'{"query": "{viewer {id}}"}'
    headers = {"origin": "https://evil.example", **JSON}
    assert ask(empty, "/graphql", method="POST", body=body, headers=headers).status == 403


# Streams


def test_a_part_that_is_sent_twice_is_kept_once(empty: str) -> None:
    begin(empty)
    sent = part({"loss": 1, "word": "x", "_step": 0, "_timestamp": 5}, {"loss": 2, "_step": 1})
    sent["files"]["output.log"] = {"offset": 0, "content": ["one", "two"]}
    for _ in range(2):
        assert stream(empty, sent).status == 200
    assert [(row["_step"], row["loss"]) for row in rows(empty)] == [(0, 1), (1, 2)]
    query = (
        '{project(name: "p") {run(name: "r1")'
        " {historyLineCount logLineCount historyKeys logLines {edges {node {line}}}}}}"
    )
    _, told = gql(empty, query)
    run = told["data"]["project"]["run"]
    assert (run["historyLineCount"], run["logLineCount"]) == (2, 2)
    assert run["historyKeys"]["keys"]["word"]["typeCounts"] == [{"type": "string", "count": 1}]
    assert [edge["node"]["line"] for edge in run["logLines"]["edges"]] == ["one", "two"]


def test_rows_may_come_out_of_order(empty: str) -> None:
    begin(empty)
    stream(empty, part({"a": 2, "_step": 2}, offset=2))
    stream(empty, part({"a": 0, "_step": 0}, {"a": 1, "_step": 1}))
    assert [row["a"] for row in rows(empty)] == [0, 1, 2]


def test_a_part_may_be_packed(empty: str) -> None:
    begin(empty)
    packed = gzip.compress(json.dumps(part({"a": 1, "_step": 0})).encode())
    assert stream(empty, packed, **{"content-encoding": "gzip"}).status == 200
    assert [row["a"] for row in rows(empty)] == [1]
    assert stream(empty, b"no gzip", **{"content-encoding": "gzip"}).status == 400


def test_a_part_that_unpacks_to_too_much_is_refused(empty: str) -> None:
    begin(empty)
    bomb = gzip.compress(b" " * (65 * 1024 * 1024))
    assert stream(empty, bomb, **{"content-encoding": "gzip"}).status == 413


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"files": 3}', {"files": {"wandb-history.jsonl": {"content": ["x"]}}}]
)
def test_a_part_that_cannot_be_read_changes_nothing(empty: str, body: Any) -> None:
    begin(empty)
    assert stream(empty, body).status == 400
    assert rows(empty) == []


def test_the_stream_of_a_run_that_is_not_there_is_refused(empty: str) -> None:
    assert stream(empty, part({"a": 1})).status == 404


def test_the_end_of_a_run_and_what_only_its_summary_has(empty: str) -> None:
    begin(empty)
    summary = json.dumps({"loss": 2, "best": 0.5, "words": "x", "_wandb": {"runtime": 3}})
    sent = part({"loss": 2, "_step": 0}) | {"complete": True, "exitcode": 2}
    sent["files"]["wandb-summary.json"] = {"offset": 0, "content": [summary]}
    stream(empty, sent)
    query = '{project(name: "p") {run(name: "r1") {state exitcode summaryMetrics historyKeys}}}'
    _, told = gql(empty, query)
    run = told["data"]["project"]["run"]
    assert (run["state"], run["exitcode"]) == ("failed", 2)
    assert json.loads(run["summaryMetrics"])["best"] == 0.5
    assert set(run["historyKeys"]["keys"]) == {"loss"}
    assert "best" not in rows(empty)[0]
    found = ask(
        empty,
        "/api/v1/runs.search",
        method="POST",
        body=b'{"filter": "metrics.best < 1 AND status = \'failed\'"}',
        headers=JSON,
    )
    assert [run["id"] for run in json.loads(found.body)["runs"]] == ["r1"]


def test_an_alert_is_an_event(empty: str, backend: LocalBackend) -> None:
    begin(empty)
    query = """mutation {notifyScriptableRunAlert(input: {entityName: "setpoint", projectName: "p",
        runName: "r1", title: "t", text: "x", severity: WARN}) {success}}"""
    assert gql(empty, query)[0] == 200
    with backend.reading() as conn:
        (event,) = events.latest(conn, kind="run.alerted")
    assert event.subject == "run:r1"
    assert event.detail == {"title": "t", "text": "x", "severity": "WARN"}


# Files


def _send(url: str, path: str, data: bytes) -> Answer:
    return ask(url, path, method="PUT", body=data, headers={})


def test_a_file_is_fetched_whole_or_in_part(empty: str) -> None:
    begin(empty)
    where = "/files/setpoint/p/r1/media/a%20b.bin"
    assert _send(empty, where, b"0123456789").status == 200
    assert ask(empty, where).body == b"0123456789"
    answer = ask(empty, where, headers={"range": "bytes=2-4"})
    assert (answer.status, answer.body) == (206, b"234")
    assert answer.headers["content-range"] == "bytes 2-4/10"
    assert ask(empty, where, headers={"range": "bytes=-3"}).body == b"789"
    assert ask(empty, where, headers={"range": "bytes=9-2"}).status == 200
    assert ask(empty, where, method="HEAD").headers["content-length"] == "10"
    assert ask(empty, "/files/setpoint/p/r1/none").status == 404


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "..", "%2e%2e/x", "/etc/passwd", "a\\..\\x", "a%00b"]
)
def test_no_path_leads_out(empty: str, path: str) -> None:
    begin(empty)
    answer = _send(empty, f"/files/setpoint/p/r1/{path}", b"x")
    assert answer.status in {400, 404, 405}
    query = '{project(name: "p") {run(name: "r1") {fileCount}}}'
    assert gql(empty, query)[1]["data"]["project"]["run"]["fileCount"] == 0
    query = """mutation($f: [String!]!) {createRunFiles(input: {entityName: "setpoint",
        projectName: "p", runName: "r1", files: $f}) {runID}}"""
    assert gql(empty, query, f=["a/../../x"])[0] == 400


def test_content_that_changed_on_its_way_is_refused(empty: str, backend: LocalBackend) -> None:
    md5 = hashlib.md5(b"right", usedforsecurity=False).hexdigest()
    answer = _send(empty, f"/artifactsV2/content/{md5}/x", b"wrong")
    assert answer.status == 400
    assert b"send them again" in answer.body
    objects = Path(backend.settings.objects)
    assert [path for path in objects.rglob("*") if path.is_file()] == []
    assert ask(empty, f"/artifactsV2/content/{md5}/x").status == 404
    assert _send(empty, f"/artifactsV2/content/{md5}/x", b"right").status == 200
    assert ask(empty, f"/artifactsV2/any/setpoint/p/c/{md5}/x").body == b"right"


def test_an_artifact_is_no_version_before_all_of_it_is_here(empty: str) -> None:
    begin(empty)
    digest = base64.b64encode(hashlib.md5(b"A", usedforsecurity=False).digest()).decode()
    _, told = gql(
        empty,
        """mutation {createArtifact(input: {entityName: "setpoint", projectName: "p", runName: "r1",
        artifactTypeName: "t", artifactCollectionName: "c", digest: "d"}) {artifact {id state}}}""",
    )
    made = told["data"]["createArtifact"]["artifact"]
    assert made["state"] == "PENDING"
    commit = "mutation($i: ID!) {commitArtifact(input: {artifactID: $i}) {artifact {state}}}"
    status, told = gql(empty, commit, i=made["id"])
    assert (status, told["errors"][0]["message"]) == (409, "the artifact has no manifest")
    _, told = gql(
        empty,
        """mutation($i: ID!) {createArtifactManifest(input: {artifactID: $i, name: "m", digest: "d",
        entityName: "setpoint", projectName: "p", runName: "r1"})
        {artifactManifest {file {uploadUrl}}}}""",
        i=made["id"],
    )
    where = told["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
    path = where.removeprefix(empty)
    manifest = {"version": 1, "contents": {"a": {"digest": digest, "size": 1}}}
    assert _send(empty, path, json.dumps(manifest).encode()).status == 200
    status, told = gql(empty, commit, i=made["id"])
    assert status == 409
    assert "1 files of the artifact have not arrived, e.g. 'a'" in told["errors"][0]["message"]
    md5 = hashlib.md5(b"A", usedforsecurity=False).hexdigest()
    assert _send(empty, f"/artifactsV2/content/{md5}/a", b"A").status == 200
    assert gql(empty, commit, i=made["id"])[0] == 200
    query = '{project(name: "p") {artifact(name: "c:latest") {versionIndex size fileCount}}}'
    found = gql(empty, query)[1]["data"]["project"]["artifact"]
    assert found == {"versionIndex": 0, "size": 1, "fileCount": 1}


# Pages


def test_the_address_that_the_client_prints_leads_to_the_run(empty: str) -> None:
    begin(empty, name="odd name")
    answer = ask(empty, "/setpoint/p/runs/odd%20name")
    assert answer.status == 303
    assert ask(empty, answer.headers["location"]).status == 200
    assert ask(empty, "/setpoint/p/runs/none").status == 404
    sweep, _ = _sweep(empty, {"method": "grid", "parameters": {"a": {"values": [1]}}})
    for path in ("/setpoint/p", f"/setpoint/p/sweeps/{sweep}"):
        answer = ask(empty, path)
        assert answer.status == 303
        assert ask(empty, answer.headers["location"]).status == 200
    assert ask(empty, "/setpoint/none").status == 404


# Keeping


def test_what_is_known_of_a_run_goes_with_it(empty: str, backend: LocalBackend) -> None:
    begin(empty)
    sent = part({"word": "x", "_step": 0})
    sent["files"]["output.log"] = {"offset": 0, "content": ["a line"]}
    stream(empty, sent)
    assert gql(empty, 'mutation {deleteRun(input: {id: "r1"}) {clientMutationId}}')[0] == 200
    _, told = gql(empty, '{project(name: "p") {run(name: "r1") {id} runCount}}')
    assert told["data"]["project"] == {"run": None, "runCount": 0}
    assert ask(empty, "/api/v1/runs.gc", method="POST", body=b"{}", headers=JSON).status == 200
    with backend.reading() as conn:
        for table in (wandb_runs, wandb_rows, wandb_lines):
            assert conn.execute(select(func.count()).select_from(table)).scalar_one() == 0
    assert begin(empty)["inserted"]
    assert rows(empty) == []


# Sweeps

_SWEEP = """mutation($c: String) {upsertSweep(input: {config: $c, projectName: "p"})
    {sweep {name state} configValidationWarnings}}"""
_AGENT = 'mutation($s: String!) {createAgent(input: {host: "h", sweep: $s}) {agent {id}}}'
_BEAT = """mutation($a: ID!, $r: JSONString) {agentHeartbeat(input: {id: $a, runState: $r})
    {commands}}"""


def _sweep(url: str, config: dict[str, Any]) -> tuple[str, list[str]]:
    _, told = gql(url, _SWEEP, c=json.dumps(config))
    made = told["data"]["upsertSweep"]
    return made["sweep"]["name"], made["configValidationWarnings"]


def _agent(url: str, sweep: str) -> str:
    _, told = gql(url, _AGENT, s=sweep)
    identity: str = told["data"]["createAgent"]["agent"]["id"]
    return identity


def _commands(url: str, agent: str, *running: str) -> list[dict[str, Any]]:
    state = json.dumps(dict.fromkeys(running, True))
    _, told = gql(url, _BEAT, a=agent, r=state)
    commands: list[dict[str, Any]] = json.loads(told["data"]["agentHeartbeat"]["commands"])
    return commands


def test_agents_walk_a_grid_together_and_leave_when_it_is_done(empty: str) -> None:
    values = [1, 2, 3]
    sweep, warnings = _sweep(empty, {"method": "grid", "parameters": {"x": {"values": values}}})
    assert warnings == []
    one, other = _agent(empty, sweep), _agent(empty, sweep)
    handed = [_commands(empty, agent)[0] for agent in (one, other, one)]
    assert [command["args"]["x"]["value"] for command in handed] == values
    assert _commands(empty, other, handed[1]["run_id"]) == []  # it is busy
    for command in handed:
        begin(empty, name=command["run_id"], sweep=sweep)
    assert _commands(empty, one) == []  # the others' runs go on
    for command in handed:
        stream(empty, {"complete": True, "exitcode": 0}, name=command["run_id"])
    assert _commands(empty, one) == [{"type": "exit"}]
    query = 'query($s: String!) {project(name: "p") {sweep(sweepName: $s) {state runCount}}}'
    _, told = gql(empty, query, s=sweep)
    assert told["data"]["project"]["sweep"] == {"state": "FINISHED", "runCount": 3}


def test_a_run_whose_order_was_lost_is_ordered_again_once(empty: str, clock: ManualClock) -> None:
    sweep, _ = _sweep(empty, {"method": "grid", "parameters": {"x": {"values": [1]}}})
    agent = _agent(empty, sweep)
    (first,) = _commands(empty, agent)
    clock.advance(timedelta(minutes=2))
    assert _commands(empty, agent) == [first]
    clock.advance(timedelta(minutes=2))
    assert _commands(empty, agent) == [{"type": "exit"}]


def test_what_is_wrong_with_a_sweep_is_said_when_it_is_made(empty: str) -> None:
    config: dict[str, Any] = {"method": "bayes", "parameters": {"x": {"min": 1.0}}}
    sweep, warnings = _sweep(empty, config)
    assert [text.split(".")[0] for text in warnings] == [
        "parameter x needs min and max",
        "this sweep needs a metric",
    ]
    assert sweep
    assert "method is 'magic'" in _sweep(empty, {"method": "magic"})[1][0]
