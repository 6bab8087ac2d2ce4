"""A project can be tested without a store."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from setpoint.cli.init_project import create
from setpoint.errors import Invalid
from setpoint.testing.projects import ProjectUnderTest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_fresh_project_has_rows_features_and_models(tmp_path: Path) -> None:
    create("churn", tmp_path)
    project = ProjectUnderTest(tmp_path, now=NOW)
    assert project.failures() == []
    assert project.rows.height == 3_000
    model = project.train(project.rows.head(500))
    assert model.predict_proba(project.features().to_numpy()).shape == (3_000, 2)
    assert project.train(baseline=True) is not None


def test_a_broken_row_is_a_failure_in_words(tmp_path: Path) -> None:
    create("churn", tmp_path)
    data = tmp_path / "data" / "customers.csv"
    data.write_text(data.read_text().replace(",basic,", ",bsaic,", 3))
    failures = ProjectUnderTest(tmp_path, now=NOW).failures()
    assert len(failures) == 1
    assert "3 of 3000 rows" in failures[0]


def test_without_contract_or_baseline_there_is_nothing_to_test(tmp_path: Path) -> None:
    (tmp_path / "m.setpoint.yaml").write_text(
        "model: m\ndata: {source: r.csv}\ntrain: {code: work:train}\n"
    )
    project = ProjectUnderTest(tmp_path, now=NOW)
    with pytest.raises(Invalid, match="no contract"):
        project.failures()
    with pytest.raises(Invalid, match="no baseline"):
        project.train(baseline=True)
