"""Runs in the environment of W&B's client: two offline runs, one of which fails."""

import os
import sys

os.environ["WANDB_SILENT"] = "true"
import wandb

folder = sys.argv[1]
run = wandb.init(
    mode="offline",
    project="flights",
    name="kept",
    dir=folder,
    group="g",
    tags=["x"],
    notes="a *note*",
    config={"lr": 0.1, "opt": {"name": "adam"}},
)
for step in range(120):
    run.log({"loss": 1 / (step + 1), "nested": {"a": step}, "text": f"t{step}"})
run.log({"loss": float("nan"), "up": float("inf")})
with open(f"{folder}/model.bin", "wb") as file:  # noqa: PTH123
    file.write(b"m" * 1000)
artifact = wandb.Artifact("m", "model")
artifact.add_file(f"{folder}/model.bin")
run.log_artifact(artifact)
run.summary["best"] = 0.5
run.finish()
other = wandb.init(mode="offline", project="flights", name="failed", dir=folder)
other.log({"loss": 1.0})
other.finish(exit_code=3)
