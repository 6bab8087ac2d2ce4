"""Addresses that other programs print lead to our pages."""

import pytest
from playwright.sync_api import Browser, expect

from setpoint.db.local import LocalBackend
from setpoint.runs.commands import ListRuns
from setpoint.runs.service import ls
from setpoint.server.app import STATIC

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (STATIC / "app.js").exists(), reason="pages not built: make ui"),
]


def test_what_mlflows_client_prints_leads_to_the_run(
    browser: Browser, site: str, lived: LocalBackend
) -> None:
    run = lived.call(ls, ListRuns(limit=1)).runs[0]
    experiment = f"{site}/#/experiments/{run.experiment_id}"
    context = browser.new_context()
    for printed, page in (
        (f"{experiment}/runs/{run.id}", f"/runs/{run.id}"),
        (f"{experiment}/evaluation-runs?selectedRunUuid={run.id}", f"/runs/{run.id}"),
        (experiment, f"/experiments/{run.experiment_id}"),
        (f"{site}/#/models/flights-late/versions/1", "/models/flights-late"),
    ):
        opened = context.new_page()
        opened.goto(printed)
        expect(opened).to_have_url(f"{site}{page}")
        opened.close()
    context.close()
