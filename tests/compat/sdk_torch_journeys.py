"""What people do with Setpoint's own client and PyTorch, in one process and in several.

``python sdk_torch_journeys.py HOME [NAME…]`` runs in the environment of the frameworks.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stories import tell
from torch.utils.data import DataLoader, Dataset, TensorDataset

import setpoint as sp
from setpoint.artifacts.store import open_store
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.runs import service
from setpoint.runs.commands import Curve, ShowRun

Journey = Callable[[Path], None]
JOURNEYS: dict[str, Journey] = {}
_CAPTURE = sp.Capture(code=False, environment=False, system=0)
X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = X[:, :1] - 2 * X[:, 1:2]
torch.set_num_threads(1)


def journey(walk: Journey) -> Journey:
    JOURNEYS[walk.__name__] = walk
    return walk


class Kept:
    """What the store has of a run, asked as anybody asks."""

    def __init__(self, home: Path, run: str) -> None:
        self._backend = open_local(settings(home))
        self.run = self._backend.call(service.show, ShowRun(run=run))

    def points(self, metric: str) -> list[tuple[int, float]]:
        asked = Curve(run=self.run.id, metric=metric)
        return [(p.step, p.value) for p in self._backend.call(service.points, asked).points]

    def steps(self, metric: str) -> list[int]:
        return [step for step, _ in self.points(metric)]

    def bytes(self, path: str) -> bytes:
        address = self.run.artifacts[path].address
        return open_store(self._backend.settings).get(address)


def begun(home: Path, **how: Any) -> Any:
    return sp.run("line", home=home, capture=_CAPTURE, **how)


def batches() -> Any:
    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=16)


@journey
def a_loop_of_pytorch_logs_norms_rates_and_its_loss(home: Path) -> None:
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(
        [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}], lr=0.05
    )
    with begun(home, params={"optimizer": {"lr": 0.05}}) as run:
        handle = run.callback("torch", optimizer=optimizer, every=2)
        for x, y in batches():
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            run.log(loss=loss)  # a tensor with its gradient
        norm = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).norm().item()
        handle.remove()
        optimizer.step()
        torch.save(model.state_dict(), home / "state.pt")
        run.artifact("state.pt", home / "state.pt")
    kept = Kept(home, run.id)
    assert kept.steps("loss") == [0, 1, 2, 3]
    assert kept.steps("optimizer/gradient_norm") == [0, 2]
    assert [value for _, value in kept.points("optimizer/lr/1")] == [0.5, 0.5]
    assert kept.run.metrics["optimizer/parameter_norm"] > 0
    assert norm > 0
    assert kept.run.params == {"optimizer.lr": 0.05}
    (home / "again.pt").write_bytes(kept.bytes("state.pt"))
    again = torch.load(home / "again.pt")
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


@journey
def a_loss_that_is_no_number_is_told(home: Path) -> None:
    with begun(home) as run:
        run.watch("loss")
        for step in range(3):
            run.log(loss=torch.log(torch.tensor(1.0 - step)), step=step)
    kept = Kept(home, run.id)
    assert kept.run.tags["setpoint.alert.loss.nan"] == "loss is -inf at step 1"
    assert math.isnan(kept.points("loss")[2][1])


class Logging(Dataset):  # type: ignore[type-arg]
    """Samples that note which process read them."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        self._run.log({"read": index, f"worker/{os.getpid()}": 1}, step=index)
        return index


def _read_by_workers(home: Path, how: str) -> None:
    with begun(home) as run:
        loader = DataLoader(Logging(run), batch_size=4, num_workers=2, multiprocessing_context=how)
        for step, batch in enumerate(loader):
            run.log(batch=batch.sum(), step=step)
    kept = Kept(home, run.id)
    assert sorted(kept.points("read")) == [(i, float(i)) for i in range(40)]
    assert kept.steps("batch") == list(range(10))
    assert len([name for name in kept.run.metrics if name.startswith("worker/")]) == 2
    assert kept.run.status == "finished"


@journey
def workers_of_a_data_loader_that_were_forked_log_into_the_run(home: Path) -> None:
    _read_by_workers(home, "fork")


@journey
def workers_of_a_data_loader_that_were_spawned_log_into_the_run(home: Path) -> None:
    _read_by_workers(home, "spawn")


def _rank(rank: int, home: Path, run_id: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{home}/meeting", rank=rank, world_size=2
    )
    with begun(home, id=run_id, rank=rank) as run:
        for step in range(5):
            value = torch.tensor(float(rank + step))
            run.log({f"own/{rank}": value}, step=step)
            torch.distributed.all_reduce(value)
            if rank == 0:
                run.log(sum=value, step=step)
        torch.distributed.barrier()  # the one that ends the run ends it last
    torch.distributed.destroy_process_group()


@journey
def ranks_of_a_distributed_training_log_into_one_run(home: Path) -> None:
    torch.multiprocessing.spawn(_rank, (home, "together"), nprocs=2)
    with begun(home):
        pass  # whoever comes next delivers what its neighbours left
    kept = Kept(home, "together")
    assert kept.points("sum") == [(step, 2.0 * step + 1) for step in range(5)]
    for rank in range(2):
        assert kept.points(f"own/{rank}") == [(step, float(rank + step)) for step in range(5)]
    assert kept.run.status == "finished"


def main() -> None:
    home, *names = sys.argv[1:]

    def walk(name: str) -> None:
        own = Path(home) / name
        own.mkdir()
        JOURNEYS[name](own)

    tell(names or JOURNEYS, walk, version=sp.__version__)


if __name__ == "__main__":
    main()
