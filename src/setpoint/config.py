"""The one reader of the environment: everything else is handed a `Settings`."""

import getpass
import os
import re
import sys
from pathlib import Path

from msgspec import Struct, structs

from setpoint.errors import Invalid

#: The variables that every tool for S3 reads, by our name; the first that is set counts.
AWS_VARIABLES = {
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
}

#: The variables of OpenTelemetry that say whether and where spans and counters are sent.
OTEL_VARIABLES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "address of a collector; `/v1/traces` is added",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "the same for spans alone; nothing is added",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "the same for counters",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "only `http/protobuf` is spoken",
    "OTEL_TRACES_EXPORTER": "`none` sends no spans",
    "OTEL_METRICS_EXPORTER": "`otlp` sends counters, too, to `/v1/metrics` of the first",
    "OTEL_SDK_DISABLED": "`true` sends nothing",
}


class Aws(Struct, frozen=True, kw_only=True):
    """How to reach S3, or what speaks its protocol; never shown.

    What is not given is found as on a machine of Amazon's: by the role it has.
    """

    endpoint: str | None = None  #: address of the service, e.g. ``https://s3.example.com``
    region: str = "us-east-1"  #: what requests are signed for
    access_key_id: str | None = None  #: who asks
    secret_access_key: str | None = None  #: what proves it
    session_token: str | None = None  #: goes with keys that are lent for a while

    def __repr__(self) -> str:
        return f"Aws(endpoint={self.endpoint!r}, region={self.region!r})"

    def given(self) -> dict[str, str]:
        """Return what is given, by name."""
        return {name: value for name, value in structs.asdict(self).items() if value is not None}


class Settings(Struct, frozen=True, kw_only=True):
    """Where a store lives and who is asking."""

    home: Path  #: the folder that holds everything: ``.setpoint`` by default
    database_url: str  #: SQLAlchemy URL; SQLite inside `home` unless told otherwise
    actor: str  #: recorded on every event, e.g. ``ada`` or ``controller``
    url: str | None = None  #: the server that runs of scripts go to; without one, `home`
    artifact_url: str | None = None  #: artifacts: ``s3://bucket/prefix``; without one, in `home`
    aws: Aws = Aws()  #: how `artifact_url` is reached, see below
    offline: bool = False  #: whether such runs wait on this machine for ``setpoint sync``

    @property
    def objects(self) -> Path:
        """Content-addressed artifacts."""
        return self.home / "objects"

    @property
    def aside(self) -> Path:
        """What has not arrived whole yet."""
        return self.home / "incoming"

    @property
    def tables(self) -> Path:
        """Delta Lake tables, one folder a dataset."""
        return self.home / "tables"

    @property
    def log(self) -> Path:
        """Prediction and label log."""
        return self.home / "log"

    @property
    def jobs(self) -> Path:
        """Inference requests that are answered later, and their answers."""
        return self.home / "jobs"


DRAIN_SECONDS = 10.0
CLIENT_SECONDS = 30.0  #: that a client may keep an inference server waiting
MOST_WORKERS = 256


class Serving(Struct, frozen=True, kw_only=True):
    """How a server of a package listens and logs, as in an image."""

    host: str = "127.0.0.1"  #: address to listen on; in an image all of them, ``0.0.0.0``
    port: int = 8766  #: of inference; 8080 in an image
    log: Path | None = None  #: folder of its prediction log; without one, none is kept
    drain: float = DRAIN_SECONDS  #: seconds to answer what was accepted, once told to stop
    workers: int = 1  #: processes that answer
    jobs: Path | None = None  #: folder of its jobs; without one, none are taken
    client_seconds: float = CLIENT_SECONDS  #: seconds that a client may keep it waiting
    model_memory: int | None = None  #: memory for models, such as ``2GB``; without, what they take
    grpc_port: int | None = None  #: of gRPC; without, it is not spoken; 8081 in an image with it
    async_output: str | None = None  #: ``s3://bucket/prefix`` for answers of async invocations


