"""Ports that nobody listens on."""

import socket


def free_port() -> int:
    """Return one, as it was a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
