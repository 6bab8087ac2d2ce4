"""The spec of one model: what must hold, read from YAML or built in Python."""
