"""Runs from elsewhere, and runs to elsewhere."""
