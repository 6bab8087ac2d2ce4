"""A port for gRPC, beside the one for HTTP and in the same event loop."""

import grpc
from grpc import aio

from setpoint.errors import Conflict
from setpoint.serve.answering import Answering
from setpoint.serve.grpc import open_inference, tensorflow
from setpoint.serve.http import MOST_BYTES

_OPTIONS = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", MOST_BYTES),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, and not shared
)
_GRACE_SECONDS = 10.0


async def start(serving: Answering, host: str, port: int) -> aio.Server:
    """Answer on a port until `stop`.

    Raises:
        Conflict: If it is in use.
    """
    server = aio.server(options=_OPTIONS, compression=grpc.Compression.NoCompression)
    server.add_generic_rpc_handlers(
        (*open_inference.services(serving), *tensorflow.services(serving))
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise Conflict(
            f"port {port} is in use",
            where=address,
            hint="stop what listens there, or choose another with --grpc-port",
        ) from None
    await server.start()
    return server


async def stop(server: aio.Server) -> None:
    """Finish what was begun."""
    await server.stop(_GRACE_SECONDS)
