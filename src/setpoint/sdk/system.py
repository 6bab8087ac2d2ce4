"""What a run's machine does meanwhile, as series ``system/…``."""

import contextlib
import importlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

_MB = 1e6
_log = logging.getLogger("setpoint")


class Sampler:
    """Measures every so many seconds, in a thread of its own.

    Series, below ``system/``: ``cpu`` (percent of all cores), ``memory`` (percent used),
    ``disk`` (percent used where the run is kept), ``process/cpu`` (percent of one core),
    ``process/memory_mb`` (resident), ``disk/read_mb`` and ``disk/written_mb`` (since the run
    began, the whole machine), ``network/received_mb`` and ``network/sent_mb`` (likewise), and
    for each GPU ``gpu/N/busy`` (percent), ``gpu/N/memory`` (percent), ``gpu/N/watts``,
    ``gpu/N/celsius``.
    """

    def __init__(
        self, log: Callable[[dict[str, float]], None], folder: Path, seconds: float, prefix: str
    ) -> None:
        self._log = log
        self._folder = str(folder)
        self._prefix = prefix
        self._process = psutil.Process()
        self._gpus = _gpus()
        self._start = _counters()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(seconds,), name="setpoint-system", daemon=True
        )
        self._measure()  # what follows is measured between two looks
        self._thread.start()

    def stop(self) -> None:
        """Measure once more, so that a short run has something too, and end."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._sample()

    def _work(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self._sample()

    def _sample(self) -> None:
        self._log({self._prefix + name: value for name, value in self._measure().items()})

    def _measure(self) -> dict[str, float]:
        found = {"cpu": psutil.cpu_percent(), "memory": psutil.virtual_memory().percent}
        with contextlib.suppress(OSError):
            found["disk"] = psutil.disk_usage(self._folder).percent
        with contextlib.suppress(psutil.Error):
            found["process/cpu"] = self._process.cpu_percent()
            found["process/memory_mb"] = self._process.memory_info().rss / _MB
        for name, value in _counters().items():
            found[name] = max(value - self._start.get(name, value), 0.0)
        for number, gpu in enumerate(self._gpus):
            found |= {f"gpu/{number}/{name}": value for name, value in gpu().items()}
        return found


def _counters() -> dict[str, float]:
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, RuntimeError):  # not in every container
        disk = psutil.disk_io_counters()
        if disk is not None:
            found = {
                "disk/read_mb": disk.read_bytes / _MB,
                "disk/written_mb": disk.write_bytes / _MB,
            }
    with contextlib.suppress(OSError):
        network = psutil.net_io_counters()
        found["network/received_mb"] = network.bytes_recv / _MB
        found["network/sent_mb"] = network.bytes_sent / _MB
    return found


def _gpus() -> list[Callable[[], dict[str, float]]]:
    """Return a reader for each GPU that NVIDIA's library tells of; none without it."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []

    def reader(handle: Any) -> Callable[[], dict[str, float]]:
        def read() -> dict[str, float]:
            found: dict[str, float] = {}
            with contextlib.suppress(nvml.NVMLError):
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
                found["memory"] = 100.0 * memory.used / memory.total
                found["busy"] = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            with contextlib.suppress(nvml.NVMLError):
                found["watts"] = nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
                found["celsius"] = float(nvml.nvmlDeviceGetTemperature(handle, 0))
            return found

        return read

    return [reader(handle) for handle in handles]
