"""Models come into memory when they are asked, and the one asked longest ago makes room."""

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.config import serving
from setpoint.core.clock import SystemClock
from setpoint.errors import Invalid
from setpoint.models.entities import Input
from setpoint.serve.app import App
from setpoint.serve.entities import CountRecord, PredictionRecord, Record, SplitArm, Swap
from setpoint.serve.following import Endpoints
from setpoint.serve.log import LogWriter, read
from setpoint.serve.memory import Memory, Unit, allocated, to_give_up
from setpoint.serve.metrics import Metrics
from setpoint.serve.rules import ROLES
from setpoint.serve.warming import MOST_ROWS, Recent

from .made import Raises, Sum
from .shelf import MB, Heavy, Shelf


class Server:
    """An inference server without its sockets, with a shelf of models."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.shelf = Shelf()
        self.folder = folder
        self.log = LogWriter(folder, segment_bytes=200_000)
        self.endpoints = Endpoints(self.shelf, Metrics(), Memory(limit), Recent(folder))
        self.app = App(self.endpoints, self.log, self.endpoints.metrics, SystemClock())
        self._runner = asyncio.Runner()

    def deploy(self, model: str, live: int = 1, **how: Any) -> None:
        self.shelf.deploy(model, live, **how)
        self.endpoints.refresh()

    def run(self, what: Any) -> Any:
        return self._runner.run(what)

    async def exchange(
        self, method: str, path: str, body: Any = None, headers: Sequence[Any] = ()
    ) -> tuple[int, Any]:
        sent: list[Any] = []
        raw = b"" if body is None else json.dumps(body).encode()
        messages = [{"type": "http.request", "body": raw, "more_body": False}]

        async def receive() -> Any:
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await self.app(scope, receive, send)
        told = sent[1]["body"]
        return sent[0]["status"], json.loads(told) if told[:1] in b"{[" else told.decode()

    def infer(self, model: str, version: int = 0, x: float = 1.0) -> Any:
        at = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [x, 1.0]}
        return self.exchange("POST", f"{at}/infer", {"inputs": [tensor]})

    def ask(self, model: str, version: int = 0, x: float = 1.0) -> tuple[int, Any]:
        status, told = self.run(self.infer(model, version, x))
        return status, told["outputs"][0]["data"][0] if status == 200 else told

    def get(self, path: str) -> tuple[int, Any]:
        return self.run(self.exchange("GET", path))  # type: ignore[no-any-return]

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        return self.run(self.exchange("POST", path, body))  # type: ignore[no-any-return]

    def states(self) -> dict[tuple[str, str], str]:
        _, told = self.post("/v2/repository/index")
        return {(one["name"], one["version"]): one["state"] for one in told}

    def held(self) -> list[str]:
        return sorted({model for model, _ in self.endpoints.in_memory()})

    def metric(self, name: str) -> dict[str, float]:
        lines = self.get("/metrics")[1].splitlines()
        told = [line.rpartition(" ") for line in lines if line.startswith(f"setpoint_{name}")]
        return {key.removeprefix(f"setpoint_{name}"): float(value) for key, _, value in told}

    def records(self) -> list[Record]:
        return [record for _, record in read(self.folder)]

    def close(self) -> None:
        self._runner.run(self.app.close())
        self._runner.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[int | None], Server]]:
    servers: list[Server] = []

    def made(limit: int | None) -> Server:
        servers.append(Server(tmp_path / f"log{len(servers)}", limit))
        return servers[-1]

    yield made
    for one in servers:
        for gate in one.shelf.gates.values():
            gate.set()
        one.close()


Make = Callable[[int | None], Server]


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - of other threads
            await asyncio.sleep(0.002)


# ---- who makes room --------------------------------------------------------------------------

UNITS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 50), st.booleans()).map(
        lambda one: Unit(("m", 0), *one)
    ),
    max_size=12,
).map(lambda units: [unit._replace(key=(f"m{i}", 0)) for i, unit in enumerate(units)])


@given(UNITS, st.integers(0, 300), st.integers(0, 100))
def test_room_is_made_by_those_asked_longest_ago_and_by_no_more_than_it_takes(
    units: list[Unit], limit: int, needed: int
) -> None:
    gone = to_give_up(units, limit, needed)
    by_key = {unit.key: unit for unit in units}
    left = sum(unit.bytes for unit in units if unit.key not in gone) + needed
    assert not any(by_key[key].kept for key in gone)
    spared = [unit for unit in units if not unit.kept and unit.bytes and unit.key not in gone]
    assert left <= limit or not spared
    if gone:
        last = by_key[gone[-1]]
        assert left + last.bytes > limit
        assert all(last.asked_us <= unit.asked_us for unit in spared)


def test_sizes_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving().model_memory is None
    assert serving(model_memory="1.5 GiB").model_memory == 1.5 * 2**30
    monkeypatch.setenv("SETPOINT_SERVE_MODEL_MEMORY", "500MB")
    assert serving().model_memory == 500 * MB
    for wrong in ("much", "-1GB", "0", "0.0MB", "1e9"):
        with pytest.raises(Invalid, match="no size"):
            serving(model_memory=wrong)


def test_what_is_allocated_is_counted_as_it_comes_and_goes() -> None:
    before = allocated()
    held = np.ones(4 * MB)
    assert 32 * MB <= allocated() - before < 40 * MB
    del held
    assert allocated() - before < 4 * MB


# ---- loaded when asked -----------------------------------------------------------------------


def test_without_a_limit_all_that_is_deployed_is_in_memory(make: Make) -> None:
    server = make(None)
    server.deploy("a")
    server.deploy("b")
    assert server.shelf.loads == [("a", 1), ("b", 1)]
    assert set(server.states().values()) == {"READY"}
    assert server.post("/v2/repository/models/a/load")[0] == 200
    assert server.post("/v2/repository/models/a/unload")[0] == 400
    assert server.held() == ["a", "b"]


def test_with_a_limit_nothing_is_loaded_until_it_is_asked(make: Make) -> None:
    server = make(25 * MB)
    for model in "abc":
        server.deploy(model)
    assert server.shelf.loads == []
    assert server.get("/v2/health/ready")[0] == 200
    assert set(server.states().values()) == {"UNAVAILABLE"}
    status, told = server.get("/v2/models/a/ready")
    assert status == 503
    assert "loaded when it is asked" in told["error"]
    assert server.get("/v2/models/a")[1]["inputs"][0]["name"] == "a"
    assert server.ask("a") == (200, 2.0)
    assert server.states()["a", "1"] == "READY"
    assert server.get("/v2/models/a/ready")[0] == 200
    assert server.shelf.loads == [("a", 1)]


def test_who_was_asked_longest_ago_makes_room(make: Make) -> None:
    server = make(25 * MB)
    for model in "abc":
        server.deploy(model)
    for model in ("a", "b", "a", "c"):
        assert server.ask(model) == (200, 2.0)
    assert server.held() == ["a", "c"]
    assert server.states()["b", "1"] == "UNAVAILABLE"
    assert server.metric("models_in_memory") == {"": 2}
    sizes = server.metric("model_memory_bytes")
    assert all(10 * MB <= size < 12 * MB for size in sizes.values())
    assert server.metric("model_evictions_total") == {'{model="b"}': 1}
    assert server.metric("model_loads_total")['{model="b"}'] == 1
    assert server.metric("model_load_seconds_total")['{model="a"}'] > 0
    assert server.ask("b") == (200, 2.0)
    assert server.held() == ["b", "c"]


def test_memory_is_free_once_a_model_is_given_up(make: Make) -> None:
    server = make(15 * MB)
    made: list[weakref.ref[Any]] = []

    def noted(_: str, version: int) -> Any:
        found = Heavy(version, 10 * MB)
        made.append(weakref.ref(found))
        return found

    server.shelf.made = noted
    server.deploy("a")
    server.deploy("b")
    server.ask("a")
    server.ask("b")
    gc.collect()
    assert [one() is None for one in made] == [True, False]


def test_a_model_that_is_larger_than_it_looked_makes_room_once_it_is_measured(make: Make) -> None:
    server = make(45 * MB)
    for model in "ab":
        server.deploy(model)
    server.shelf.made = lambda model, version: Heavy(version, (40 if model == "b" else 10) * MB)
    server.ask("a")
    server.ask("b")
    assert server.held() == ["b"]


def test_many_who_ask_at_once_have_it_loaded_once_and_others_answer_meanwhile(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a")
    server.deploy("hot")
    server.ask("hot")
    gate = server.shelf.gates["a"] = threading.Event()

    async def scenario() -> None:
        asked = [asyncio.create_task(server.infer("a", x=float(i))) for i in range(20)]
        await until(lambda: ("a", 1) in server.shelf.loads)
        for _ in range(10):
            assert (await server.infer("hot"))[0] == 200
        _, index = await server.exchange("POST", "/v2/repository/index")
        assert {one["name"]: one["state"] for one in index} == {"a": "LOADING", "hot": "READY"}
        _, told = await server.exchange("GET", "/v1/models/a")
        assert told["model_version_status"][0]["state"] == "LOADING"
        assert not any(one.done() for one in asked)
        gate.set()
        found = await asyncio.gather(*asked)
        assert [told["outputs"][0]["data"][0] for _, told in found] == [i + 1.0 for i in range(20)]

    server.run(scenario())
    assert server.shelf.loads.count(("a", 1)) == 1


def test_a_request_waits_no_longer_than_its_time_and_the_load_goes_on(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a", timeout=0.2)
    gate = server.shelf.gates["a"] = threading.Event()
    began = time.monotonic()
    status, told = server.ask("a")
    assert status == 504
    assert "not loaded in time" in told["error"]
    assert time.monotonic() - began < 5
    gate.set()
    server.run(until(lambda: server.held() == ["a"]))
    assert server.ask("a") == (200, 2.0)
    assert server.shelf.loads == [("a", 1)]


def test_no_more_wait_for_a_load_than_may_wait_for_the_model(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a", queue=2)
    gate = server.shelf.gates["a"] = threading.Event()

    async def scenario() -> None:
        first = [asyncio.create_task(server.infer("a")) for _ in range(2)]
        await until(lambda: server.shelf.loads)
        assert (await server.infer("a"))[0] == 429
        gate.set()
        assert {status for status, _ in await asyncio.gather(*first)} == {200}

    server.run(scenario())


def test_what_does_not_load_says_why_and_is_not_tried_for_every_request(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a")
    server.deploy("b")
    server.shelf.broken.add(("a", 1))
    for _ in range(3):
        status, told = server.ask("a")
        assert status == 503
        assert "no luck" in told["error"]
    assert server.shelf.loads == [("a", 1)]
    assert server.states()["a", "1"] == "UNAVAILABLE"
    assert server.ask("b") == (200, 2.0)
    server.deploy("a", 2)
    assert server.ask("a") == (200, 4.0)


def test_a_model_that_is_being_asked_is_not_given_up(make: Make) -> None:
    server = make(15 * MB)
    began, go_on = threading.Event(), threading.Event()

    class Waits(Heavy):
        def predict(self, rows: Any) -> Any:
            if rows[0, 0] == 7.0:
                began.set()
                assert go_on.wait(20)
            return super().predict(rows)

    server.shelf.made = lambda _, version: Waits(version, 10 * MB)
    server.deploy("slow", timeout=30.0)
    server.deploy("b")

    async def scenario() -> None:
        waiting = asyncio.create_task(server.infer("slow", x=7.0))
        await until(began.is_set)
        assert (await server.infer("b"))[0] == 200
        assert server.held() == ["b", "slow"]
        go_on.set()
        assert (await waiting)[0] == 200

    server.run(scenario())


# ---- by hand ---------------------------------------------------------------------------------


def test_a_model_that_is_loaded_by_hand_stays_until_it_is_unloaded(make: Make) -> None:
    server = make(25 * MB)
    for model in "abc":
        server.deploy(model)
    assert server.post("/v2/repository/models/a/load")[0] == 200
    for model in "bcbc":
        server.ask(model)
    assert server.held() == ["a", "c"]
    assert server.post("/v2/repository/models/a/unload")[0] == 200
    assert server.held() == ["c"]
    assert server.ask("a") == (200, 2.0)


def test_no_more_is_loaded_by_hand_than_fits(make: Make) -> None:
    server = make(25 * MB)
    for model in "abc":
        server.deploy(model)
    assert server.post("/v2/repository/models/a/load")[0] == 200
    assert server.post("/v2/repository/models/b/load")[0] == 200
    status, told = server.post("/v2/repository/models/c/load")
    assert status == 409
    assert "does not fit" in told["error"]
    assert server.held() == ["a", "b"]


def test_sagemakers_contract_lists_loads_and_unloads_models(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a")
    server.deploy("b")
    assert server.get("/models")[1] == {"models": []}
    assert server.get("/models/a")[0] == 404
    assert server.post("/models", {"model_name": "a", "url": "s3://x"})[0] == 200
    assert [one["modelName"] for one in server.get("/models")[1]["models"]] == ["a"]
    assert server.post("/models", {"model_name": "a"})[0] == 409
    assert server.get("/models/b/ping")[0] == 503
    assert server.post("/models/b/invoke", {"instances": [[1.0, 1.0]]})[0] == 200
    assert server.get("/models/b/ping")[0] == 200
    assert server.run(server.exchange("DELETE", "/models/a"))[0] == 200
    assert server.get("/models/a")[0] == 404
    assert server.run(server.exchange("DELETE", "/models/a"))[0] == 404


# ---- swapped ---------------------------------------------------------------------------------


def test_a_new_version_of_a_model_that_nobody_asks_is_not_loaded(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a")
    server.deploy("a", 2)
    assert server.shelf.loads == []
    assert server.ask("a") == (200, 4.0)
    server.deploy("a", 3)
    assert server.shelf.loads == [("a", 2), ("a", 3)]
    assert server.ask("a") == (200, 6.0)


@pytest.mark.parametrize("swap", list(Swap))
def test_what_does_not_fit_beside_the_old_version_keeps_it_or_replaces_it(
    make: Make, swap: Swap
) -> None:
    server = make(15 * MB)
    server.deploy("a", swap=swap)
    server.ask("a")
    gate = server.shelf.gates["a"] = threading.Event()
    server.shelf.deploy("a", 2, swap=swap)

    async def scenario() -> None:
        refreshing = asyncio.create_task(asyncio.to_thread(server.endpoints.refresh))
        await until(lambda: ("a", 2) in server.shelf.loads)
        held = server.endpoints.in_memory()
        asked = asyncio.create_task(server.infer("a"))
        if swap is Swap.KEEP:
            assert (await asked)[1]["model_version"] == "1"
            assert list(held) == [("a", 1)]
        else:
            assert held == {}
        gate.set()
        await refreshing
        status, told = await asked
        assert (status, told["model_version"]) == (200, "1" if swap is Swap.KEEP else "2")

    server.run(scenario())
    assert server.ask("a") == (200, 4.0)
    assert list(server.endpoints.in_memory()) == [("a", 2)]


def test_a_version_that_fits_is_loaded_beside_the_old_one_whatever_is_said(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a", swap=Swap.REPLACE)
    server.ask("a")
    server.shelf.broken.add(("a", 2))
    server.deploy("a", 2, swap=Swap.REPLACE)
    assert server.held() == ["a"]
    assert server.ask("a") == (200, 2.0)


# ---- warmed ----------------------------------------------------------------------------------


def test_a_version_is_warmed_by_what_its_endpoint_was_asked_lately(make: Make) -> None:
    server = make(None)
    made: list[Heavy] = []

    def noted(_: str, version: int) -> Any:
        made.append(Heavy(version, 1000))
        return made[-1]

    server.shelf.made = noted
    server.deploy("a")
    for x in range(3):
        server.ask("a", x=float(x))
    server.endpoints._loading._recent._until = 0.0
    server.deploy("a", 2)
    seen = [rows.tolist() for rows in made[1].seen]
    assert seen[0] == [[0.0, 0.0]]
    assert seen[1:4] == [[[2.0, 1.0]], [[1.0, 1.0]], [[0.0, 1.0]]]
    assert seen[4] == [[2.0, 1.0], [1.0, 1.0], [0.0, 1.0]]


def test_a_version_that_nobody_asked_before_is_warmed_by_rows_it_was_trained_on(
    make: Make,
) -> None:
    server = make(None)
    found = Heavy(1, 1000)
    server.shelf.made = lambda _model, _version: found
    server.shelf.backgrounds["a", 1] = np.arange(200.0).reshape(100, 2)
    server.deploy("a")
    assert found.seen[1].tolist() == [[0.0, 1.0]]
    assert len(found.seen[-1]) == MOST_ROWS


def test_redacted_rows_warm_nothing(make: Make) -> None:
    server = make(None)
    made: list[Heavy] = []

    def noted(_: str, version: int) -> Any:
        made.append(Heavy(version, 1000))
        return made[-1]

    server.shelf.made = noted
    server.deploy("a", redact=("b",))
    server.ask("a")
    server.endpoints._loading._recent._until = 0.0
    server.deploy("a", 2, redact=("b",))
    assert len(made[1].seen) == 1


def test_what_a_version_fails_on_while_it_is_warmed_is_left_to_requests(make: Make) -> None:
    server = make(None)

    class Picky(Heavy):
        def predict(self, rows: Any) -> Any:
            if rows.any():
                raise ZeroDivisionError("no luck")
            return super().predict(rows)

    server.deploy("a")
    server.ask("a")
    server.shelf.made = lambda _, version: Picky(version, 1000)
    server.deploy("a", 2)
    assert server.ask("a")[0] == 500


class Image:
    """Says how many bytes an image has."""

    inputs = (Input(name="image", datatype="BYTES", raw=True),)

    def predict(self, rows: Any) -> Any:
        return np.array([float(len(each)) for each in rows["image"]])


def test_a_version_that_takes_images_loads_after_its_endpoint_was_asked(make: Make) -> None:
    server = make(None)
    server.shelf.made = lambda _model, _version: Image()
    server.deploy("a")
    asked = {"instances": [{"image": {"b64": "/9j/4AAA"}}]}
    assert server.post("/v1/models/a:predict", asked) == (200, {"predictions": [6.0]})
    server.endpoints._loading._recent._until = 0.0
    server.deploy("a", 2)
    assert server.endpoints.all()["a"].live.version == 2
    assert server.post("/v1/models/a:predict", asked) == (200, {"predictions": [6.0]})


def test_a_version_that_takes_long_is_asked_once_before_it_serves(make: Make) -> None:
    server = make(None)
    asked = []

    class Long(Sum):
        def predict(self, rows: Any) -> Any:
            asked.append(len(rows))
            time.sleep(0.6)
            return super().predict(rows)

    server.shelf.made = lambda _, version: Long(float(version))
    server.shelf.backgrounds["a", 1] = np.arange(200.0).reshape(100, 2)
    server.deploy("a")
    assert server.endpoints.all()["a"].slow
    assert asked == [1]


def test_a_slow_version_is_known_to_be_slow_before_the_first_request(make: Make) -> None:
    server = make(None)

    class Slow(Sum):
        def predict(self, rows: Any) -> Any:
            time.sleep(0.005)
            return super().predict(rows)

    server.shelf.made = lambda _, version: Slow(float(version))
    server.deploy("a")
    assert server.endpoints.all()["a"].slow
    server.shelf.made = lambda _, version: Sum(float(version))
    server.deploy("b")
    assert not server.endpoints.all()["b"].slow


# ---- named -----------------------------------------------------------------------------------


def test_versions_of_a_policy_answer_who_names_them_and_nobody_else(make: Make) -> None:
    server = make(None)
    server.shelf.known["a"] = [1, 2, 3, 4]
    server.shelf.aliases["a"] = {"champion": 2, "old": 1}
    server.deploy("a", 4, versions="latest 2, champion")
    assert server.shelf.loads == [("a", 4)]
    assert server.states() == {
        ("a", "4"): "READY",
        ("a", "2"): "UNAVAILABLE",
        ("a", "3"): "UNAVAILABLE",
    }
    assert server.ask("a", 3) == (200, 6.0)
    assert server.ask("a", 2) == (200, 4.0)
    assert server.ask("a") == (200, 8.0)
    assert server.states()["a", "3"] == "READY"
    status, told = server.ask("a", 1)
    assert status == 404
    assert "served now: 4; by number: 2, 3" in told["error"]
    predict = {"instances": [[1.0, 1.0]]}
    assert server.post("/v1/models/a/labels/champion:predict", predict)[1] == {"predictions": [4.0]}
    assert server.post("/v1/models/a/versions/3:predict", predict)[1] == {"predictions": [6.0]}
    status, told = server.post("/v1/models/a/labels/old:predict", predict)
    assert status == 404
    assert "labels: live, champion" in told["error"]
    variant = [(b"x-amzn-sagemaker-target-variant", b"champion")]
    path = "/endpoints/a/invocations"
    assert server.run(server.exchange("POST", path, predict, variant))[1] == {"predictions": [4.0]}
    logged = [r for r in server.records() if isinstance(r, PredictionRecord)]
    roles = [(ROLES[one.roles[0]].value, one.versions[0]) for one in logged]
    assert roles == [
        ("named", 3), ("named", 2), ("live", 4), ("named", 2), ("named", 3), ("named", 2)
    ]  # fmt: skip
    counted = server.metric("rows_total")
    assert counted['{model="a",version="2",role="named"}'] == 3


def test_a_policy_follows_new_versions_and_aliases(make: Make) -> None:
    server = make(None)
    server.shelf.known["a"] = [1, 2]
    server.deploy("a", 2, versions="latest 1, champion")
    assert server.ask("a", 1)[0] == 404
    server.shelf.known["a"] = [1, 2, 3]
    server.shelf.aliases["a"] = {"champion": 1}
    server.endpoints._named_at = 0.0
    server.endpoints.refresh()
    assert server.ask("a", 3) == (200, 6.0)
    assert server.ask("a", 1) == (200, 2.0)
    server.shelf.aliases["a"] = {}
    server.endpoints._named_at = 0.0
    server.endpoints.refresh()
    assert server.ask("a", 1)[0] == 404
    server.deploy("a", 2)
    assert server.ask("a", 3)[0] == 404


def test_a_version_that_is_named_makes_room_like_any_other(make: Make) -> None:
    server = make(25 * MB)
    server.shelf.known["a"] = [1, 2, 3]
    server.deploy("a", 3, versions="all")
    for version in (1, 2, 0):
        assert server.ask("a", version)[0] == 200
    assert sorted(v for _, v in server.endpoints.in_memory()) == [2, 3]


def test_a_shadow_that_is_named_is_in_memory_once(make: Make) -> None:
    server = make(None)
    server.shelf.known["a"] = [1, 2]
    server.deploy("a", 1, shadow=2)
    assert server.ask("a", 2)[0] == 404
    server.deploy("a", 1, shadow=2, versions="all")
    assert server.ask("a", 2) == (200, 4.0)
    assert server.shelf.loads == [("a", 1), ("a", 2)]


def test_rows_of_a_named_version_outside_the_sample_are_counted_as_nobodys(make: Make) -> None:
    server = make(None)
    server.shelf.known["a"] = [1, 2]
    server.deploy("a", 2, versions="all", sample=0.0001)

    async def scenario() -> None:
        for _ in range(20):
            assert (await server.infer("a", 1))[0] == 200
        assert (await server.infer("a"))[0] == 200
        server.app.keeper.flush()

    server.run(scenario())
    counted = [(r.version, r.requests) for r in server.records() if isinstance(r, CountRecord)]
    assert counted == [(2, 1)]


# ---- arms of a test beside all that --------------------------------------------------------------

HALF = [SplitArm(name="blue", version=2, spans=[(0, 500_000)])]


def keyed(server: Server, model: str, **parameters: Any) -> tuple[int, Any]:
    """Ask 40 rows of as many keys."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [40, 2], "data": [1.0] * 80}
    parameters = {"keys": [f"user-{i}" for i in range(40)], **parameters}
    body = {"inputs": [tensor], "parameters": parameters}
    return server.post(f"/v2/models/{model}/infer", body)


