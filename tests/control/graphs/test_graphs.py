"""Graphs in force: composed from what their models are, and following them."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import NOON
from tests.control.conftest import serving
from tests.control.made import home_at

from setpoint.artifacts.store import open_store
from setpoint.control import applying
from setpoint.control.controller import Controller
from setpoint.control.entities import State
from setpoint.control.explaining import WhichPrediction, explained
from setpoint.control.graphs.entities import GraphStatus
from setpoint.control.graphs.service import ListGraphs, ls
from setpoint.control.plan import ModelPlan
from setpoint.control.project import load
from setpoint.control.why import Why, trace
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict, NotFound, UserCodeFailed
from setpoint.models import adding
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.retention.service import collect
from setpoint.models.service import ShowModel, register, show
from setpoint.releases import by_hand
from setpoint.serve import store
from setpoint.serve.client import Inference
from setpoint.serve.entities import EndpointSettings, Position, PredictionRecord, Record
from setpoint.serve.log import LogWriter, read
from setpoint.serve.seal import seal

SPEC = """\
model: checkout
graph:
  prepare: {transform: "steps:prepare", takes: {amount: number}, gives: {size: text}}
  small: {model: small}
  large: {model: large}
  both: {ensemble: [small, large], weights: [1, 3]}
  by_size: {switch: size, cases: {little: small}, default: both}
  all: {chain: [prepare, by_size]}
"""

STEPS = """\
import numpy as np


def prepare(columns):
    return {"size": np.where(columns["amount"] > 100, "big", "little")}
