"""A person's way through runs in a real browser: find, choose, compare, watch, write."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import ROOT, serving

from setpoint.config import Settings
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import columns, service
from setpoint.runs.commands import Append, Finish, Start
from setpoint.runs.entities import Value
from setpoint.server.app import STATIC, create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (STATIC / "app.js").exists(), reason="pages not built: make ui"),
]
_AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
COUNT = 1_500


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A store of 1,500 runs, the last twenty with curves, and one of a million points."""
    home = tmp_path_factory.mktemp("tracked")
    url = f"sqlite:///{home / 'setpoint.db'}"
    backend = open_local(Settings(home=home, database_url=url, actor="ada"))
    rng = np.random.default_rng(5)
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        for i in range(COUNT):
            rate, depth = float(10 ** rng.uniform(-4, -1)), int(rng.integers(2, 9))
            params: dict[str, Value] = {
                "rate": rate,
                "depth": depth,
                "kind": ["trees", "net"][i % 2],
            }
            start = Start(id=f"run-{i}", name=f"try {i}", experiment="churn", params=params)
            service.start(ctx, start)
            _log(ctx, f"run-{i}", "auc", np.array([i / COUNT]))
            if i >= COUNT - 20:
                loss = rate * 9 + np.exp(-np.arange(80) / 20) + rng.normal(0, 0.02, 80)
                _log(ctx, f"run-{i}", "loss", loss)
            service.finish(ctx, Finish(run=f"run-{i}"))
        service.start(ctx, Start(id="long", name="long", experiment="long"))
        for first in range(0, 1_000_000, 100_000):
            _log(ctx, "long", "loss", rng.normal(0, 1, 100_000), first=first)
    yield backend
    backend.engine.dispose()


def _log(ctx: Context, run: str, name: str, values: NDArray[np.float64], first: int = 0) -> None:
    steps = np.arange(first, first + values.size)
    found = columns.Columns(steps, 1_767_268_800_000_000 + steps * 1_000_000, values)
    service.append(ctx, Append(run=run, series=[columns.series(name, found)]))


@pytest.fixture(scope="module")
def url(tracked: LocalBackend) -> Iterator[str]:
    with serving(create_app(tracked)) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test for any error that its scripts or its policy raise."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "console",
        lambda message: said.append(message.text) if message.type == "error" else None,
    )
    yield opened
    context.close()
    assert not said


def test_any_place_in_the_table_is_a_scroll_away(page: Page, url: str) -> None:
    page.goto(f"{url}/runs?experiment=churn&order=metrics.auc+ASC")
    table = page.locator("runs-table .scroll")
    expect(page.get_by_role("link", name="try 0", exact=True)).to_be_visible()
    table.evaluate("box => { box.scrollTop = box.scrollHeight; }")
    expect(page.get_by_role("link", name=f"try {COUNT - 1}", exact=True)).to_be_visible()
    assert page.locator("tbody[data-window] tr").count() < 100
    table.evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    middle = page.get_by_role("link", name=re.compile(rf"try {COUNT // 2 - 5}\d?$"))
    expect(middle.first).to_be_visible()


