"""SageMaker's asynchronous invocations: from a real S3 and to it, over kills of the server."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import obstore
import pytest
from msgspec.structs import replace
from tests.s3_server import S3Server
from tests.serve.conftest import Served
from tests.serve.jobs.test_jobs import until
from tests.serve.jobs.test_queue import run
from tests.serve.made import Raises, canary, live
from tests.serve.processes import Sleeps, process

from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import MissingExtra
from setpoint.serve import store, writers
from setpoint.serve.client import Inference
from setpoint.serve.entities import Place as At
from setpoint.serve.entities import PredictionRecord
from setpoint.serve.jobs import objects, outbox
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.outbox import Depot
from setpoint.serve.jobs.queue import Jobs

ROOT = Path(__file__).parents[3]
PATH = "/endpoints/m/async-invocations"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Place:
    """A bucket for a test, looked into past the server."""

    def __init__(self, s3: S3Server) -> None:
        self.aws = s3.aws
        self.url = s3.make()
        self.depot = Depot(f"{self.url}/answers", s3.aws)
        self.bucket = s3.bucket(self.url.removeprefix("s3://"))

    def given(self, body: bytes, key: str = "in/rows.csv") -> str:
        obstore.put(self.bucket, key, body)
        return f"{self.url}/{key}"

    def answer(self, location: str) -> bytes | None:
        """Return what was put somewhere, None if nothing was."""
        try:
            return bytes(obstore.get(self.bucket, self._key(location)).bytes())
        except FileNotFoundError:
            return None

    def kind(self, location: str) -> str:
        return str(obstore.get(self.bucket, self._key(location)).attributes["Content-Type"])

    def keys(self) -> list[str]:
        return sorted(each["path"] for some in obstore.list(self.bucket) for each in some)

    def _key(self, location: str) -> str:
        return location.removeprefix(f"{self.url}/")


@pytest.fixture
def place(s3: S3Server) -> Place:
    return Place(s3)


@contextmanager
def taking(
    backend: LocalBackend, home: Path, clock: ManualClock, depot: Depot | None
) -> Iterator[Served]:
    """Serve, its jobs in a folder that outlives the server."""
    one = Served(backend, home / "log", clock)
    one.app.jobs = Jobs(one.app, Folder(home / "jobs"), depot)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def served(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock, place: Place
) -> Iterator[Served]:
    with taking(backend, tmp_path, clock, place.depot) as one:
        one.deploy(live())
        yield one


def invoke(
    served: Served, where: str = "", body: bytes = b"", path: str = PATH, **more: str
) -> tuple[int, Any, dict[str, str]]:
    named = {"InputLocation": where, "Content-Type": "text/csv", "Accept": "text/csv"}
    named |= {name.replace("_", "-"): value for name, value in more.items()}
    headers = [
        (f"x-amzn-sagemaker-{name}".lower().encode(), value.encode())
        for name, value in named.items()
        if value
    ]
    status, raw, told = served.exchange("POST", path, body, headers)
    return status, json.loads(raw), told


def accepted(served: Served, where: str = "", body: bytes = b"", **more: str) -> dict[str, str]:
    status, said, told = invoke(served, where, body, PATH, **more)
    assert status == 202, said
    found = {key: told[f"x-amzn-sagemaker-{key}"] for key in ("outputlocation", "failurelocation")}
    return {**found, "InferenceId": said["InferenceId"]}


def logged(served: Served) -> list[str]:
    return [i for one in served.logged() if isinstance(one, PredictionRecord) for i in one.ids]


def test_an_answer_is_put_where_it_was_said_to_be(served: Served, place: Place) -> None:
    told = accepted(served, place.given(b"1,2\n3,4\n"), Inference_Id="i-7")
    assert told["InferenceId"] == "i-7"
    output = told["outputlocation"]
    assert output.startswith(f"{place.url}/answers/job_")
    assert place.answer(output) is None
    (job,) = served.get("/v2/models/m/jobs")[1]["jobs"]
    assert (job["state"], job["output"], job["delivered"]) == ("queued", output, False)
    run(served)
    assert place.answer(output) == b"3.0\n7.0\n"
    assert place.kind(output) == "text/csv"
    assert place.answer(told["failurelocation"]) is None
    (job,) = served.get("/v2/models/m/jobs")[1]["jobs"]
    assert (job["state"], job["output"], job["delivered"]) == ("done", output, True)
    status, raw, headers = served.exchange("GET", f"/v2/models/m/jobs/{job['id']}/result")
    assert (status, raw) == (200, b"3.0\n7.0\n")
    assert headers["x-amzn-invoked-production-variant"] == "1"
    assert logged(served) == ["i-7.0", "i-7.1"]


def test_an_input_may_be_sent_instead_and_an_id_is_made(served: Served, place: Place) -> None:
    told = accepted(served, body=b'{"instances": [[1, 2]]}', Content_Type="", Accept="")
    run(served)
    assert json.loads(place.answer(told["outputlocation"]) or b"") == {"predictions": [3.0]}
    assert logged(served) == [told["InferenceId"]]


def test_what_was_taken_is_scored_whatever_becomes_of_the_object(
    served: Served, place: Place
) -> None:
    told = accepted(served, place.given(b"1,2\n", "a b/%41 #+.csv"))
    place.given(b"garbage", "a b/%41 #+.csv")
    run(served)
    assert place.answer(told["outputlocation"]) == b"3.0\n"


def test_the_answer_is_named_as_it_is_asked(served: Served, place: Place) -> None:
    told = accepted(served, body=b"1,2\n", Filename="x.csv", S3OutputPathExtension="a/b/")
    assert told["outputlocation"] == f"{place.url}/answers/a/b/x.csv"
    run(served)
    assert place.keys() == ["answers/a/b/x.csv"]


def test_a_variant_may_be_named_and_is_not_forgotten(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock, place: Place
) -> None:
    with taking(backend, tmp_path, clock, place.depot) as served:
        served.deploy(live(1), canary(2, weight=0.0))
        told = [
            accepted(served, body=b"1,2\n", Target_Variant=variant)["outputlocation"]
            for variant in ("", "canary", "2", "1")
        ]
        run(served)
        assert [place.answer(each) for each in told] == [b"3.0\n", b"30.0\n", b"30.0\n", b"3.0\n"]


def test_a_model_that_fails_is_told_of_at_the_failure_location(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock, place: Place
) -> None:
    with taking(backend, tmp_path, clock, place.depot) as served:
        served.predictors[1] = Raises()
        served.deploy(live())
        told = accepted(served, place.given(b"1,2\n"))
        run(served)
        assert place.answer(told["outputlocation"]) is None
        said = json.loads(place.answer(told["failurelocation"]) or b"")
        assert "no luck" in said["message"]
        assert place.kind(told["failurelocation"]) == "application/json"
        (job,) = served.get("/v2/models/m/jobs")[1]["jobs"]
        assert (job["state"], job["output"]) == ("failed", told["failurelocation"])
        assert job["delivered"] is True


def test_one_that_is_cancelled_is_told_of_there_too(served: Served, place: Place) -> None:
    told = accepted(served, place.given(b"1,2\n"))
    job = served.get("/v2/models/m/jobs")[1]["jobs"][0]["id"]
    assert served.ask("DELETE", f"/v2/models/m/jobs/{job}")[0] == 200
    run(served)
    assert b"was cancelled" in (place.answer(told["failurelocation"]) or b"")
    assert place.answer(told["outputlocation"]) is None
    assert logged(served) == []


def test_one_that_waited_too_long_is_not_begun(
    served: Served, place: Place, clock: ManualClock
) -> None:
    late = accepted(served, place.given(b"1,2\n"), RequestTTLSeconds="60")
    patient = accepted(served, place.given(b"1,2\n"), RequestTTLSeconds="3600")
    clock.advance(timedelta(seconds=61))
    run(served)
    assert b"waited longer than 60 seconds" in (place.answer(late["failurelocation"]) or b"")
    assert place.answer(patient["outputlocation"]) == b"3.0\n"


def test_one_that_takes_too_long_is_given_up(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock, place: Place
) -> None:
    with taking(backend, tmp_path, clock, place.depot) as served:
        served.predictors[1] = Sleeps(1)
        served.deploy(live())
        told = accepted(served, body=b"0.6,1\n" * 9, InvocationTimeoutSeconds="1")
        run(served)
        assert b"longer than it was given" in (place.answer(told["failurelocation"]) or b"")
        assert logged(served) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"where": ""}, "no input is sent"),
        ({"body": b"1,2"}, "an input and the location of one are sent"),
        ({"where": "garbage"}, "no object of S3"),
        ({"where": "https://bucket.s3.amazonaws.com/in/rows.csv"}, "no object of S3"),
        ({"where": "file:///etc/passwd"}, "no object of S3"),
        ({"where": "URL/in/../../x"}, "no object of S3"),
        ({"where": "URL/in/nothing.csv"}, "there is no such input"),
        ({"where": "URL/in/large.csv"}, "the input is longer than 10,000,000 bytes"),
        ({"where": "URL/in/broken.csv"}, "1 values"),
        ({"Content_Type": "image/x"}, "not understood"),
        ({"Target_Variant": "9"}, "version 9"),
        ({"RequestTTLSeconds": "59"}, "no time in seconds"),
        ({"RequestTTLSeconds": "²²²"}, "no time in seconds"),
        ({"InvocationTimeoutSeconds": "soon"}, "no time in seconds"),
        ({"Filename": "../x"}, "no name for an answer"),
        ({"S3OutputPathExtension": "../x"}, "no name for an answer"),
        ({"path": "/endpoints/other/async-invocations"}, "no model 'other'"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    served: Served, place: Place, more: dict[str, Any], says: str
) -> None:
    place.given(b"1,2\n")
    place.given(b"1,2\n" * 2_500_001, "in/large.csv")
    place.given(b"1\n", "in/broken.csv")
    asked = {"where": "URL/in/rows.csv", **more}
    asked["where"] = asked["where"].replace("URL", place.url)
    status, said, told = invoke(served, **asked)
    assert 400 <= status < 500
    assert says in said["message"]
    assert told["x-amzn-errortype"] == "ValidationError"
    assert served.get("/v2/models/m/jobs")[1] == {"jobs": []}
    run(served)
    assert place.keys() == ["in/broken.csv", "in/large.csv", "in/rows.csv"]


def test_without_a_place_or_a_folder_one_is_told_what_to_do(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock
) -> None:
    with taking(backend, tmp_path, clock, None) as served:
        served.deploy(live())
        status, said, told = invoke(served, "s3://team/x")
        assert (status, told["x-amzn-errortype"]) == (409, "ValidationError")
        assert "SETPOINT_SERVE_ASYNC_OUTPUT=s3://" in said["message"]
        served._runner.run(served.app.jobs.close() if served.app.jobs else asyncio.sleep(0))
        served.app.jobs = None
        status, said, told = invoke(served, "s3://team/x")
        assert (status, told["x-amzn-errortype"]) == (409, "ValidationError")
        assert "SETPOINT_SERVE_JOBS" in said["message"]
        status, _, told = served.exchange("GET", PATH)
        assert (status, told["allow"]) == (405, "POST")


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PATIENCE", objects._PATIENCE._replace(tries=0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"endpoint": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"secret_access_key": "no"}, "refuses these credentials"),
    ],
)
def test_an_s3_that_cannot_be_read_is_said_and_may_be_tried_again(
    backend: LocalBackend,
    tmp_path: Path,
    clock: ManualClock,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, str],
    says: str,
) -> None:
    away(monkeypatch)
    depot = Depot(f"{place.url}/answers", replace(place.aws, **wrong))
    with taking(backend, tmp_path, clock, depot) as served:
        served.deploy(live())
        status, said, told = invoke(served, place.given(b"1,2\n"))
        assert (status, told["x-amzn-errortype"]) == (503, "ServiceUnavailable")
        assert says in said["message"]
        assert served.get("/v2/models/m/jobs")[1] == {"jobs": []}


def test_an_answer_waits_until_s3_is_there_and_is_scored_once(
    backend: LocalBackend,
    tmp_path: Path,
    clock: ManualClock,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch)
    monkeypatch.setattr(outbox, "_PAUSE_SECONDS", 0.01)
    gone = Depot(f"{place.url}/answers", replace(place.aws, endpoint="http://127.0.0.1:9"))
    with taking(backend, tmp_path, clock, gone) as served:
        served.deploy(live())
        told = [accepted(served, body=b"%d,2\n" % n)["outputlocation"] for n in range(3)]
        jobs = served.app.jobs
        assert jobs is not None

        async def ended() -> None:
            jobs.start()
            while not all(each.state.final for each in jobs._entries.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

        served._runner.run(ended())
        said = served.get("/v2/models/m/jobs")[1]["jobs"]
        assert [(one["state"], one["delivered"]) for one in said] == [("done", False)] * 3
    with taking(backend, tmp_path, clock, None) as served:  # nor is it forgotten by one without S3
        said = served.get("/v2/models/m/jobs")[1]["jobs"]
        assert [(one["state"], one["delivered"]) for one in said] == [("done", False)] * 3
    # Another server, and S3 is back: nothing is scored again.
    with taking(backend, tmp_path, clock, place.depot) as served:
        run(served)
        assert [place.answer(each) for each in told] == [b"2.0\n", b"3.0\n", b"4.0\n"]
        said = served.get("/v2/models/m/jobs")[1]["jobs"]
        assert [(one["state"], one["delivered"]) for one in said] == [("done", True)] * 3
        assert len(logged(served)) == 3
        assert not list((tmp_path / "jobs").glob("*.job"))


def test_an_s3_that_hangs_holds_up_neither_jobs_nor_the_end_of_the_server(
    backend: LocalBackend, tmp_path: Path, clock: ManualClock, place: Place
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        depot = Depot(f"{place.url}/answers", replace(place.aws, endpoint=where))
        with taking(backend, tmp_path, clock, depot) as served:
            served.deploy(live())
            accepted(served, body=b"1,2\n")
            accepted(served, body=b"3,4\n")
            jobs = served.app.jobs
            assert jobs is not None

            async def over() -> None:
                jobs.start()
                while not all(each.state.final for each in jobs._entries.values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                await jobs.close()

            served._runner.run(asyncio.wait_for(over(), 10))
            served.app.jobs = None
        assert sorted(path.suffix for path in (tmp_path / "jobs").iterdir()) == [
            *("", ".end", ".end", ".job", ".job"),
        ]


def test_no_more_inputs_are_on_their_way_than_fit(
    served: Served, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_FETCHING", 0)
    status, _, told = invoke(served, place.given(b"1,2\n"))
    assert (status, told["retry-after"]) == (429, "1")
    assert told["x-amzn-errortype"] == "ThrottlingException"


def variables(place: Place) -> dict[str, str]:
    assert place.aws.endpoint
    assert place.aws.access_key_id
    assert place.aws.secret_access_key
    return {
        "SETPOINT_SERVE_ASYNC_OUTPUT": f"{place.url}/answers",
        "AWS_ENDPOINT_URL": place.aws.endpoint,
        "AWS_ACCESS_KEY_ID": place.aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": place.aws.secret_access_key,
    }


def sent(port: int, where: str, name: str) -> dict[str, str] | None:
    """Invoke a server in another process; None if it takes nothing just now."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        headers = {
            "x-amzn-sagemaker-inputlocation": where,
            "x-amzn-sagemaker-content-type": "text/csv",
            "x-amzn-sagemaker-accept": "text/csv",
            "x-amzn-sagemaker-inference-id": name,
        }
        client.request("POST", "/endpoints/sleeps/async-invocations", b"", headers)
        reply = client.getresponse()
        raw = reply.read()
        if reply.status == 503:
            return None
        assert (reply.status, json.loads(raw)) == (202, {"InferenceId": name})
        return {key.lower(): value for key, value in reply.getheaders()}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_taken_survives_kill_nine_and_counts_once(
    settings: Settings,
    backend: LocalBackend,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    for name, value in variables(place).items():
        monkeypatch.setenv(name, value)
    with backend.engine.begin() as conn:
        store.deploy(conn, "sleeps", [replace(live(), model="sleeps")])
    where = place.given(b"0.2,1\n" * 4)
    taken: dict[str, str] = {}

    def took(port: int, name: str) -> Callable[[], bool]:
        def try_() -> bool:
            found = sent(port, where, name)
            if found is not None:
                taken[name] = found["x-amzn-sagemaker-outputlocation"]
            return found is not None

        return try_

    for round_ in range(3):
        with process(settings, workers=workers) as (server, port):
            until(took(port, f"r{round_}"), "it is taken")
            until(took(port, f"s{round_}"), "it is taken")
            until(lambda: place.keys() != [] and bool(running(port)), "one is scored")
            server.kill()
            server.wait()
    with process(settings, workers=workers):
        for output in taken.values():
            until(lambda at=output: place.answer(at) is not None, "it is put")  # type: ignore[misc]
    assert len(set(taken.values())) == 6
    assert {place.answer(each) for each in taken.values()} == {b"1.2\n" * 4}
    records = [record for _, _, record in writers.read(settings.log, At())]
    ids = {i for r in records if isinstance(r, PredictionRecord) for i in r.ids}
    assert ids == {f"{name}.{i}" for name in taken for i in range(4)}
    from setpoint.control.follow import Follower  # noqa: PLC0415 - tests of serve need no more of it

    assert Follower(backend).follow().predictions == 6 * 4


def running(port: int) -> list[Any]:
    client = Inference(f"http://127.0.0.1:{port}")
    try:
        said = json.loads(client._send("GET", "/v2/models/sleeps/jobs", b""))
        return [one for one in said["jobs"] if one["state"] == "running"]
    finally:
        client.close()


def test_without_the_client_of_s3_one_is_told_what_to_install(
    settings: Settings, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for absent in ("obstore", "setpoint.artifacts.bucket"):  # not installed; or in an image
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "setpoint.serve.jobs.objects")
            patch.delitem(sys.modules, "setpoint.artifacts.bucket")
            patch.setitem(sys.modules, absent, None)
            with pytest.raises(MissingExtra) as caught:
                Depot("s3://team", place.aws)
            assert "setpoint[s3]" in caught.value.hint


def test_a_wrong_place_ends_the_server_in_a_sentence(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "setpoint.serve", "--home", str(settings.home), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SETPOINT_SERVE_ASYNC_OUTPUT": "team"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'team' is no place for answers")
