"""Two servers on one PostgreSQL and one S3 store: each serves what the other took."""

import hashlib
import http.client
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import obstore
import psycopg
import pytest
from tests.cli.running import ENVIRONMENT, answers, command, free_ports, until
from tests.notify.receivers import receiver
from tests.s3_server import S3Server
from tests.server.web import Answer, ask

import setpoint as sp
from setpoint.artifacts.contract import address_of, key_of
from setpoint.config import AWS_VARIABLES
from setpoint.errors import Unavailable
from setpoint.models import service as models
from setpoint.models.registry import commands as registry
from setpoint.models.registry import service as registering
from setpoint.notify import service as notify
from setpoint.runs import columns, commands, service
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Artifact
from setpoint.sdk.capture import Capture
from setpoint.sdk.remote import HttpBackend

LARGE = os.urandom(11_000_000)  # more than two parts
QUIET = Capture(code=False, environment=False, host=False, system=0.0)
FILES = "/api/2.0/mlflow-artifacts"


class Server:
    """A process of `setpoint server`, with a home of its own."""

    def __init__(self, home: Path, shared: dict[str, str]) -> None:
        self._port = free_ports()[0]
        self._command = command("server", "--port", str(self._port), "--home", str(home))
        self._shared = shared
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.backend = HttpBackend(self.url)

    def start(self) -> None:
        environment = ENVIRONMENT | self._shared
        output = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=environment, stdout=output)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None
        return answers(f"{self.url}/healthz")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.backend.close()

    def ask(self, path: str, **asked: Any) -> Answer:
        return ask(self.url, path, **asked)

    def mlflow(self, call: str, **message: Any) -> Any:
        body = json.dumps(message).encode()
        headers = {"content-type": "application/json"}
        answer = self.ask(call, method="POST", body=body, headers=headers)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)


class Pair:
    def __init__(self, one: Server, other: Server, bucket: obstore.store.S3Store) -> None:
        self.one, self.other, self.bucket = one, other, bucket

    def __iter__(self) -> Iterator[Server]:
        return iter((self.one, self.other))

    def held(self) -> set[str]:
        """Return the names of all objects."""
        return {each["path"] for some in obstore.list(self.bucket, "team") for each in some}


@pytest.fixture(scope="module")
def pair(postgres: Any, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shared")
    bucket = s3.make()
    shared = {
        "SETPOINT_DATABASE_URL": postgres.get_uri(database="shared"),
        "SETPOINT_ARTIFACT_URL": f"{bucket}/team",
        **{AWS_VARIABLES[name][0]: value for name, value in s3.aws.given().items()},
    }
    homes = tmp_path_factory.mktemp("servers")
    found = Pair(Server(homes / "a", shared), Server(homes / "b", shared), s3.bucket(bucket[5:]))
    for server in found:
        server.start()
    try:
        for server in found:
            until(server.answers, "the server answers")
        yield found
    finally:
        for server in found:
            server.kill()


@pytest.fixture(params=["there", "back"])
def way(request: pytest.FixtureRequest, pair: Pair) -> tuple[Server, Server]:
    """Both ways between the servers."""
    return (pair.one, pair.other) if request.param == "there" else (pair.other, pair.one)


def points(count: int, start: int = 0) -> list[Any]:
    steps = np.arange(start, start + count)
    return [columns.series("loss", Columns(steps, steps * 1_000, steps / 2.0))]


def history(server: Server, run: str) -> list[float]:
    found = server.backend.call(service.history, commands.History(run=run, metric="loss"))
    values: list[float] = np.frombuffer(found.values, "<f8").tolist()
    return values


def test_a_run_that_one_took_is_read_resumed_compared_and_downloaded_from_the_other(
    way: tuple[Server, Server], tmp_path: Path
) -> None:
    first, second = way
    with sp.run("churn", url=first.url, home=tmp_path, params={"a": 1}, capture=QUIET) as run:
        run.log(loss=0.5)
        run.artifact("large.bin", LARGE)
        run.artifact("note.txt", "hello")
        assert run.flush()
        assert second.backend.call(service.show, commands.ShowRun(run=run.id)).status == "running"
    with sp.run("churn", url=second.url, home=tmp_path, id=run.id, capture=QUIET) as again:
        again.log(loss=0.25)
        again.artifact("more.txt", "later")
    with sp.run("churn", url=second.url, home=tmp_path, params={"a": 2}, capture=QUIET) as other:
        other.log(loss=0.1)
    for server in way:
        found = server.backend.call(service.show, commands.ShowRun(run=run.id))
        assert (found.status, found.params) == ("finished", {"a": 1})
        assert history(server, run.id) == [0.5, 0.25]
        assert set(found.artifacts) == {"large.bin", "note.txt", "more.txt"}
        content = server.ask(f"/objects/{found.artifacts['large.bin'].address}").body
        assert content == LARGE
        root = f"{FILES}/artifacts/{found.experiment_id}/{run.id}/artifacts"
        part = server.ask(f"{root}/large.bin", headers={"range": "bytes=6000000-6000099"})
        assert (part.status, part.body) == (206, LARGE[6_000_000:6_000_100])
        assert server.ask(f"{root}/more.txt").body == b"later"
        both = commands.Compare(runs=[run.id, other.id])
        differ = server.backend.call(service.compare, both).differences
        assert "a" in json.dumps([str(each) for each in differ])
        assert b"note.txt" in server.ask(f"/runs/{run.id}").body


def test_both_write_into_one_run_at_once_and_nothing_is_lost_or_doubled(pair: Pair) -> None:
    start = commands.Start(experiment="ranks", id="together")
    pair.one.backend.call(service.start, start)

    def write(rank: int) -> None:
        with closing(HttpBackend([pair.one, pair.other][rank % 2].url)) as backend:
            for batch in range(12):
                series = points(50, 1_000 * rank + 50 * batch)
                sent = commands.Append(
                    run="together", series=series, source=f"rank-{rank}", position=batch
                )
                assert backend.call(service.append, sent).points == 50
            here = Artifact(address=address_of(b"%d" % rank), size=1)
            ask(backend.url, f"/objects/{here.address}", method="PUT", body=b"%d" % rank)
            backend.call(
                service.log,
                commands.Log(
                    run="together", params={f"p{rank}": rank}, artifacts={f"f{rank}": here}
                ),
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    wanted = [(1_000 * rank + i) / 2 for rank in range(4) for i in range(600)]
    for server in pair:
        assert history(server, "together") == wanted
        found = server.backend.call(service.show, commands.ShowRun(run="together"))
        assert found.params == {f"p{rank}": rank for rank in range(4)}
        assert set(found.artifacts) == {f"f{rank}" for rank in range(4)}


@contextmanager
def following(server: Server, path: str) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)) as line:
        line.request("GET", path)
        reply = line.getresponse()
        assert reply.readline() == b"retry: 2000\n"
        yield reply


