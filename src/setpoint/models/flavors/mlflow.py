"""Folders in MLflow's format, of any flavor of theirs: asked through its ``pyfunc``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.folders import pack, unpack
from setpoint.models.flavors.mlflow_schema import handed
from setpoint.models.flavors.registry import of_package
from setpoint.models.frames import handing
from setpoint.models.protocols import Ask, Rows

_MANIFEST = "MLmodel"
_TOLD = 300  #: characters of what MLflow says


class MLflow:
    """The ``mlflow`` flavor: a folder with ``MLmodel``, or what ``mlflow.pyfunc`` loaded."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return (model / _MANIFEST).is_file()
        return of_package(model, "mlflow") and hasattr(model, "unwrap_python_model")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            return pack(model)
        raise Invalid(
            "a model that MLflow loaded no longer has its files",
            hint="give the path of its folder: mlflow.artifacts.download_artifacts(URI)",
        )

    def load(self, data: bytes, signature: Signature) -> Ask:
        pyfunc, refused = _library()
        folder = unpack(data)
        try:
            model = pyfunc.load_model(folder.name)
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"the model needs the package {error.name!r}", hint=f"pip install {error.name}"
            ) from None
        except Exception as error:  # noqa: BLE001 - foreign code
            raise Invalid(
                "MLflow cannot load the model", where=f"{type(error).__name__}: {error}"[:_TOLD]
            ) from None
        prepare = _preparing(signature, model.metadata.get_input_schema())

        def answer(rows: Rows) -> Any:
            given = prepare(rows)
            try:
                return model.predict(given)
            except refused as error:
                raise Invalid("MLflow refuses the rows", where=_reason(error)) from None

        answer.folder = folder  # type: ignore[attr-defined] # its files, held while it serves
        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is asked through MLflow")


def _preparing(signature: Signature, schema: Any) -> Callable[[Rows], Any]:
    """Return what turns rows into what MLflow takes: as the signature says, else the schema."""
    if schema is None or signature.frame:
        prepare = handing(signature.frame or "pandas")
        return lambda rows: prepare(rows, signature)
    return lambda rows: handed(rows, signature, schema)


def _reason(error: Exception) -> str:
    """Return why MLflow refuses rows: before that it says all of them, and the schema."""
    return str(error).rpartition(" Error: ")[2][:_TOLD]


def _library() -> tuple[Any, type[Exception]]:
    try:
        from mlflow import pyfunc  # noqa: PLC0415 - seconds, and only where its models are
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("this model needs MLflow", hint="pip install mlflow-skinny") from None
    return pyfunc, MlflowException
