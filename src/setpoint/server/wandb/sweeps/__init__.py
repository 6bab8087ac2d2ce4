"""Sweeps of the wandb client: their space, what is tried next, their agents."""