def heard(reply: http.client.HTTPResponse, event: bytes) -> dict[str, Any]:
    """Read frames until one of an event; return what it says."""
    while reply.readline().strip() != b"event: " + event:
        pass
    told: dict[str, Any] = json.loads(reply.readline().removeprefix(b"data: "))
    return told


def test_a_page_of_one_follows_what_the_other_receives(way: tuple[Server, Server]) -> None:
    first, second = way
    run = first.backend.call(service.start, commands.Start(experiment="live")).id
    seen = threading.Event()

    def train() -> None:
        with closing(HttpBackend(first.url)) as backend:
            for batch in itertools.count():
                backend.call(service.append, commands.Append(run=run, series=points(1, batch)))
                if seen.wait(0.05):
                    break
            backend.call(service.finish, commands.Finish(run=run))

    with following(second, f"/live?run={run}") as reply, ThreadPoolExecutor(1) as pool:
        training = pool.submit(train)
        assert heard(reply, b"grown") == {"status": "running", "metrics": ["loss"]}
        seen.set()
        training.result()
        told = heard(reply, b"grown")
        while told["status"] != "finished":
            told = heard(reply, b"grown")
    with following(second, "/live") as reply:
        name = f"seen-{run}"
        first.backend.call(registering.create, registry.CreateModel(model=name))
        assert heard(reply, b"change")["subject"] == f"model:{name}"


def test_an_alias_that_moves_on_one_has_moved_on_the_other(pair: Pair) -> None:
    make, add = registering.create, registering.add_version
    pair.one.backend.call(make, registry.CreateModel(model="churn"))
    for server in [*pair, *pair]:
        server.backend.call(add, registry.AddVersion(model="churn", source="s3://x/y"))
    for turn in range(8):
        mover, reader = (pair.one, pair.other) if turn % 2 else (pair.other, pair.one)
        number = turn % 4 + 1
        moved = models.SetAlias(model="churn", alias="best", number=number, reason="x")
        mover.backend.call(models.alias, moved)
        asked = "/api/2.0/mlflow/registered-models/alias?name=churn&alias=best"
        found = json.loads(reader.ask(asked).body)
        assert found["model_version"]["version"] == str(number)


def test_a_channel_is_told_of_each_event_once(pair: Pair) -> None:
    names = [f"told-{i}" for i in range(24)]
    with receiver() as there:
        channel = notify.AddChannel(
            name="ops", kind="webhook", url=there.url, events=["model.created"]
        )
        pair.one.backend.call(notify.add, channel)

        def create(number: int) -> None:
            with closing(HttpBackend([pair.one, pair.other][number % 2].url)) as backend:
                backend.call(registering.create, registry.CreateModel(model=names[number]))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(create, range(len(names))))

        def settled() -> bool:
            log = pair.other.backend.call(notify.log, notify.ListDeliveries(limit=100)).deliveries
            ended = [each for each in log if each.state == "delivered"]
            return len(ended) == len(names) and all(each.attempts == 1 for each in ended)

        until(settled, "all was told")
        told = sorted(json.loads(post.body)["data"]["subject"] for post in there.posts)
        assert told == sorted(f"model:{name}" for name in names)
        pair.other.backend.call(notify.rm, notify.OneChannel(channel="ops"))