def serving(
    *,
    host: str | None = None,
    port: int | None = None,
    log: Path | None = None,
    drain: float | None = None,
    workers: int | None = None,
    jobs: Path | None = None,
    model_memory: str | None = None,
) -> Serving:
    """Resolve how a package is served: an argument wins over the environment.

    Environment: ``SETPOINT_SERVE_HOST``, ``SETPOINT_SERVE_PORT``, ``SETPOINT_SERVE_LOG``,
    ``SETPOINT_SERVE_JOBS``, ``SETPOINT_SERVE_DRAIN``, ``SETPOINT_SERVE_WORKERS``,
    ``SETPOINT_SERVE_CLIENT_SECONDS``, ``SETPOINT_SERVE_MODEL_MEMORY``,
    ``SETPOINT_SERVE_GRPC_PORT``, ``SETPOINT_SERVE_ASYNC_OUTPUT``. The last six are those of a
    store's server, too.

    Raises:
        Invalid: If a number is none.
    """
    default = Serving()
    listens_at = _port("PORT") if port is None else port
    folder = log or os.environ.get("SETPOINT_SERVE_LOG") or None
    kept = jobs or os.environ.get("SETPOINT_SERVE_JOBS") or None
    return Serving(
        host=host or os.environ.get("SETPOINT_SERVE_HOST") or default.host,
        port=default.port if listens_at is None else listens_at,
        log=None if folder is None else Path(folder),
        drain=_seconds("DRAIN", DRAIN_SECONDS) if drain is None else drain,
        workers=_workers(workers),
        jobs=None if kept is None else Path(kept),
        client_seconds=_seconds("CLIENT_SECONDS", CLIENT_SECONDS),
        model_memory=_model_memory(model_memory),
        grpc_port=_port("GRPC_PORT"),
        async_output=os.environ.get("SETPOINT_SERVE_ASYNC_OUTPUT") or None,
    )


class Telemetry(Struct, frozen=True, kw_only=True):
    """Where the inference server sends spans of its requests, and its counters."""

    traces: str | None = None  #: address of OTLP's traces, e.g. ``http://host:4318/v1/traces``
    metrics: str | None = None  #: of its metrics, e.g. ``http://host:4318/v1/metrics``
    protocol: str = "http/protobuf"  #: that is asked for; no other is spoken


def telemetry() -> Telemetry | None:
    """Return where spans and counters are to be sent; None: nobody asked for them.

    Environment: `OTEL_VARIABLES`. What else OpenTelemetry names (headers, certificates, samplers,
    the resource) its SDK reads itself.
    """
    if _said(os.environ.get("OTEL_SDK_DISABLED")):
        return None
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip().rstrip("/")
    found = {}
    for kind, usual in (("traces", "otlp"), ("metrics", "none")):
        own = os.environ.get(f"OTEL_EXPORTER_OTLP_{kind.upper()}_ENDPOINT", "").strip()
        exporter = os.environ.get(f"OTEL_{kind.upper()}_EXPORTER", "otlp" if own else usual)
        if exporter.strip() == "otlp" and (own or base):
            found[kind] = own or f"{base}/v1/{kind}"
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    return Telemetry(**found, protocol=protocol) if found else None