"""


class Small:
    def __init__(self, add: float) -> None:
        self.add = add

    def predict(self, frame: pl.DataFrame) -> Any:
        return frame["amount"].to_numpy() + self.add


class Lengths:
    def predict(self, frame: pl.DataFrame) -> Any:
        return frame["amount"].str.len_chars().to_numpy()


class Shop:
    """A project with a graph, in a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.write(SPEC)
        self.code(STEPS)
        self.home: LocalBackend = open_local(home_at(folder / "home"), ManualClock(NOON))
        self.controller = Controller(self.home)

    def write(self, text: str) -> None:
        (self.folder / "checkout.setpoint.yaml").write_text(text)

    def code(self, text: str) -> None:
        (self.folder / "steps.py").write_text(text)

    def live(self, model: str, add: float) -> int:
        """Add a version of a model and put it live."""
        objects = open_store(self.home.settings)
        held = adding.stored(objects, Small(add), {"amount": [1.0, 200.0]}, kind="regression")
        version = self.home.call(register, adding.registration(model, held))
        self.put_live(model, version.number)
        return version.number

    def put_live(self, model: str, number: int) -> None:
        with self.home.engine.begin() as conn:
            by_hand.put_live(self.home.context(conn), model, number, reason="a test")

    def plan(self) -> ModelPlan:
        return applying.plan(self.home, load(self.folder)).models[-1]

    def apply(self) -> GraphStatus:
        project = load(self.folder)
        applying.check(project)
        applying.apply(self.home, project)
        return self.status()

    def tick(self) -> GraphStatus:
        self.controller.tick()
        return self.status()

    def status(self) -> GraphStatus:
        return self.home.call(ls, ListGraphs(model="checkout")).graphs[0]

    def whys(self) -> list[str]:
        found = self.home.call(show, ShowModel(model="checkout"))
        return [version.why for version in reversed(found.versions)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.controller.close()
    made.home.engine.dispose()


@pytest.fixture
def well(shop: Shop) -> Shop:
    """A graph in force whose models are live."""
    shop.live("small", 1.0)
    shop.live("large", 2.0)
    shop.apply()
    return shop


def versions(status: GraphStatus) -> dict[str, str]:
    return {node.node: node.version for node in status.nodes if node.kind == "model"}


def test_it_waits_for_its_models_and_is_made_once_they_are_live(shop: Shop) -> None:
    assert shop.plan().actions == [
        "wait for a live version of small, then bring a version of the graph live"
    ]
    assert shop.apply().state is State.SETTLING
    shop.live("small", 1.0)
    assert shop.tick().why == "it waits for a live version of large"
    shop.live("large", 2.0)
    assert "have moved on" in shop.status().why
    status = shop.tick()
    assert (status.state, status.live) == (State.ON_TARGET, 1)
    assert versions(status) == {"small": "small:1", "large": "large:1"}


def test_applying_makes_a_version_at_once_and_again_changes_nothing(well: Shop) -> None:
    assert well.status().live == 1
    assert (well.plan().kind, well.plan().actions) == ("unchanged", [])
    assert well.apply().live == 1
    assert well.tick().live == 1
    assert well.whys() == ["the graph was declared"]


def test_it_follows_a_model_that_moves_on_and_back(well: Shop) -> None:
    well.live("small", 5.0)
    assert versions(well.tick()) == {"small": "small:2", "large": "large:1"}
    assert well.status().live == 2
    assert well.whys()[-1] == "small went from small:1 to small:2"
    told = [link.says for link in well.home.call(trace, Why(id="checkout/2")).links]
    assert "checkout 1 → 2, promoted: small went from small:1 to small:2" in told
    assert not any("in person" in says for says in told[-3:]), "nobody decided it"
    well.put_live("small", 1)
    assert well.tick().live == 1, "it was made of the same before"
    assert len(well.whys()) == 2


def test_a_version_by_number_stays(shop: Shop) -> None:
    shop.write(SPEC.replace("small: {model: small}", "small: {model: 'small:1'}"))
    shop.live("small", 1.0)
    shop.live("large", 2.0)
    shop.apply()
    shop.live("small", 5.0)
    assert versions(shop.tick())["small"] == "small:1"


def test_a_change_of_its_code_makes_another_version(well: Shop) -> None:
    well.code(STEPS.replace("100", "50"))
    assert [change.path for change in well.plan().changes] == ["code of prepare"]
    assert well.apply().live == 2
    assert well.whys()[-1].startswith("prepare went from ")


def test_what_a_person_puts_live_stands_until_something_moves(well: Shop) -> None:
    well.live("small", 5.0)
    well.tick()
    well.put_live("checkout", 1)
    status = well.tick()
    assert (status.state, status.live) == (State.HELD, 1)
    assert "put live by hand" in status.why
    assert well.plan().drift == ["version 1 is live, and version 2 is what the graph meant last"]
    well.live("large", 7.0)
    assert well.tick().live == 3


def test_a_graph_that_does_not_answer_is_not_put_in_force(well: Shop) -> None:
    well.code(STEPS.replace('columns["amount"] > 100', 'columns["price"] > 100'))
    with pytest.raises(UserCodeFailed, match="does not answer"):
        well.apply()
    assert well.status().live == 1
    assert well.plan().kind == "update"


def test_models_that_do_not_fit_any_more_leave_it_as_it_was(well: Shop) -> None:
    objects = open_store(well.home.settings)
    lengths = adding.stored(objects, Lengths(), {"amount": ["a", "b"]}, kind="regression")
    bad = well.home.call(register, adding.registration("small", lengths))
    well.put_live("small", bad.number)
    status = well.tick()
    assert (status.state, status.live) == (State.OFF_TARGET, 1)
    assert "amount" in status.why
    well.put_live("small", 1)
    assert well.tick().state is State.ON_TARGET


@pytest.mark.parametrize(
    ("was", "becomes", "error"),
    [
        ("steps:prepare", "steps:nothing", "has no “nothing”"),
        ("steps:prepare", "nowhere:prepare", "no module “nowhere”"),
    ],
)
def test_what_it_names_must_exist(well: Shop, was: str, becomes: str, error: str) -> None:
    well.write(SPEC.replace(was, becomes))
    with pytest.raises(NotFound, match=error):
        well.apply()


def test_a_name_is_a_model_or_a_graph(well: Shop) -> None:
    (well.folder / "checkout.setpoint.yaml").unlink()
    (well.folder / "m.setpoint.yaml").write_text(
        "model: checkout\ndata: {source: 'steps:prepare'}\ntrain: {code: 'steps:prepare'}\n"
    )
    with pytest.raises(Conflict, match="is a graph here"):
        applying.plan(well.home, load(well.folder))


def test_the_bytes_of_a_model_are_kept_as_long_as_a_graph_is_made_of_it(well: Shop) -> None:
    first = well.home.call(show, ShowModel(model="small")).versions[0]
    well.live("small", 5.0)
    gone = commands.DeleteVersion(model="small", number=1, reason="old")
    well.home.call(registry.delete_version, gone)
    collect(well.home, older_than=-1)
    assert open_store(well.home.settings).has(first.artifact)
    assert well.status().live == 1


def records(log: Path) -> list[Record]:
    return [record for _, record in read(log)]


def post(address: str, asked: Any) -> Any:
    request = urllib.request.Request(address, json.dumps(asked).encode())  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read())


