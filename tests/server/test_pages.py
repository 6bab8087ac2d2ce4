import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from tests.releases.test_by_hand import added
from tests.server.conftest import serving
from tests.server.web import Answer, ask, send

from setpoint.control.graphs import store as graphs
from setpoint.control.graphs.entities import AppliedGraph
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.events.store import record
from setpoint.monitor.service import ListAlarms, open_alarm
from setpoint.monitor.service import ls as list_alarms
from setpoint.releases.entities import State
from setpoint.releases.service import ListReleases, Which, show
from setpoint.releases.service import ls as list_releases
from setpoint.runs.service import ListRuns, ShowRun
from setpoint.runs.service import ls as list_runs
from setpoint.runs.service import show as show_run
from setpoint.server.app import create_app

EMPTY = [
    "/",
    "/models",
    "/models?view=deleted",
    "/releases",
    "/runs",
    "/experiments",
    "/reports",
    "/reports/new",
    "/data",
    "/alarms",
    "/events",
    "/search",
    "/search?q=x",
]


def pages_of(backend: LocalBackend) -> list[str]:
    """Return a page of every kind."""
    release = backend.call(list_releases, ListReleases(limit=1)).releases[0]
    run, other = backend.call(list_runs, ListRuns(limit=2)).runs
    alarm = backend.call(list_alarms, ListAlarms(limit=1)).alarms[0]
    return [
        *EMPTY,
        "/models/flights-late",
        "/models/flights-late?range=30d",
        "/models/flights-late/arms",
        "/models/flights-late/1",
        "/models/flights-late/2",
        "/models/flights-late/2?describe=1",
        "/models/flights-late/2/card",
        "/models/flights-late/2/card?edit=1",
        "/models/flights-late/2/diff",
        f"/releases/{release.id}",
        f"/runs/{run.id}",
        f"/runs/{run.id}?note=1",
        "/runs?group=status",
        f"/compare?run={run.id}&run={other.id}",
        f"/experiments/{run.experiment_id}",
        f"/reports/new?run={run.id}",
        "/data/flights",
        "/data/weather/2",
        "/data/flights/2/profile",
        f"/alarms/{alarm.id}",
        f"/why?id={alarm.id}",
        "/why?id=flights-late/2",
        "/events?kind=release.",
        "/events?subject=model:flights-late&before=10",
    ]


def check_page(page: Answer) -> None:
    """A page is whole, works under the policy, and asks nobody else for anything."""
    assert page.status == 200, page.text[:2000]
    text = page.text
    assert text.count('<main id="main"') == 1
    assert "<h1>" in text
    assert not re.search(r"<[^>]+\sstyle=", text)
    assert "<style" not in text
    assert not re.search(r"<[^>]+\son[a-z]+=", text)
    assert not re.search(r"<script(?! type=\"(module|application/json)\")", text)
    for address in re.findall(r'(?:href|src|action)="([^"]*)"', text):
        assert not re.match(r"(https?:)?//", address), address
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "an id is used twice"


def test_pages_of_an_empty_store_show_the_command_that_fills_them(empty: str) -> None:
    for path in EMPTY:
        page = ask(empty, path)
        check_page(page)
    for path in ("/", "/models", "/runs", "/data", "/releases", "/alarms", "/events"):
        assert 'data-copy="setpoint ' in ask(empty, path).text, path


def test_every_page_of_a_store_with_life_is_whole(site: str, lived: LocalBackend) -> None:
    for path in pages_of(lived):
        check_page(ask(site, path))


def test_every_page_works_on_both_databases(young: LocalBackend) -> None:
    with serving(create_app(young)) as url:
        for path in pages_of(young):
            check_page(ask(url, path))


def test_every_table_can_be_saved(site: str, lived: LocalBackend) -> None:
    for path in pages_of(lived):
        text = ask(site, path).text.replace("&amp;", "&")
        for address in re.findall(r'href="([^"]*format=(?:csv|json)[^"]*)"', text):
            answer = ask(site, address)
            assert answer.status == 200, address
            if "format=json" in address:
                assert isinstance(json.loads(answer.body), list)
            else:
                rows = list(csv.reader(io.StringIO(answer.text)))
                assert len({len(row) for row in rows}) == 1, address


def test_every_chart_can_be_saved(site: str, lived: LocalBackend) -> None:
    count = 0
    for path in pages_of(lived):
        text = ask(site, path).text.replace("&amp;", "&")
        for address in re.findall(r'href="([^"]*format=svg[^"]*)"', text):
            answer = ask(site, address)
            assert answer.headers["content-type"].startswith("image/svg+xml")
            ET.fromstring(answer.text)  # noqa: S314 - our own output
            count += 1
    assert count >= 4


