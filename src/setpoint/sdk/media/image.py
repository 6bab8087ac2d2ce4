"""Pictures."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setpoint.errors import Invalid
from setpoint.sdk.media.base import Drawn

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
}
#: PNG's colour types by the number of channels.
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


class Image:
    """A picture: an array, a file, bytes of a file, or a picture of Pillow.

    Arrays have the shape (height, width) or (height, width, channels) with 1 to 4 channels:
    grey, grey and opacity, RGB, RGBA. Integers count from 0 to 255, floats from 0 to 1; what
    lies outside is cut, NaN is black.

    Example:
        >>> Image([[0.0, 1.0]], caption="two pixels").drawn().fields
        {'caption': 'two pixels', 'width': 2, 'height': 1}
    """

    def __init__(self, data: Any, *, caption: str = "") -> None:
        self._data = data
        self._caption = caption

    def drawn(self) -> Drawn:
        content, size = _content(self._data)
        suffix = next((s for start, s in _SIGNATURES.items() if content.startswith(start)), None)
        if suffix is None:
            raise Invalid("an image file is a PNG, JPEG, GIF or WebP")
        fields: dict[str, Any] = {"caption": self._caption}
        if size is not None:
            fields |= {"width": size[0], "height": size[1]}
        return Drawn(type="image", fields=fields, suffix=suffix, content=content)


def _content(data: Any) -> tuple[bytes, tuple[int, int] | None]:
    if isinstance(data, bytes):
        return data, None
    if isinstance(data, str | Path):
        return Path(data).read_bytes(), None
    if hasattr(data, "save") and hasattr(data, "size"):  # Pillow's
        buffer = io.BytesIO()
        data.save(buffer, "PNG")
        return buffer.getvalue(), tuple(data.size)
    pixels = _pixels(data)
    return png(pixels), (pixels.shape[1], pixels.shape[0])


def _pixels(data: ArrayLike) -> NDArray[np.uint8]:
    if hasattr(data, "detach"):  # a tensor, perhaps of another device
        data = data.detach().cpu()
    array = np.asarray(data)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _COLOURS or 0 in array.shape:
        raise Invalid(
            f"an array of shape {array.shape} is no image",
            hint="(height, width) or (height, width, 1 to 4 channels)",
        )
    if np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array, nan=0.0) * 255.0 + 0.5
    elif array.dtype == np.bool_:
        array = array * 255
    pixels: NDArray[np.uint8] = np.clip(array, 0, 255).astype(np.uint8)
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the PNG of an array of shape (height, width, channels)."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a zero: the row is not filtered
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 6)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
