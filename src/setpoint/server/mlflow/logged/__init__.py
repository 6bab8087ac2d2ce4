"""Logged models: what runs made, as MLflow tracks it beside its registry."""