def test_arms_are_loaded_with_their_endpoint_when_it_is_asked_and_given_up_with_it(
    make: Make,
) -> None:
    server = make(25 * MB)
    server.deploy("a", 1, arms=HALF)
    server.deploy("b")
    assert server.shelf.loads == []
    status, told = keyed(server, "a")
    assert (status, set(told["parameters"]["arms"])) == (200, {"live", "blue"}), told
    assert server.shelf.loads == [("a", 1), ("a", 2)]
    assert server.ask("b")[0] == 200
    assert server.held() == ["b"]
    assert keyed(server, "a")[1]["parameters"] | {"ids": 0} == told["parameters"] | {"ids": 0}
    assert keyed(server, "a", route="blue")[1]["parameters"]["versions"] == [2] * 40
    assert server.shelf.loads.count(("a", 2)) == 2
    assert sorted(server.endpoints.in_memory()) == [("a", 1), ("a", 2)]


def test_a_test_that_begins_or_ends_loads_only_what_is_new(make: Make) -> None:
    server = make(100 * MB)
    server.deploy("a")
    assert server.ask("a")[0] == 200
    server.deploy("a", arms=HALF)
    assert server.shelf.loads == [("a", 1), ("a", 2)]
    assert set(keyed(server, "a")[1]["parameters"]["arms"]) == {"live", "blue"}
    server.deploy("a")
    assert server.shelf.loads == [("a", 1), ("a", 2)]
    assert list(server.endpoints.in_memory()) == [("a", 1)]
    assert "arms" not in keyed(server, "a")[1]["parameters"]


