"""Models that are folders: packed into bytes that are the same for the same files, and back."""

import io
import tempfile
import zipfile
from pathlib import Path

from setpoint.errors import Invalid

_WHEN = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path) -> bytes:
    """Return the files below a folder as a zip archive, in order, without times and owners."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _WHEN)
            archive.writestr(entry, path.read_bytes())
    return packed.getvalue()


def unpack(data: bytes) -> tempfile.TemporaryDirectory[str]:
    """Return a folder with what `pack` packed. It is deleted once nothing holds it any more.

    Raises:
        Invalid: If the bytes are no such archive.
    """
    folder = tempfile.TemporaryDirectory(prefix="setpoint-model-")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder.name)  # keeps what it writes below the folder
    except zipfile.BadZipFile as error:
        folder.cleanup()
        raise Invalid("the stored model cannot be unpacked", where=str(error)) from None
    return folder