def test_it_is_served_and_the_log_tells_which_nodes_answered(well: Shop) -> None:
    rows = [{"amount": 20.0}, {"amount": 150.0}]
    with serving(well.home) as address:
        answered = post(f"{address}/v1/models/checkout:predict", {"instances": rows})
        assert answered["predictions"] == [21.0, 0.25 * 151 + 0.75 * 152]
        asked = {
            "inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [150.0]}],
            "outputs": [{"name": "nodes"}],
        }
        told = post(f"{address}/v2/models/checkout/infer", asked)
        assert json.loads(told["outputs"][0]["data"][0])["large"] == "large:1"
        well.live("large", 9.0)
        well.tick()
        with well.home.reading() as conn:
            generation = store.generation(conn, "checkout")
        inference = Inference(address)
        inference.sync("checkout", generation)
        inference.close()
        post(f"{address}/v1/models/checkout:predict", {"instances": rows[1:]})
    log = well.home.settings.log
    logged = [record for record in records(log) if isinstance(record, PredictionRecord)]
    paths = [[list(json.loads(each)) for each in record.nodes] for record in logged]
    assert paths == [
        [["prepare", "small"], ["prepare", "small", "large"]],
        [["prepare", "small", "large"]],
        [["prepare", "small", "large"]],
    ]
    last = json.loads(logged[2].nodes[0])
    assert (last["small"], last["large"]) == ("small:1", "large:2")
    assert [record.versions[0] for record in logged] == [1, 1, 2]


def test_the_sealed_log_and_the_trace_of_a_prediction_tell_them_too(well: Shop) -> None:
    ids = ["order-1", "order-2"]
    with serving(well.home) as address:
        post(
            f"{address}/v2/models/checkout/infer",
            {
                "inputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [20, 150]}],
                "parameters": {"ids": ids},
            },
        )
        well.tick()
        for name in ids:
            found = explained(well.home, WhichPrediction(id=name))
            assert list(found.nodes) == ["prepare", "small", "large"][: 2 + (name == "order-2")]
    writer = LogWriter(well.home.settings.log)
    writer.close()
    (path,) = seal(well.home.settings.log, Position(99))
    table = pl.read_parquet(path)
    assert [list(json.loads(each)) for each in table["nodes"]] == [
        ["prepare", "small"],
        ["prepare", "small", "large"],
    ]
    after = explained(well.home, WhichPrediction(id="order-1"))
    assert after.nodes["small"] == "small:1"
    traced = well.home.call(trace, Why(id="order-1")).links
    assert {"small/1", "large/1"} <= {link.id for link in traced if link.kind == "version"}


def redacted(shop: Shop) -> tuple[str, ...]:
    with shop.home.reading() as conn:
        return store.settings_of(conn, "checkout").redact


def test_what_a_model_does_not_log_its_graph_does_not_either(well: Shop) -> None:
    assert redacted(well) == ()
    with well.home.engine.begin() as conn:
        store.configure(conn, "small", EndpointSettings(redact=("amount",)))
    (change,) = well.plan().changes
    assert (change.path, change.before, change.after) == (
        *("redacted by its models", "nothing"),
        "amount",
    )
    well.apply()
    assert redacted(well) == ("amount",)
    assert well.plan().kind == "unchanged"


def test_a_graph_that_is_declared_later_logs_no_more_than_its_models(shop: Shop) -> None:
    shop.live("small", 1.0)
    shop.live("large", 2.0)
    with shop.home.engine.begin() as conn:
        store.configure(conn, "large", EndpointSettings(redact=("amount",)))
    shop.write(SPEC + "serve: {log: {redact: [size]}}\n")
    shop.apply()
    assert redacted(shop) == ("amount", "size")


def test_what_its_own_list_changes_is_told_as_that_alone(well: Shop) -> None:
    well.write(SPEC + "serve: {log: {redact: [size]}}\n")
    assert [change.path for change in well.plan().changes] == ["serve.log.redact"]
    well.apply()
    well.write(SPEC)
    assert [change.path for change in well.plan().changes] == ["serve.log.redact"]
    well.apply()
    assert redacted(well) == ()
