"""What a spec says is readable in a terminal of any width."""

from pathlib import Path

import pytest
from tests.control.made import project

from setpoint.cli.main import run


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_gets_lines_of_whole_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    width: int,
) -> None:
    project(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["explain", "m", "--project", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert "release.canary.at_most: 7d  (default)" in lines
    said = " ".join(" ".join(lines).split())
    assert "when a release without a verdict ends; then `inconclusive` says" in said


def test_a_wide_one_gets_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["explain", "m", "--project", str(tmp_path), "--set"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["setting", "value", "meaning"]
    assert rows[0].split()[:3] == ["model", "m", "set"]
