"""What may take long at the end of a server, and is not waited for long."""

import logging
import threading
from collections.abc import Callable

SECONDS = 2.0  #: that it is waited for

_log = logging.getLogger(__name__)


def in_time(end: Callable[[], object], what: str) -> None:
    """End something; where it takes too long, say what is lost and go on."""
    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(SECONDS)
    if ending.is_alive():
        _log.warning("%s are lost: nobody takes them", what)
