"""`setpoint.run` as scripts and notebooks use it."""

from pathlib import Path

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from tests.cli.running import until
from tests.sdk.conftest import NOTHING

import setpoint as sp
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.runs import service
from setpoint.runs.commands import ListRuns
from setpoint.sdk.tracked import Tracked


def test_an_exception_fails_the_run_with_its_text_and_goes_on(tmp_path: Path) -> None:
    def experiment() -> None:
        with sp.run("experiment", home=tmp_path, capture=NOTHING) as run:
            run.log(loss=1.0)
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        experiment()
    backend = open_local(settings(tmp_path))
    (found,) = backend.call(service.ls, ListRuns()).runs
    backend.engine.dispose()
    assert (found.status, found.error) == ("failed", "ZeroDivisionError: by zero")
    assert found.metrics == {"loss": 1.0}


def test_a_notebook_shows_a_run_and_escapes_what_it_holds(tmp_path: Path) -> None:
    with sp.run("<b>", params={"<i>": "<u>"}, home=tmp_path, capture=NOTHING) as run:
        for value in (1.0, float("nan"), 3.0, 2.0):
            run.log({"<s>": value})
        shown = run._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<td>&lt;i&gt;</td><td>&lt;u&gt;</td>" in shown
    assert '<path d="M0.0 26.0M106.7 2.0L160.0 14.0"' in shown
    assert "<s>" not in shown
    assert f"{run.id}, finished" in run._repr_html_()


def test_a_notebook_shows_an_offline_run_by_its_id(offline: Tracked) -> None:
    assert offline.id in offline._repr_html_()


def test_a_notebook_shows_a_run_live_until_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("setpoint.sdk.notebook._SECONDS", 0.05)
    publisher = CapturingDisplayPublisher()  # type: ignore[no-untyped-call]
    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell, "display_pub", publisher)

    def shown() -> list[str]:
        return [output["data"]["text/html"] for output in publisher.outputs]

    with sp.run("x", home=tmp_path, capture=NOTHING) as run:
        run._ipython_display_()
        run.log(loss=0.125)
        until(lambda: "0.125" in shown()[-1], "the cell shows the loss")
    until(lambda: "finished" in shown()[-1], "the cell shows the end")
    kinds = {output.get("update", False) for output in publisher.outputs}
    assert kinds == {False, True}
    InteractiveShell.clear_instance()
