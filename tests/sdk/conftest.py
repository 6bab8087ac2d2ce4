from collections.abc import Iterator
from pathlib import Path

import pytest

import setpoint as sp
from setpoint.sdk.capture import Capture
from setpoint.sdk.tracked import Tracked

#: Of runs whose code and machine do not matter: nothing but what they log.
NOTHING = Capture(code=False, environment=False, host=False, system=0)


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Tracked]:
    """A run that is delivered nowhere: its log is what counts."""
    with sp.run("experiment", home=tmp_path / "home", offline=True, capture=NOTHING) as run:
        yield run
