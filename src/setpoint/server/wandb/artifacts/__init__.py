"""Artifacts of the wandb client: collections, versions, manifests."""