def test_a_chart_or_table_that_a_page_lacks_is_not_found(site: str) -> None:
    for query in ("format=svg&chart=nope", "format=csv&table=nope"):
        answer = ask(site, f"/models/flights-late?{query}")
        assert answer.status == 404
        assert "it has:" in answer.text


def test_a_cell_never_becomes_a_formula(empty: str, backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        record(backend.context(conn), "=1+1", "model:x")
    rows = list(csv.DictReader(io.StringIO(ask(empty, "/events?format=csv").text)))
    assert rows[0]["kind"] == "'=1+1"


def test_text_from_outside_is_never_markup(empty: str, backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        record(backend.context(conn), "<b>k</b>", "model:<script>", why="<i>x</i>")
    text = ask(empty, "/events").text
    assert "<script>" not in text
    assert "<i>x</i>" not in text
    assert "&lt;i&gt;" in text


@pytest.mark.parametrize(
    "path", ["/models/nope", "/models/flights-late/99", "/runs/run_x", "/data/x", "/nope"]
)
def test_what_is_not_there_is_said_so_to_people_and_programs(site: str, path: str) -> None:
    page = ask(site, path)
    assert page.status == 404
    assert "<h1>" in page.text
    program = ask(site, path, headers={"accept": "application/json"})
    assert program.headers["content-type"] == "application/problem+json"


def test_the_first_thing_an_overview_says_is_what_is_off_target(site: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", ask(site, "/").text)
    assert heading is not None
    assert heading[1] == "flights-late is off target"


def test_a_decision_needs_a_reason_and_is_carried_out(
    young: LocalBackend, clock: ManualClock
) -> None:
    release = young.call(list_releases, ListReleases(limit=1)).releases[0]
    with serving(create_app(young)) as url:
        refused = send(url, f"/releases/{release.id}/rollback", {"reason": " "})
        assert refused.status == 400
        assert "reason" in refused.text
        clock.advance(timedelta(minutes=1))
        done = send(url, f"/releases/{release.id}/rollback", {"reason": "customers complain"})
        assert (done.status, done.headers["location"]) == (303, f"/releases/{release.id}")
        page = ask(url, f"/releases/{release.id}").text
    assert young.call(show, Which(release=release.id)).release.state is State.ROLLED_BACK
    assert "customers complain" in page


def test_an_alarm_is_acknowledged_with_what_was_found(young: LocalBackend) -> None:
    with young.engine.begin() as conn:
        alarm = open_alarm(
            young.context(conn),
            model="flights-late",
            version=2,
            monitor="drift",
            text="temp moved",
            evidence={},
        )
    with serving(create_app(young)) as url:
        assert send(url, f"/alarms/{alarm.id}", {"reason": "known"}).status == 303
        page = ask(url, f"/alarms/{alarm.id}").text
    assert "ada: known" in page


def test_search_goes_straight_to_the_only_thing_that_matches(site: str) -> None:
    answer = ask(site, "/search?q=weather")
    assert (answer.status, answer.headers["location"]) == (303, "/data/weather")
    several = ask(site, "/search?q=flights")
    assert several.status == 200
    assert "/models/flights-late" in several.text


def test_the_colours_a_reader_chose_are_in_the_page(site: str) -> None:
    page = ask(site, "/", headers={"accept": "text/html", "cookie": "theme=dark"})
    assert '<html lang="en" data-theme="dark">' in page.text
    odd = ask(site, "/", headers={"accept": "text/html", "cookie": 'theme="><b>'})
    assert "data-theme" not in odd.text.partition("<body")[0]


def test_an_artifact_is_sent_as_a_file_never_as_a_page(site: str, lived: LocalBackend) -> None:
    newest = lived.call(list_runs, ListRuns(limit=1)).runs[0]
    run = lived.call(show_run, ShowRun(run=newest.id))
    answer = ask(site, f"/objects/{run.artifacts['model.txt'].address}")
    assert answer.body == b"tree"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert ask(site, "/objects/b3:nope").status == 400


def test_the_page_of_a_graph_says_what_it_is_for(empty: str, backend: LocalBackend) -> None:
    assert added(backend) == 1
    graph = AppliedGraph(
        model="iris",
        hash="h",
        content={
            "model": "iris",
            "purpose": "tell flowers apart",
            "owner": "botany",
            "graph": {"tulips": {"model": "tulips"}},
        },
        functions={},
        file="iris.setpoint.yaml",
        applied_at=backend.clock.now(),
        applied_by="ada",
    )
    before = ask(empty, "/models/iris").text
    with backend.engine.begin() as conn:
        graphs.apply(conn, graph)
    assert "Tell flowers apart. Owner: botany." in ask(empty, "/models/iris").text
    assert "botany" not in before


def test_the_page_of_a_model_says_what_it_is_for(site: str) -> None:
    said = "Warn passengers whose flight will arrive 15 minutes late or more"
    assert said in ask(site, "/models/flights-late").text
