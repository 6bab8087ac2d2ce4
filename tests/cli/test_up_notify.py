"""A running platform tells channels of what happens, and goes on after a kill."""

import json
from pathlib import Path

from tests.cli.running import setpoint, until, up
from tests.notify.receivers import receiver


def test_what_happens_is_told_while_it_is_up_and_after_it_was_killed(tmp_path: Path) -> None:
    with receiver() as there:
        with up(tmp_path) as platform:
            added = setpoint(tmp_path, "notify", "add", "ops", there.url, "--on", "model.created")
            assert added.returncode == 0, added.stderr
            assert setpoint(tmp_path, "models", "create", "first").returncode == 0
            until(lambda: len(there.posts) == 1, "the first model was told of")
            platform.process.kill()
            platform.process.wait()
            assert setpoint(tmp_path, "models", "create", "second").returncode == 0
        with up(tmp_path):
            until(lambda: len(there.posts) == 2, "the second model was told of")
    told = [json.loads(post.body)["data"]["subject"] for post in there.posts]
    assert told == ["model:first", "model:second"]
