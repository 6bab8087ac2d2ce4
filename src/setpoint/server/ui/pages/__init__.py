"""Handlers: each gathers what its page shows; the templates say how it looks."""