def settings(
    home: Path | str | None = None,
    *,
    database_url: str | None = None,
    artifact_url: str | None = None,
    actor: str | None = None,
    url: str | None = None,
    offline: bool | None = None,
) -> Settings:
    """Resolve settings: an argument wins over the environment, that over the default.

    Environment: ``SETPOINT_HOME``, ``SETPOINT_DATABASE_URL``, ``SETPOINT_ARTIFACT_URL`` (with
    it, `AWS_VARIABLES`), ``SETPOINT_ACTOR``, ``SETPOINT_URL``, ``SETPOINT_OFFLINE``.
    """
    folder = Path(home or os.environ.get("SETPOINT_HOME") or ".setpoint").absolute()
    database = database_url or os.environ.get("SETPOINT_DATABASE_URL")
    artifacts = artifact_url or os.environ.get("SETPOINT_ARTIFACT_URL") or None
    return Settings(
        home=folder,
        database_url=database or f"sqlite:///{folder / 'setpoint.db'}",
        artifact_url=artifacts,
        aws=Aws() if artifacts is None else aws(),
        actor=actor or os.environ.get("SETPOINT_ACTOR") or _login(),
        url=url or os.environ.get("SETPOINT_URL") or None,
        offline=_said(os.environ.get("SETPOINT_OFFLINE")) if offline is None else offline,
    )


def registry_logins() -> list[Path]:
    """Return the files in which `docker login` and `podman login` leave what they were told.

    Environment: ``REGISTRY_AUTH_FILE``, ``DOCKER_CONFIG``.
    """
    given = os.environ.get("REGISTRY_AUTH_FILE")
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    return [docker] if not given else [Path(given), docker]


def without_telemetry() -> None:
    """Have libraries report nothing to their makers; to be called before they are loaded.

    ONNX Runtime does so by default since 1.32, once even before its own switch can be set.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def environment(found: Settings) -> dict[str, str]:
    """Return the environment in which a process of ours has the same settings."""
    said = {"SETPOINT_HOME": str(found.home), "SETPOINT_DATABASE_URL": found.database_url}
    if found.artifact_url is not None:
        said["SETPOINT_ARTIFACT_URL"] = found.artifact_url
        said |= {AWS_VARIABLES[name][0]: value for name, value in found.aws.given().items()}
    return {**os.environ, **said, "SETPOINT_ACTOR": found.actor}


def _port(name: str) -> int | None:
    variable = f"SETPOINT_SERVE_{name}"
    said = os.environ.get(variable)
    if not said:
        return None
    if not said.isascii() or not said.isdigit():
        raise Invalid(f"{variable}={said!r} is no port", hint="a number, such as 8080")
    return int(said)


def _seconds(name: str, default: float) -> float:
    variable = f"SETPOINT_SERVE_{name}"
    said = os.environ.get(variable) or str(default)
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86_400:
        raise Invalid(f"{variable}={said!r} is no time", hint="seconds, such as 10")
    return seconds


def _model_memory(said: str | None) -> int | None:
    text = (said or os.environ.get("SETPOINT_SERVE_MODEL_MEMORY") or "").strip()
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if not size:
        raise Invalid(
            f"{text!r} is no size for the models in memory", hint="write such as 500MB or 2GiB"
        )
    return size


_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([kKmMgGtT]?i?[bB]?)")
_UNITS = {
    f"{unit}{binary}{byte}": (1024 if binary else 1000) ** power
    for power, unit in enumerate(("", "k", "m", "g", "t"))
    for binary in ("", "i")
    for byte in ("", "b")
}


def _workers(said: int | None) -> int:
    text = os.environ.get("SETPOINT_SERVE_WORKERS") or "1" if said is None else str(said)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise Invalid(
            f"{text!r} is no number of worker processes",
            hint=f"from 1 to {MOST_WORKERS}; one a core is plenty",
        )
    return int(text)


def alike() -> dict[str, str]:
    """Return the environment in which a process finds the modules that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def aws() -> Aws:
    """Return how S3 is reached; environment: `AWS_VARIABLES`."""
    given = {
        name: next(filter(None, map(os.environ.get, variables)), None)
        for name, variables in AWS_VARIABLES.items()
    }
    return Aws(**{name: value for name, value in given.items() if value is not None})


def _said(value: str | None) -> bool:
    return (value or "").strip().lower() not in {"", "0", "false", "no", "off"}


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without a passwd entry
        return "unknown"
