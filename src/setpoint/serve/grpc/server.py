"""A port for gRPC, beside the one for HTTP and in the same event loop."""

import grpc
from grpc import aio

from setpoint.errors import Conflict
from setpoint.serve.answering import Answering
from setpoint.serve.grpc import open_inference, tensorflow
from setpoint.serve.http import MOST_BYTES


async def start(serving: Answering, host: str, port: int, *, shared: bool = False) -> aio.Server:
    """Answer on a port until `stop`.

    A message may be as long as the endpoint allows that allows most when the server starts.

    Args:
        serving: What answers.
        host: Where to listen.
        port: On which port.
        shared: Whether other processes of ours answer on it too.

    Raises:
        Conflict: If it is in use.
    """
    most = max([MOST_BYTES, *(one.body for one in serving.endpoints.all().values())])
    options = (
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        ("grpc.so_reuseport", int(shared)),  # else a port that is taken is an error
    )
    server = aio.server(options=options, compression=grpc.Compression.NoCompression)
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


async def stop(server: aio.Server, seconds: float = 10.0) -> None:
    """Take nothing new, and finish what was begun, within `seconds`."""
    await server.stop(seconds)
