"""What people do with runs on the pages: find, choose, compare, look into, write about."""

import csv
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from msgspec import structs
from tests.conftest import NOON
from tests.server.conftest import serving
from tests.server.web import Answer, ask, call, send
from tests.stores import Databases, file_url, migrated

from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import columns, service
from setpoint.runs.commands import Append, Finish, Log, SearchRuns, ShowRun, Start
from setpoint.runs.entities import Artifact, Code, Run, View
from setpoint.server.app import create_app

COUNT = 130
MATRIX = b'{"type": "confusion", "step": 3, "labels": ["y", "n"], "counts": [[5, 1], [2, 7]]}'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def first(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store of 130 runs in two experiments, made once to be copied."""
    home = tmp_path_factory.mktemp("tracked") / "home"
    if request.param == "sqlite":
        url = request.getfixturevalue("file_stores").empty(home)
    else:
        url = migrated(request.getfixturevalue("databases").blank())
    settings = Settings(home=home, database_url=url, actor="ada")
    clock = ManualClock(NOON)
    backend = open_local(settings, clock)
    _fill(backend, clock)
    backend.engine.dispose()
    return settings


@pytest.fixture
def tracked(
    first: Settings, request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[LocalBackend]:
    """That store, to do with as a test likes."""
    home = tmp_path / "home"
    shutil.copytree(first.home, home)
    clock.advance(timedelta(minutes=COUNT))
    with ExitStack() as stack:
        if first.database_url == file_url(first.home):
            url = file_url(home)
        else:
            databases: Databases = request.getfixturevalue("databases")
            url = stack.enter_context(databases.copy(first.database_url))
        local = open_local(structs.replace(first, home=home, database_url=url), clock)
        stack.callback(local.engine.dispose)
        yield local


def _fill(backend: LocalBackend, clock: ManualClock) -> None:
    """Make the runs; the last ones have curves and files."""
    rng = np.random.default_rng(3)
    steps = np.arange(50)
    for i in range(COUNT):
        clock.advance(timedelta(minutes=1))
        backend.call(
            service.start,
            Start(
                id=f"run-{i}",
                name=f"try {i}",
                experiment="churn" if i % 3 else "fraud/new",
                params={"leaves": 2 ** (i % 5), "kind": "=SUM(A1)" if i == 7 else "trees"},
                tags={"team": "a's" if i % 2 else "b"},
            ),
        )
        at = np.full(1, 1_767_268_800_000_000 + i)
        last = columns.Columns(np.array([0]), at, np.array([i / COUNT]))
        series = [columns.series("auc", last)]
        if i >= COUNT - 4:
            times = 1_767_268_800_000_000 + steps * 1_000_000
            curve = columns.Columns(steps, times, np.exp(-steps / 9) + rng.normal(0, 0.01, 50))
            series.append(columns.series("loss", curve))
        backend.call(service.append, Append(run=f"run-{i}", series=series))
        if i < COUNT - 1:
            backend.call(service.finish, Finish(run=f"run-{i}"))
    _files(backend)


def _files(backend: LocalBackend) -> None:
    store = open_store(backend.settings)
    left = {
        "plots/roc.png": PNG,
        "rows.csv": b"name,value\na,1\nb,2\n",
        "output.log": b"first line\n" * 10_000 + b"the very end\n",
        "page.html": b"<script>alert(1)</script>",
        "card.md": b"# Card\n\nIt **holds**.",
        "media/hits/3-0.json": MATRIX,
    }
    diff = b"--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-rate = 0.1\n+rate = 0.2\n"
    log = Log(
        run=f"run-{COUNT - 1}",
        artifacts={p: Artifact(address=store.put(c), size=len(c)) for p, c in left.items()},
        code=Code(commit="a" * 40, dirty=True, diff=store.put(diff)),
    )
    backend.call(service.log, log)


@pytest.fixture
def url(tracked: LocalBackend) -> Iterator[str]:
    with serving(create_app(tracked)) as address:
        yield address


def _runs(page: Answer) -> list[str]:
    return re.findall(r'<tr data-run="([^"]+)"', page.text)


def _find(url: str, **view: str) -> Answer:
    return ask(url, f"/runs?{urlencode(view)}")


def _show(backend: LocalBackend, run: str) -> Run:
    found: Run = backend.call(service.show, ShowRun(run=run))
    return found


# -- the table ---------------------------------------------------------------------------


def test_runs_are_found_in_an_order_and_counted(url: str) -> None:
    page = _find(url, q="metrics.auc < 0.5 AND params.leaves = 16", order="metrics.auc DESC")
    found = _runs(page)
    assert found[:2] == ["run-64", "run-59"]
    assert "<h1>13 runs</h1>" in page.text


def test_a_wrong_filter_is_shown_where_it_is_wrong_and_kept_in_the_form(url: str) -> None:
    page = _find(url, q="metrics.auc > 0.5 AND parms.leaves = '16'")
    assert page.status == 400
    assert "<mark>parms.leaves = &#39;16&#39;</mark>" in page.text
    assert "did you mean params?" in page.text
    assert 'value="metrics.auc &gt; 0.5 AND parms.leaves = &#39;16&#39;"' in page.text


def test_a_script_gets_any_stretch_of_the_table(url: str) -> None:
    query = urlencode([("order", "metrics.auc ASC"), ("c", "metrics.auc"), ("c", "params.leaves")])
    rows = ask(url, f"/rows?{query}&at=100")
    assert _runs(rows) == [f"run-{i}" for i in range(100, COUNT)]
    assert "<html" not in rows.text
    assert _runs(ask(url, f"/rows?{query}&at=0"))[0] == "run-0"
    assert _runs(ask(url, f"/rows?{query}&at={COUNT}")) == []
    assert _runs(ask(url, f"/rows?{query}&at=nonsense")) == []


def test_a_reader_without_scripts_goes_on_by_a_link(url: str) -> None:
    first = ask(url, "/runs")
    (link,) = re.findall(r'class="further"><a href="([^"]+)"', first.text)
    second = ask(url, html.unescape(link))
    assert _runs(first) + _runs(second) == [f"run-{i}" for i in reversed(range(COUNT))]


def test_every_run_of_a_view_is_saved_not_only_those_in_sight(url: str) -> None:
    query = urlencode([("order", "start_time ASC"), ("c", "metrics.auc"), ("c", "params.kind")])
    rows = list(csv.DictReader(io.StringIO(ask(url, f"/runs?{query}&format=csv").text)))
    assert [row["id"] for row in rows] == [f"run-{i}" for i in range(COUNT)]
    assert rows[7]["params.kind"] == "'=SUM(A1)"
    told = json.loads(ask(url, f"/runs?{query}&format=json").body)
    assert len(told) == COUNT
    assert told[7]["params.kind"] == "=SUM(A1)"
    assert json.loads(_find(url, q="metrics.auc > 2", format="json").body) == []


def test_groups_tell_how_many_and_lead_to_them(url: str) -> None:
    page = _find(url, group="tags.team", q="metrics.auc >= 0.5")
    row = r'<th scope="row"><a href="([^"]+)">([^<]+)</a></th><td class="n">(\d+)'
    led = re.findall(row, page.text)
    assert sorted((html.unescape(name), int(count)) for _, name, count in led) == [
        ("a's", 33),
        ("b", 32),
    ]
    assert ">0.7462<" in page.text  # the mean of 66/130, 68/130, … 128/130
    for address, _, count in led:
        assert f"<h1>{count} runs</h1>" in ask(url, html.unescape(address)).text


def test_pinned_runs_stay_at_the_top_until_they_are_unpinned(url: str) -> None:
    page = ask(url, "/runs?pin=run-3&q=params.leaves+%3D+1&pin=gone")
    assert _runs(page)[0] == "run-3"
    away = ask(url, "/runs?pin=run-3&pin=run-4&unpin=run-3")
    assert (away.status, away.headers["location"]) == (303, "/runs?pin=run-4")


def test_the_first_curves_are_drawn_in_the_colours_of_their_rows(url: str) -> None:
    page = ask(url, "/runs")
    (spec,) = re.findall(r'<curve-chart class="[^"]*" data-spec="([^"]*)"', page.text)
    told = json.loads(html.unescape(spec))
    assert told["metric"] == "loss"
    first = told["runs"][0]
    assert (first["id"], first["color"]) == (f"run-{COUNT - 1}", "c0")
    assert f'<a href="/runs/run-{COUNT - 1}" class="series c0"' in page.text


# -- changing many -----------------------------------------------------------------------


def test_chosen_runs_are_tagged_deleted_and_restored(url: str, tracked: LocalBackend) -> None:
    body = {"do": "tag", "tag": "state = good enough", "run": "run-5"}
    assert send(url, "/runs", body).headers["location"] == "/runs?run=run-5"
    assert _show(tracked, "run-5").tags["state"] == "good enough"
    send(url, "/runs", {"do": "delete", "run": "run-5"})
    assert _runs(ask(url, "/runs?view=deleted")) == ["run-5"]
    send(url, "/runs", {"do": "restore", "run": "run-5", "view": "deleted"})
    assert _runs(ask(url, "/runs?view=deleted")) == []


def test_all_runs_of_a_view_are_changed_and_no_other(url: str, tracked: LocalBackend) -> None:
    send(
        url, "/runs", {"do": "delete", "all": "1", "q": "params.leaves = 16", "experiment": "churn"}
    )
    left = tracked.call(service.search, SearchRuns(view=View.DELETED)).runs
    assert len(left) == 17
    assert {(run.experiment, run.params["leaves"]) for run in left} == {("churn", 16)}


def test_what_cannot_be_done_is_said_and_not_done(url: str, tracked: LocalBackend) -> None:
    nameless = {"do": "tag", "tag": "x", "run": "run-1"}
    for body in (nameless, {"do": "delete"}, {"do": "burn", "run": "run-1"}):
        assert send(url, "/runs", body).status == 400
    assert send(url, "/runs", {"do": "delete", "run": "run-x"}).status == 404
    assert tracked.call(service.search, SearchRuns(view=View.DELETED)).runs == []


def test_a_view_is_saved_listed_and_removed(url: str) -> None:
    query = "q=metrics.auc+%3E+0.7&c=metrics.auc&evil=//x"
    saved = send(url, "/views", {"do": "save", "name": "the good", "query": query})
    assert saved.headers["location"] == "/runs?q=metrics.auc+%3E+0.7&c=metrics.auc"
    assert (
        'href="/runs?q=metrics.auc+%3E+0.7&amp;c=metrics.auc">the good</a>'
        in ask(url, "/runs").text
    )
    send(url, "/views", {"do": "delete", "name": "the good"})
    assert "the good" not in ask(url, "/runs").text


# -- comparing ---------------------------------------------------------------------------


def _compare(url: str, *runs: int, **more: str) -> Answer:
    return ask(url, f"/compare?{urlencode([*(('run', f'run-{i}') for i in runs), *more.items()])}")


def test_runs_are_compared_by_what_differs(url: str) -> None:
    page = _compare(url, 129, 128, 4)
    plotted = json.loads(re.findall(r'id="plotted">(.*?)</script>', page.text)[0])
    assert [run["id"] for run in plotted["runs"]] == ["run-129", "run-128", "run-4"]
    assert plotted["columns"]["params.leaves"] == [16, 8, 16]
    assert "params.kind" not in plotted["columns"]
    assert page.text.count("<curve-chart") == 1
    saved = _compare(url, 129, 128, 4, format="csv", table="differences")
    table = list(csv.reader(io.StringIO(saved.text)))
    assert ["param", "leaves", "16", "8", "16"] in table


def test_comparing_leads_where_it_makes_sense(url: str) -> None:
    assert _compare(url, 5).headers["location"] == "/runs/run-5"
    assert _compare(url).status == 400
    assert _compare(url, 5, 999).status == 404
    from_table = _compare(url, 5, 6, q="x", order="y")
    assert from_table.headers["location"] == "/compare?run=run-5&run=run-6"
    every = ask(url, "/compare?all=1&q=params.leaves+%3D+16").headers["location"]
    assert every.count("run=") == 26


def test_a_file_is_shown_side_by_side(url: str) -> None:
    page = _compare(url, 129, 128, artifact="plots/roc.png")
    assert 'src="/runs/run-129/files/plots/roc.png"' in page.text
    assert "There is no such file." in page.text


# -- one run -----------------------------------------------------------------------------


def test_a_run_s_page_holds_its_curve_log_media_and_difference(url: str) -> None:
    text = ask(url, "/runs/run-129").text
    (spec,) = re.findall(r'<curve-chart class="[^"]*" data-spec="([^"]*)"><script', text)
    assert json.loads(html.unescape(spec))["metric"] == "loss"
    assert "the very end" in text
    assert text.count("first line") < 10_000
    assert '<span class="added">+rate = 0.2' in text
    assert "truth, then predicted" in text
    assert "<curve-chart" in text
    assert '<script type="application/json">{"curves"' not in ask(url, "/runs/run-129?part=1").text


def test_files_are_looked_into(url: str) -> None:
    assert '<th scope="col">value</th>' in ask(url, "/runs/run-129?file=rows.csv").text
    assert "<strong>holds</strong>" in ask(url, "/runs/run-129?file=card.md").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ask(url, "/runs/run-129?file=page.html").text
    assert "There is no such file." in ask(url, "/runs/run-129?file=nope").text


def test_a_file_is_sent_as_what_it_is_and_can_run_nothing(url: str) -> None:
    image = ask(url, "/runs/run-129/files/plots/roc.png")
    assert (image.status, image.body) == (200, PNG)
    assert image.headers["content-type"] == "image/png"
    assert image.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    page = ask(url, "/runs/run-129/files/page.html")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    for path in ("nope", "..%2f..%2fsetpoint.db", "plots", "plots/../rows.csv"):
        assert ask(url, f"/runs/run-129/files/{path}").status == 404, path


def test_notes_are_written_shown_and_removed(url: str, tracked: LocalBackend) -> None:
    send(url, "/runs/run-1", {"do": "note", "text": "It **works**.\r\n<b>no</b>"})
    assert _show(tracked, "run-1").tags["notes"] == "It **works**.\n<b>no</b>"
    text = ask(url, "/runs/run-1").text
    assert "<strong>works</strong>" in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    send(url, "/runs/run-1", {"do": "note", "text": " "})
    assert "notes" not in _show(tracked, "run-1").tags


def test_notes_of_another_client_are_changed_where_it_keeps_them(
    url: str, tracked: LocalBackend
) -> None:
    tracked.call(service.log, Log(run="run-1", tags={"mlflow.note.content": "theirs"}))
    assert "theirs" in ask(url, "/runs/run-1").text
    send(url, "/runs/run-1", {"do": "note", "text": "ours"})
    tags = _show(tracked, "run-1").tags
    assert (tags["mlflow.note.content"], "notes" in tags) == ("ours", False)


def test_a_run_is_tagged_deleted_and_restored_on_its_page(url: str, tracked: LocalBackend) -> None:
    send(url, "/runs/run-1", {"do": "tag", "tag": "a=b=c"})
    assert _show(tracked, "run-1").tags["a"] == "b=c"
    send(url, "/runs/run-1", {"do": "delete"})
    assert "This run was deleted" in ask(url, "/runs/run-1").text
    send(url, "/runs/run-1", {"do": "restore"})
    assert "This run was deleted" not in ask(url, "/runs/run-1").text
    assert send(url, "/runs/run-1", {"do": "tag", "tag": "none"}).status == 400


# -- experiments and reports -------------------------------------------------------------


def test_an_experiment_tells_how_it_has_gone_and_is_changed(url: str) -> None:
    (number,) = re.findall(r'href="/experiments/(\d+)">fraud/new', ask(url, "/experiments").text)
    path = f"/experiments/{number}"
    text = ask(url, path).text
    assert "43 finished" in text
    assert 'href="/runs/run-129"' in text
    send(url, path, {"do": "note", "text": "*Why* we look"})
    assert "<em>Why</em>" in ask(url, path).text
    send(url, path, {"do": "rename", "name": "fraud/old"})
    assert "<h1>fraud/old</h1>" in ask(url, path).text
    send(url, path, {"do": "delete"})
    assert "fraud/old" not in ask(url, "/experiments").text
    assert "fraud/old" in ask(url, "/experiments?view=deleted").text


REPORT = """
# What we found

```chart
metric: loss
experiment: churn
filter: metrics.loss IS NOT NULL
```

```runs
filter: metrics.auc > 0.95
order: metrics.auc DESC
columns: metrics.auc, params.leaves
```

```chart
metric: loss
runs: run-999
```

![roc](/runs/run-129/files/plots/roc.png) <img src=x onerror=alert(1)>
"""


def _written(url: str, text: str = REPORT) -> str:
    saved = send(url, "/reports", {"do": "save", "title": "Rates & <trees>", "text": text})
    assert saved.status == 303, saved.text
    return saved.headers["location"]


def test_a_report_shows_charts_and_tables_of_runs_as_they_are(url: str) -> None:
    text = ask(url, _written(url)).text
    assert "<h1>Rates &amp; &lt;trees&gt;</h1>" in text
    (spec,) = re.findall(r'<curve-chart class="[^"]*" data-spec="([^"]*)"', text)
    assert {run["id"] for run in json.loads(html.unescape(spec))["runs"]} == {"run-128", "run-127"}
    table = text.partition('aria-label="Runs"')[2].partition("</table>")[0]
    assert re.findall(r'href="/runs/([^"]+)"', table) == [f"run-{i}" for i in range(129, 123, -1)]
    assert "no run &#39;run-999&#39;" in text
    assert "<img src=x" not in text


def test_a_report_s_file_stands_alone(url: str) -> None:
    file = ask(url, f"{_written(url)}?saved=1")
    assert file.headers["content-disposition"] == 'attachment; filename="Rates-trees.html"'
    assert 'src="data:image/png;base64,' in file.text
    before = file.text.partition('<script type="module">')[0]
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]+"', before)
    assert "&#34;frozen&#34;:true" in file.text
    assert 'class="sp-chart"' in file.text


def test_a_report_is_changed_by_one_at_a_time(url: str) -> None:
    path = _written(url, "first")
    assert ">first</textarea>" in ask(url, f"{path}/edit").text
    change = {"do": "save", "title": "Mine", "text": "second", "edition": "1"}
    assert send(url, path, change).status == 303
    assert send(url, path, change | {"text": "third"}).status == 409
    assert "second" in ask(url, path).text
    send(url, path, {"do": "delete"})
    assert ask(url, path).status == 404
    assert "Mine" not in ask(url, "/reports").text


def test_a_report_on_runs_begins_with_their_chart(url: str) -> None:
    text = ask(url, "/reports/new?run=run-129&run=run-128").text
    assert "metrics: loss\nruns: run-129, run-128" in text


def test_names_of_every_kind_find_their_way_back(url: str, tracked: LocalBackend) -> None:
    odd = "a/b \"c\" 'd' <e> \N{SNOWMAN} & 100%"
    tracked.call(
        service.start,
        Start(id="odd", experiment=odd, name=odd, params={odd: odd}, tags={odd: "x" * 10_000}),
    )
    assert _runs(_find(url, experiment=odd)) == ["odd"]
    view = [("experiment", odd), ("c", f"params.{odd}"), ("c", f"tags.{odd}")]
    page = ask(url, f"/runs?{urlencode(view)}")
    assert html.escape(odd, quote=False) in page.text.replace("&#39;", "'").replace("&#34;", '"')
    assert len(page.text) < 200_000
    groups = _find(url, group=f"params.{odd}", experiment=odd).text
    (led,) = re.findall(r'<th scope="row"><a href="([^"]+)">', groups)
    assert _runs(ask(url, html.unescape(led))) == ["odd"]
    tracked.call(service.log, Log(run="odd", artifacts={f"{odd}.txt": _kept(tracked, b"deep")}))
    assert ask(url, f"/runs/odd/files/{quote(odd)}.txt").body == b"deep"


def _kept(backend: LocalBackend, content: bytes) -> Artifact:
    return Artifact(address=open_store(backend.settings).put(content), size=len(content))


def test_the_api_answers_curves_that_a_chart_can_read(url: str) -> None:
    answer = call(url, "runs.histories", b'{"runs": ["run-129"], "metrics": ["loss"]}')
    (curve,) = json.loads(answer.body)["curves"]
    assert set(curve["band"]) == {"steps", "at", "last", "low", "high"}
