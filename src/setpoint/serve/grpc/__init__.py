"""The protocols that clients speak over gRPC, on a port of its own."""

from importlib.util import find_spec

from setpoint.errors import MissingExtra


def require_grpc() -> None:
    """Refuse to go on without gRPC.

    Raises:
        MissingExtra: If it is not installed.
    """
    # A package is looked for in the one that has it, which may be missing itself.
    needed = ("grpc", "google", "google.protobuf")
    if not all(find_spec(name) for name in needed):
        raise MissingExtra("gRPC is not installed", hint="pip install 'setpoint[grpc]'")
