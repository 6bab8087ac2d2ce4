"""How a client's script tells which of its stories it got through: one JSON line each.

Scripts run in environments of their own, where only what lies beside them can be imported.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable


def tell(
    names: Iterable[str],
    walk: Callable[[str], None],
    *,
    version: str,
    failed: Callable[[], None] = lambda: None,
) -> None:
    """Walk through stories by name; one that fails stops none of the others.

    Args:
        names: Of the stories, in their order.
        walk: Tells one.
        version: Of the client.
        failed: Puts the client in order after a story that failed.
    """
    for name in names:
        began = time.perf_counter()
        error = ""
        try:
            walk(name)
        except BaseException:  # noqa: BLE001 - told to who reads our lines
            error = traceback.format_exc()
            failed()
        seconds = round(time.perf_counter() - began, 2)
        line = {"journey": name, "error": error, "seconds": seconds, "version": version}
        sys.stdout.write(f"\njourney {json.dumps(line)}\n")
        sys.stdout.flush()


class Journeys:
    """Stories without an argument, by name: ``journey = Journeys()``, then ``@journey``."""

    def __init__(self) -> None:
        self.names: dict[str, Callable[[], None]] = {}

    def __call__(self, story: Callable[[], None]) -> Callable[[], None]:
        self.names[story.__name__] = story
        return story

    def tell(self, version: Callable[[str], str]) -> None:
        """Walk through all of them; `version` returns that of the client a story is of."""
        for name in self.names:
            tell([name], lambda told: self.names[told](), version=version(name))
