"""Sounds."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.sdk.media.base import Drawn

_SIGNATURES = {
    b"RIFF": ".wav",
    b"OggS": ".ogg",
    b"fLaC": ".flac",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
}


class Audio:
    """A sound: an array of samples, a file, or bytes of a file (WAV, Ogg, FLAC, MP3).

    Arrays have the shape (samples,) or (samples, channels), floats from -1 to 1 (what lies
    outside is cut) or 16-bit integers, and need a `rate` in samples a second.
    """

    def __init__(self, data: Any, *, rate: int | None = None, caption: str = "") -> None:
        self._data = data
        self._rate = rate
        self._caption = caption

    def drawn(self) -> Drawn:
        fields: dict[str, Any] = {"caption": self._caption}
        if isinstance(self._data, bytes | str | Path):
            data = self._data
            content = data if isinstance(data, bytes) else Path(data).read_bytes()
        else:
            content, seconds = self._wave()
            fields |= {"rate": self._rate, "seconds": seconds}
        suffix = next((s for start, s in _SIGNATURES.items() if content.startswith(start)), None)
        if suffix is None:
            raise Invalid("an audio file is a WAV, Ogg, FLAC or MP3")
        return Drawn(type="audio", fields=fields, suffix=suffix, content=content)

    def _wave(self) -> tuple[bytes, float]:
        if not self._rate:
            raise Invalid(
                "audio from an array needs its rate", hint="sp.Audio(samples, rate=16000)"
            )
        data = self._data.detach().cpu() if hasattr(self._data, "detach") else self._data
        samples = np.asarray(data)
        if samples.ndim not in {1, 2} or not samples.size:
            raise Invalid(
                f"an array of shape {samples.shape} is no audio", hint="(samples, channels)"
            )
        if np.issubdtype(samples.dtype, np.floating):
            samples = np.clip(np.nan_to_num(samples), -1, 1) * 32_767
        samples = samples.astype("<i2")
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(self._rate)
            file.writeframes(samples.tobytes())
        return buffer.getvalue(), len(samples) / self._rate
