"""A replay stands where its store says; what it begins with is its own."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.control.made import home_at

from setpoint.config import Settings
from setpoint.control.decide import Train
from setpoint.core.clock import FileClock
from setpoint.demo.display import _in_words
from setpoint.demo.story import MODEL, START, Story
from setpoint.errors import SetpointError


def story(settings: Settings, seed: int = 7) -> Story:
    return Story(
        settings, seed=seed, until=START + timedelta(days=2), told=lambda _model, _step: None
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_at(tmp_path / "home")


def test_a_replay_has_a_clock_and_a_project_of_its_own(settings: Settings) -> None:
    one = story(settings, seed=11)
    assert one.clock.now() == START
    assert one.spec.model == MODEL
    assert one.spec.train.seed == 11
    assert one.mark.done == START
    one.close()


def test_a_replay_opened_again_is_where_it_was(settings: Settings) -> None:
    one = story(settings)
    later = START + timedelta(hours=5)
    one.clock.set(later)
    one._write_mark(later)
    one.close()
    again = story(settings)
    assert FileClock(settings.home / "clock").now() == later
    assert again.mark.done == later
    again.close()


def test_playing_before_beginning_is_refused(settings: Settings) -> None:
    one = story(settings)
    with pytest.raises(SetpointError, match="has not begun"):
        one.play(lambda _: None, None)
    one.close()


def test_what_happens_is_said_in_words() -> None:
    assert _in_words(Train(why="drift alarm: it moved")) == (
        "retrain: drift alarm: it moved",
        "yellow",
    )