def test_an_upload_in_parts_may_go_through_both(pair: Pair) -> None:
    before = pair.held()
    begun = pair.one.mlflow(f"{FILES}/mpu/create/parts", path="x.bin", num_parts=3)
    size = len(LARGE) // 3 + 1
    for number, server in ((1, pair.one), (3, pair.other), (2, pair.other)):
        path = f"{FILES}/mpu/part/{begun['upload_id']}/{number}"
        piece = LARGE[(number - 1) * size : number * size]
        assert server.ask(path, method="PUT", body=piece, headers={}).status == 200
    ending = {"upload_id": begun["upload_id"], "parts": [{"part_number": i} for i in (1, 2, 3)]}
    pair.other.mlflow(f"{FILES}/mpu/complete/parts", path="x.bin", **ending)
    assert pair.one.ask(f"{FILES}/artifacts/parts/x.bin").body == LARGE
    assert pair.held() - before <= {f"team/{key_of(address_of(LARGE))}"}, "parts are left"


def test_content_that_the_wandb_client_sends_to_one_is_fetched_from_the_other(
    way: tuple[Server, Server],
) -> None:
    first, second = way
    content = os.urandom(1000)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = f"/artifactsV2/content/{md5}/x.bin"
    assert first.ask(path, method="PUT", body=content, headers={}).status == 200
    assert second.ask(path).body == content


def test_what_one_deletes_the_other_frees_and_counts(way: tuple[Server, Server]) -> None:
    first, second = way
    with ExitStack() as stack:
        backends = [stack.enter_context(closing(HttpBackend(each.url))) for each in way]
        run = backends[0].call(service.start, commands.Start(experiment="gc")).id
        content = os.urandom(5_000)
        address = address_of(content)
        first.ask(f"/objects/{address}", method="PUT", body=content, headers={})
        here = {"x": Artifact(address=address, size=len(content))}
        backends[0].call(service.log, commands.Log(run=run, artifacts=here))
        backends[0].call(service.delete, commands.OneRun(run=run))
        assert second.ask(f"/objects/{address}", method="HEAD").status == 200
        freed = backends[1].call(service.collect, commands.Collect(older_than=0))
    assert (freed.objects, freed.bytes) == (1, 5_000)
    assert first.ask(f"/objects/{address}").status == 404


def test_what_is_corrupt_in_the_bucket_is_never_sent_as_if_it_were_whole(pair: Pair) -> None:
    for content in (b"weights", os.urandom(3_000_000)):
        address = address_of(content)
        pair.one.ask(f"/objects/{address}", method="PUT", body=content, headers={})
        obstore.put(pair.bucket, f"team/{key_of(address)}", content[:-1] + b"?")
        if len(content) < 1_000_000:
            answer = pair.other.ask(f"/objects/{address}")
            assert (answer.status, "corrupt" in answer.text) == (400, True)
        else:
            with pytest.raises(http.client.IncompleteRead):
                pair.other.ask(f"/objects/{address}")


def test_a_server_that_is_killed_loses_nothing_and_the_other_goes_on(pair: Pair) -> None:
    pair.other.backend.call(service.start, commands.Start(experiment="killed", id="survives"))
    acknowledged: list[int] = []
    enough = threading.Event()

    def train() -> None:
        with closing(HttpBackend(pair.one.url)) as backend:
            for batch in itertools.count():
                sent = commands.Append(
                    run="survives", series=points(10, 10 * batch), source="w", position=batch
                )
                try:
                    backend.call(service.append, sent)
                except Unavailable:
                    return
                acknowledged.append(batch)
                if batch == 30:
                    enough.set()

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train)
        assert enough.wait(60)
        pair.one.kill()
        training.result()
    batches = acknowledged[-1] + 1
    kept = history(pair.other, "survives")
    assert kept[: 10 * batches] == [i / 2 for i in range(10 * batches)]
    for batch in (batches, batches + 1):  # the last may have been kept, and not acknowledged
        sent = commands.Append(
            run="survives", series=points(10, 10 * batch), source="w", position=batch
        )
        pair.other.backend.call(service.append, sent)
    assert history(pair.other, "survives") == [i / 2 for i in range(10 * batches + 20)]
    pair.one.start()
    until(pair.one.answers, "the killed server answers again")
    assert history(pair.one, "survives") == [i / 2 for i in range(10 * batches + 20)]
