from importlib import metadata

from setpoint.transfer.environments import pinned


def test_a_requirement_is_the_release_that_is_installed() -> None:
    assert pinned("numpy") == f"numpy=={metadata.version('numpy')}"


def test_what_is_not_installed_is_asked_for_in_any_release() -> None:
    assert pinned("no-such-package") == "no-such-package"
