"""Pages of sweeps and artifacts of the wandb client, and of how long runs are kept."""

import json
from datetime import timedelta

import pytest
from tests.server import swept
from tests.server.swept import SWEEP
from tests.server.test_pages import check_page
from tests.server.web import ask, send

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.events import store as events
from setpoint.server.wandb.sweeps import store

PATH = f"/sweeps/{SWEEP}"


@pytest.fixture
def searched(backend: LocalBackend, clock: ManualClock) -> LocalBackend:
    """A store with a sweep and an artifact of two versions."""
    swept.sweep(backend, clock, 12)
    return backend


def test_a_sweep_says_what_was_best_and_what_that_depends_on(
    searched: LocalBackend, empty: str
) -> None:
    for path in ("/sweeps", PATH):
        check_page(ask(empty, path))
    page = ask(empty, PATH).text
    rows = json.loads(ask(empty, f"{PATH}?format=json").body)
    best = min(rows, key=lambda row: row["metrics.loss"])
    assert f"loss {best['metrics.loss']:.4g} at best" in page
    assert "bayes search after least loss: 12 of 40 runs" in page
    assert page.index("<span>lr</span>") < page.index("<span>seed</span>")
    assert ask(empty, f"{PATH}?format=svg&chart=best").status == 200
    plotted = page.partition('id="plotted">')[2].partition("</script>")[0]
    assert set(json.loads(plotted)["columns"]) == {
        *("params.lr", "params.depth", "params.seed", "metrics.loss"),
    }


def test_a_sweep_is_paused_resumed_and_stopped_on_its_page(
    searched: LocalBackend, empty: str
) -> None:
    def state() -> str:
        with searched.reading() as conn:
            return store.get(conn, SWEEP).state

    assert send(empty, PATH, {"do": "resume"}).status == 400
    for what, after in (
        ("pause", store.PAUSED),
        ("resume", store.RUNNING),
        ("stop", store.FINISHED),
        ("resume", store.RUNNING),
        ("cancel", store.CANCELED),
    ):
        assert send(empty, PATH, {"do": what}).headers["location"] == PATH
        assert state() == after
    over = send(empty, PATH, {"do": "resume"})
    assert (over.status, "it is over" in over.text) == (400, True)
    with searched.reading() as conn:
        told = events.latest(conn, kind="sweep.changed")
    assert told[0].detail == {"state": store.CANCELED, "was": store.RUNNING}
    assert ask(empty, "/sweeps/nope").status == 404


def test_a_sweep_whose_config_cannot_be_read_has_a_page(searched: LocalBackend, empty: str) -> None:
    with searched.engine.begin() as conn:
        store.change(conn, SWEEP, config="[not, an, object")
    check_page(ask(empty, PATH))
    check_page(ask(empty, "/sweeps"))


def test_the_address_that_the_client_prints_leads_to_the_sweep(
    searched: LocalBackend, empty: str
) -> None:
    answer = ask(empty, f"/setpoint/churn/sweeps/{SWEEP}")
    assert (answer.status, answer.headers["location"]) == (303, PATH)


def test_artifacts_of_runs_are_compared(
    searched: LocalBackend, empty: str, clock: ManualClock
) -> None:
    number = swept.artifact(searched, clock)
    page = ask(empty, "/compare?run=swept-1&run=swept-3&run=swept-4")
    check_page(page)
    assert "Artifacts side by side" in page.text
    made, used = page.text.split(f'<th scope="row"><a href="/collections/{number}">')[1:]
    assert f'href="/collections/{number}/0"' in made
    assert f'href="/collections/{number}/1"' in made
    assert "made" in made.partition("</th>")[0]
    assert used.partition("</tr>")[0].count(f'href="/collections/{number}/0"') == 2
    same = ask(empty, "/compare?run=swept-3&run=swept-4").text
    assert "used, the same" in same


def test_an_artifact_shows_its_versions_files_maker_and_users(
    searched: LocalBackend, clock: ManualClock, empty: str
) -> None:
    number = swept.artifact(searched, clock)
    path = f"/collections/{number}"
    for each in ("/collections", "/collections?type=dataset", path, f"{path}/0", f"{path}/1"):
        check_page(ask(empty, each))
    rows = json.loads(ask(empty, f"{path}?format=json").body)
    assert [(row["version"], row["aliases"], row["used_by"]) for row in rows] == [
        (1, ["latest"], []),
        (0, ["best"], ["swept-3", "swept-4"]),
    ]
    page = ask(empty, f"{path}/1?file=customers.csv").text
    assert '<td class="cut">2</td>' in page
    assert "s3://bucket/raw.csv" in page
    (address,) = {
        part.partition('"')[0]
        for part in page.split('href="')[1:]
        if part.startswith("/artifactsV2") and "customers.csv" in part.partition('"')[0]
    }
    assert ask(empty, address).body.startswith(b"id,spent")
    used = ask(empty, "/runs/swept-3").text
    (led,) = {p.partition('"')[0] for p in used.split('href="') if "collections/named" in p[:30]}
    assert ask(empty, led).headers["location"] == f"{path}/0"
    assert ask(empty, f"{path}/7").status == 404
    assert ask(empty, "/collections/named/churn/customers:none").status == 404


def test_how_long_runs_are_kept_is_said_and_set_on_a_page(
    searched: LocalBackend, clock: ManualClock, empty: str
) -> None:
    page = ask(empty, "/keeping")
    check_page(page)
    assert "Every run is kept" in page.text
    form = {"do": "keep", "experiment": "churn", "days": "1", "tags": "keep, paper"}
    assert send(empty, "/keeping", {**form, "reason": ""}).status == 400
    assert send(empty, "/keeping", {**form, "reason": "the disk"}).status == 303
    assert "No run is older" in ask(empty, "/keeping").text
    clock.advance(timedelta(days=2))
    later = ask(empty, "/keeping")
    check_page(later)
    assert "12 runs are older than the rule keeps" in later.text
    drop = {"do": "drop", "experiment": "churn", "reason": "more disks"}
    assert send(empty, "/keeping", drop).status == 303
    assert "Every run is kept" in ask(empty, "/keeping").text
