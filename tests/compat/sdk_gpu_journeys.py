"""What a run notes of a machine with two GPUs.

``python sdk_gpu_journeys.py HOME``, as `sdk_torch_journeys` does, where ``libnvidia-ml.so.1`` is
that of `nvml.c`.
"""

from pathlib import Path

import sdk_torch_journeys
from sdk_torch_journeys import Kept, journey

import setpoint as sp

sdk_torch_journeys.JOURNEYS.clear()  # its own are told elsewhere


@journey
def gpus_are_measured_as_far_as_they_tell(home: Path) -> None:
    capture = sp.Capture(code=False, environment=False, system=60)
    with sp.run("line", home=home, capture=capture) as run:
        run.flush()
    metrics = Kept(home, run.id).run.metrics
    found = {name.removeprefix("system/"): metrics[name] for name in metrics if "/gpu/" in name}
    assert found == {
        "gpu/0/memory": 25.0,
        "gpu/0/busy": 40.0,
        "gpu/0/watts": 71.5,
        "gpu/0/celsius": 63.0,
        "gpu/1/memory": 50.0,
        "gpu/1/busy": 41.0,
    }


if __name__ == "__main__":
    sdk_torch_journeys.main()
