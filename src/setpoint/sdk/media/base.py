"""What all media have in common: each becomes a manifest, and perhaps a file beside it.

The manifest is JSON that a page can draw by its ``type`` alone::

    {"type": "image", "metric": "samples", "step": 3, "at": 1767268800000000,
     "caption": "", "width": 28, "height": 28,
     "file": {"path": "media/samples/3-0.png", "address": "b3:…", "size": 1204}}
"""

from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct, field

from setpoint.sdk.recorder import Recorder


class Drawn(Struct, frozen=True, kw_only=True):
    """A medium as it is kept."""

    type: str  #: image, audio, text, table, figure, confusion, curves, histogram
    fields: dict[str, Any] = field(default_factory=dict)  #: of the manifest, by type
    suffix: str = ""  #: of the file, with its dot; empty: the manifest is all
    content: bytes = b""


@runtime_checkable
class Media(Protocol):
    """What `log` takes besides numbers."""

    def drawn(self) -> Drawn:
        """Return it as it is now: what the caller changes later does not count.

        Raises:
            Invalid: If it cannot be drawn.
        """


def keep(recorder: Recorder, medium: Media, path: str, metric: str, step: int, at: int) -> None:
    """Store a medium as a manifest at `path` + ``.json``, and its file beside it.

    Raises:
        Invalid: If it cannot be drawn.
        Unavailable: If there is no space.
    """
    path = str(
        PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in {"..", "/"}))
    )
    drawn = medium.drawn()
    manifest = {"type": drawn.type, "metric": metric, "step": step, "at": at, **drawn.fields}
    if drawn.suffix:
        address = recorder.keep(path + drawn.suffix, drawn.content)
        size = len(drawn.content)
        manifest["file"] = {"path": path + drawn.suffix, "address": address, "size": size}
    recorder.keep(f"{path}.json", msgspec.json.encode(manifest))
