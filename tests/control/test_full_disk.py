"""A disk that is full, over real HTTP: one clear refusal, nothing acknowledged is lost."""

import resource
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from tests.control.conftest import Loop
from tests.control.made import MODEL

from setpoint.errors import Unavailable
from setpoint.serve.entities import LabelRecord
from setpoint.serve.log import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
ROWS = 20_000


def no_room(one: Loop, *, left: int) -> None:
    """Let the inference server make no file larger than so many bytes."""
    ready = msgspec.json.decode((one.home.settings.home / "run" / "inference.json").read_bytes())
    _, most = resource.prlimit(ready["pid"], resource.RLIMIT_FSIZE)
    resource.prlimit(ready["pid"], resource.RLIMIT_FSIZE, (left, most))


def until_refused(call: Callable[[int], object]) -> tuple[int, Unavailable]:
    """Call until it is refused for want of room; return how often it worked, and what was said."""
    for number in count():
        try:
            call(number)
        except Unavailable as error:
            return number, error
    raise AssertionError


def status_of_a_label(url: str) -> int:
    """Send one more large batch of labels by hand; return the status of the answer."""
    body = {"ids": [f"more-{i}" for i in range(ROWS)], "labels": [1.0] * ROWS}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, msgspec.json.encode(body), headers)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)  # noqa: S310
    refused.value.close()
    return refused.value.code


def test_a_full_disk_is_a_503_that_says_so_and_passes_once_there_is_room(
    loop: Callable[[], Loop],
) -> None:
    one = loop()
    one.traffic(1)
    no_room(one, left=1 << 20)
    taken, error = until_refused(
        lambda n: one.client.label(MODEL, [f"later-{n}-{i}" for i in range(ROWS)], [1.0] * ROWS)
    )
    assert taken > 1
    assert "no room for another segment" in error.message
    assert "/labels" in error.where
    numbers = {"a": [0.1] * 5_000, "b": [0.2] * 5_000}
    until_refused(lambda _: one.client.predict(MODEL, numbers))
    assert status_of_a_label(error.where) == 503
    no_room(one, left=resource.RLIM_INFINITY)
    one.client.label(MODEL, ["the-last"], [0.0])
    assert one.traffic(1) == {1}
    told = [
        found.ids[0]
        for _, found in read(one.home.settings.log)
        if isinstance(found, LabelRecord) and found.ids[0].startswith(("later", "the-last"))
    ]
    assert told == [*(f"later-{n}-0" for n in range(taken)), "the-last"]