def test_an_arm_that_can_be_named_too_is_in_memory_once(make: Make) -> None:
    server = make(None)
    server.shelf.known["a"] = [1, 2, 3]
    server.shelf.aliases["a"] = {"champion": 3}
    server.deploy("a", 1, arms=HALF, versions="all")
    assert server.ask("a", 2) == (200, 4.0)
    assert server.shelf.loads == [("a", 1), ("a", 2)]
    asked = {
        name: server.run(
            server.exchange(
                "POST",
                "/models/a/invoke",
                {"instances": [[1, 1]]},
                [(b"x-amzn-sagemaker-target-variant", name.encode())],
            )
        )
        for name in ("blue", "2", "champion", "3", "1", "green")
    }
    assert {name: told for name, (status, told) in asked.items() if status == 200} == {
        "blue": {"predictions": [4.0]},
        "2": {"predictions": [4.0]},
        "champion": {"predictions": [6.0]},
        "3": {"predictions": [6.0]},
        "1": {"predictions": [2.0]},
    }
    assert asked["green"][0] == 404
    logged = [one for one in server.records() if isinstance(one, PredictionRecord)]
    assert [ROLES[one.roles[0]].value for one in logged] == [
        "arm", "test", "test", "named", "named", "test"
    ]  # fmt: skip


def test_what_answers_for_a_version_that_fails_comes_back_with_it(make: Make) -> None:
    server = make(15 * MB)
    server.shelf.made = lambda model, version: Raises() if model == "a" else Heavy(version, 10 * MB)
    server.deploy("a", fallback_value=0.25)
    server.deploy("b")
    for model, score in (("a", 0.25), ("b", 2.0), ("a", 0.25)):
        assert server.ask(model) == (200, score)
