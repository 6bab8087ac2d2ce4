"""The inference server as a process: started, asked over HTTP, killed."""

import signal
import socket
import time

import pytest

from setpoint.cli.main import run as command
from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError
from setpoint.serve import store
from setpoint.serve.client import Inference
from setpoint.serve.log import read
from setpoint.serve.main import run

from .made import live, shadow
from .processes import process

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_server_answers_until_it_is_told_to_stop(
    settings: Settings, backend: LocalBackend
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
    with process(settings) as (server, port):
        client = Inference(f"http://127.0.0.1:{port}")
        answer = client.predict("m", {"a": [1.0, None], "b": [2.0, 2.0]}, ids=["x", "y"])
        assert answer.scores[0] == 3.0
        assert answer.scores[1] != answer.scores[1]  # NaN: the row lacks an input
        client.label("m", ["x"], [1.0])
        with backend.engine.begin() as conn:
            generation = store.deploy(conn, "m", [live(2)])
        client.sync("m", generation)
        assert client.predict("m", {"a": [1.0], "b": [2.0]}).versions == [2]
        client.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        assert not (settings.home / "run" / "inference.json").exists()
    assert len(list(read(settings.log))) == 3


def test_a_tester_names_who_answers_by_the_client_and_by_the_command(
    settings: Settings, backend: LocalBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live(1), shadow(2)])
    columns = {"a": [1.0], "b": [2.0]}
    with process(settings) as (_, port):
        url = f"http://127.0.0.1:{port}"
        client = Inference(url)
        assert client.predict("m", columns).arms == []
        named = client.predict("m", columns, route="shadow")
        assert (named.scores, named.versions, named.arms) == ([6.0], [2], ["shadow"])
        job = client.submit("m", columns, route="2")
        assert job.wait(20).state == "done"
        assert job.result().versions == [2]
        with pytest.raises(NotFound, match=r"served now: live \(version 1\), shadow"):
            client.predict("m", columns, route="blue")
        client.close()
        words = ["predict", "m", "a=1", "b=2", "--url", url]
        assert command([*words, "--route", "shadow"]) == 0
        assert capsys.readouterr().out.split()[-2:] == ["2", "shadow"]
        assert command(words) == 0
        assert "arm" not in capsys.readouterr().out


def test_deployments_are_followed_without_being_told(
    settings: Settings, backend: LocalBackend
) -> None:
    with process(settings) as (_, port):
        client = Inference(f"http://127.0.0.1:{port}")
        with backend.engine.begin() as conn:
            store.deploy(conn, "m", [live(3)])
        until = time.monotonic() + 10
        while True:
            try:
                assert client.predict("m", {"a": [1.0], "b": [2.0]}).versions == [3]
                break
            except SetpointError:
                assert time.monotonic() < until
                time.sleep(0.05)
        client.close()


def test_no_acknowledged_answer_is_lost_by_kill_nine(
    settings: Settings, backend: LocalBackend
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
    acknowledged: list[str] = []
    for round_ in range(3):
        with process(settings) as (server, port):
            client = Inference(f"http://127.0.0.1:{port}")
            for i in range(20 + 30 * round_):
                answer = client.predict("m", {"a": [1.0], "b": [float(i)]})
                acknowledged += answer.ids
            server.kill()
            client.close()
    assert [record.ids[0] for _, record in read(settings.log)] == acknowledged


def test_a_second_server_of_a_folder_is_refused(settings: Settings, backend: LocalBackend) -> None:
    del backend
    with process(settings), pytest.raises(Conflict, match="another inference server"):
        run(settings, port=0)


def test_a_port_in_use_is_one_clear_error(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Conflict, match="is in use"):
            run(settings, port=taken.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])  # noqa: S104
def test_only_this_machine_may_be_listened_to(settings: Settings, host: str) -> None:
    with pytest.raises(Denied, match="refusing to listen"):
        run(settings, host)


def test_a_host_that_is_no_address_is_refused(settings: Settings) -> None:
    with pytest.raises(Invalid, match="no address"):
        run(settings, "example.invalid")