def test_chosen_runs_outlive_scrolling_and_reloading_and_are_compared(page: Page, url: str) -> None:
    page.goto(f"{url}/runs?experiment=churn")
    rows = page.locator("tbody[data-window] tr")
    rows.nth(0).get_by_role("checkbox").check()
    rows.nth(3).get_by_role("checkbox").click(modifiers=["Shift"])
    expect(page.locator("#change [data-count]")).to_have_text("4 chosen")
    expect(page.get_by_role("heading", name="Chosen runs")).to_be_visible()
    page.locator("runs-table .scroll").evaluate("box => { box.scrollTop = 20000; }")
    expect(page.get_by_role("link", name=f"try {COUNT - 1}", exact=True)).to_have_count(0)
    page.reload()
    expect(page.locator("#change [data-count]")).to_have_text("4 chosen")
    page.locator("runs-table .scroll").evaluate("box => { box.scrollTop = 20000; }")
    expect(page.get_by_role("link", name=f"try {COUNT - 1}", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("4 runs compared")
    assert page.url.count("run=") == 4


def test_the_filter_completes_what_is_typed(page: Page, url: str) -> None:
    page.goto(f"{url}/runs")
    box = page.get_by_label("Filter")
    box.click()
    page.keyboard.type("dep")
    expect(page.get_by_role("option").first).to_contain_text("params.depth")
    page.keyboard.press("Tab")
    expect(box).to_have_value("params.depth ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("4 a")
    page.keyboard.press("Tab")
    expect(box).to_have_value("params.depth = 4 AND ")
    page.keyboard.type("status = ")
    expect(page.get_by_role("option", name="finished")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=params.depth"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^\d+ runs$"))


def test_curves_are_smoothed_zoomed_and_restored_by_their_address(page: Page, url: str) -> None:
    page.goto(f"{url}/compare?run=run-1499&run=run-1498&run=run-1497")
    chart = page.locator("curve-chart")
    expect(chart.locator("path.line")).to_have_count(3)
    page.get_by_label("smoothing").fill("0.9")
    page.get_by_label("log y").check()
    expect(chart.locator("path.line")).to_have_count(6)
    box = chart.locator("svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 80, steps=4)
    page.mouse.up()
    expect(chart.get_by_role("button", name="whole: loss")).to_be_attached()
    address = page.url
    assert all(part in address for part in ("smooth=0.9", "log=1", "from=", "to="))
    drawn = chart.locator("path.line").nth(1).get_attribute("d")
    page.goto(address)
    expect(chart.locator("path.line")).to_have_count(6)
    assert chart.locator("path.line").nth(1).get_attribute("d") == drawn
    chart.focus()
    page.keyboard.press("0")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout b")).to_have_text("step 79")
    expect(page.locator(".readout span")).to_have_count(3)
    with page.expect_download() as saved:
        chart.get_by_role("button", name="PNG: loss").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_brush_picks_runs_by_pointer_and_by_key(page: Page, url: str) -> None:
    runs = "&".join(f"run=run-{i}" for i in range(COUNT - 8, COUNT))
    page.goto(f"{url}/compare?{runs}")
    plot = page.locator("parallel-plot")
    expect(plot.locator("path.line")).to_have_count(8)
    plot.locator("[data-axis='params.rate']").focus()
    page.keyboard.press("Enter")
    told = plot.get_by_role("status")
    expect(told).to_contain_text(re.compile(r"^\d of 8 runs"))
    kept = told.inner_text()
    page.reload()
    expect(plot.get_by_role("status")).to_have_text(kept)
    plot.locator("[data-axis='params.rate']").focus()
    page.keyboard.press("Escape")
    expect(plot.locator("path.unpicked")).to_have_count(0)
    hit = plot.locator("[data-axis='params.kind'] .hit").bounding_box()
    assert hit is not None
    page.mouse.move(hit["x"] + 12, hit["y"] + 4)
    page.mouse.down()
    page.mouse.move(hit["x"] + 12, hit["y"] + hit["height"] / 2, steps=4)
    page.mouse.up()
    expect(plot.get_by_role("status")).to_contain_text("4 of 8 runs")
    page.get_by_role("link", name="compare only these").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("4 runs compared")
    expect(page.locator("scatter-plot a")).to_have_count(4)


def test_a_run_is_watched_while_it_goes_on(page: Page, url: str, tracked: LocalBackend) -> None:
    tracked.call(service.start, Start(id="now", name="now", experiment="churn"))
    with tracked.engine.begin() as conn:
        _log(tracked.context(conn), "now", "loss", np.array([3.0, 2.0]))
    page.goto(f"{url}/runs/now")
    chart = page.locator("curve-chart")
    expect(chart).to_have_attribute("aria-label", re.compile("last 2;"))
    expect(page.locator(".live")).to_have_text("live")
    with tracked.engine.begin() as conn:
        _log(tracked.context(conn), "now", "loss", np.array([1.25]), first=2)
        _log(tracked.context(conn), "now", "fresh", np.array([1.0, 2.0]))
    expect(chart.first).to_have_attribute("aria-label", re.compile(r"last 1\.25;"))
    expect(page.locator("[data-metric='fresh'] curve-chart")).to_be_attached()
    expect(page.locator("#metrics-now")).to_contain_text("1.25")
    tracked.call(service.finish, Finish(run="now"))
    expect(page.locator("#top")).to_contain_text("finished")


def test_a_million_points_are_drawn_as_bands(page: Page, url: str) -> None:
    page.goto(f"{url}/runs/long")
    expect(page.locator("curve-chart path.band")).to_be_visible()
    (found,) = re.findall(r"\((-[\d.]+) – ([\d.]+)\)", _read(page))
    assert float(found[0]) < -2 < 2 < float(found[1])


def _read(page: Page) -> str:
    page.locator("curve-chart").focus()
    page.keyboard.press("ArrowLeft")
    return page.locator(".readout span").inner_text().replace("\N{MINUS SIGN}", "-")


def test_a_report_is_written_from_a_comparison_and_taken_along(
    page: Page, url: str, browser: Browser, tmp_path: Path
) -> None:
    page.goto(f"{url}/compare?run=run-1499&run=run-1498")
    page.get_by_role("link", name="Write a report on them").click()
    page.get_by_label("Title").fill("Two tries")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("curve-chart path.line")).to_have_count(2)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as one file").click()
    file = tmp_path / "report.html"
    saved.value.save_as(file)
    context = browser.new_context(offline=True)
    alone = context.new_page()
    alone.goto(file.as_uri())
    expect(alone.locator("curve-chart[data-drawn] path.line")).to_have_count(2)
    alone.locator("curve-chart").focus()
    alone.keyboard.press("ArrowLeft")
    expect(alone.locator(".readout b")).to_have_text("step 79")
    context.close()


@pytest.mark.parametrize(("width", "colours"), [(1440, "dark"), (390, "light")])
def test_nothing_is_cut_and_no_reader_shut_out(
    browser: Browser, url: str, pictures: Path, width: int, colours: str
) -> None:
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: make check")
    runs = "&".join(f"run=run-{i}" for i in range(COUNT - 5, COUNT))
    paths = {
        "runs": "/runs?experiment=churn&pin=run-3",
        "runs-wrong": "/runs?q=nothing.x+%3E+1",
        "runs-grouped": "/runs?group=params.kind",
        "compare": f"/compare?{runs}",
        "run": "/runs/run-1499?note=1",
        "experiment": "/experiments/1",
        "experiments": "/experiments",
        "write": f"/reports/new?{runs}",
    }
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=colours)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []
    for name, path in paths.items():
        page.goto(url + path)
        for chart in page.locator("curve-chart").all()[:1]:
            expect(chart).to_have_attribute("data-drawn", re.compile("."))
        page.screenshot(path=pictures / f"{name}-{width}-{colours}.png", full_page=True)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wrong += [f"{path} is {over} px too wide"] * (over > 0)
        page.evaluate(_AXE.read_text())
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        wrong += [
            f"{path}: {each['id']}: {each['nodes'][0]['html'][:160]}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
    context.close()
    assert not wrong, "\n".join(wrong)
