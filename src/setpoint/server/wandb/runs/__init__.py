"""Runs of the wandb client: how they are told of, changed, streamed and kept."""
