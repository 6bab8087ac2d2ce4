"""Datasets: immutable versions, contracts, features point-in-time."""
