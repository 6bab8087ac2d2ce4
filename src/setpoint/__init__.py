"""Setpoint: declare what a model must hold; it is kept there."""

__version__ = "0.1.0"
