"""What an image's server can do besides, if it was built with the packages for it."""

from collections.abc import Iterable, Mapping
from importlib import metadata

from msgspec import Struct

from setpoint.errors import MissingExtra
from setpoint.packaging.entities import PACKAGES

GRPC_PORT = 8081  #: what KServe and MLServer have gRPC on


class Extra(Struct, frozen=True):
    """One of them, by the name that our own extra has, as far as there is one."""

    modules: tuple[str, ...]  #: of ours, imported for it
    distributions: tuple[str, ...]  #: of others
    ports: tuple[int, ...] = ()
    env: dict[str, str] = {}  #: where the base does not say otherwise


EXTRAS = {
    "grpc": Extra(
        ("setpoint.serve.grpc.server",),
        ("grpcio", "protobuf"),
        ports=(GRPC_PORT,),
        env={"SETPOINT_SERVE_GRPC_PORT": str(GRPC_PORT)},
    ),
    "otel": Extra(
        ("setpoint.serve.tracing", "setpoint.serve.measuring"),
        ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    ),
    "parquet": Extra((), ("polars",)),
    "s3": Extra(
        ("setpoint.serve.jobs.objects",),
        ("obstore", "certifi"),
        # An image of Debian packages has none, and without any the client does not begin.
        env={"SSL_CERT_FILE": f"/{PACKAGES}/certifi/cacert.pem"},
    ),
}


def installed(extras: Mapping[str, Extra]) -> set[str]:
    """Return the distributions of extras.

    Raises:
        MissingExtra: If one of them is not installed here.
    """
    for name, extra in extras.items():
        missing = [each for each in extra.distributions if find_distribution(each) is None]
        if missing:
            raise MissingExtra(
                f"an image with {name} needs {', '.join(missing)}, which is not installed here",
                hint=f"pip install {' '.join(missing)}",
            )
    return {each for extra in extras.values() for each in extra.distributions}


def find_distribution(name: str) -> metadata.Distribution | None:
    """Return what is installed here under a name, None if nothing is."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def environment(extras: Iterable[str]) -> dict[str, str]:
    """Return the variables of an image with these extras."""
    return {name: value for each in extras for name, value in EXTRAS[each].env.items()}


def ports(extras: Iterable[str]) -> list[int]:
    """Return the ports of an image with these extras, besides that of HTTP."""
    return [port for each in extras for port in EXTRAS[each].ports]
