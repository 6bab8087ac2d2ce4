"""PyTorch models: TorchScript and exported programs as their own files, modules as pickles.

A module is handed one tensor [n, inputs] of single precision where all inputs are numbers, else
one tensor for each input, in the order of the signature. What it gives are logits as often as
probabilities: of a classifier it is the module's to end in a softmax or a sigmoid.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Input, Signature
from setpoint.models.flavors import pickles
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name, matrix

_SUFFIXES = (".pt", ".pth", ".ts", ".pt2")
_DTYPES = {"FP64": "float64", "FP32": "float32", "BOOL": "bool"}
_SCRIPT, _EXPORTED, _PICKLED = b"script\0\0", b"exported", b"pickled\0"


class Torch:
    """The ``torch`` flavor: `ScriptModule`, `ExportedProgram`, `Module`; ``.pt``, ``.pt2``."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.suffix in _SUFFIXES
        return of_package(model, "torch") and (
            hasattr(model, "forward") or type(model).__name__ == "ExportedProgram"
        )

    def save(self, model: Any) -> bytes:
        torch = _library()
        if isinstance(model, Path):
            kind = _EXPORTED if model.suffix == ".pt2" else _SCRIPT
            data = kind + model.read_bytes()
            _opened(torch, data)
            return data
        packed = io.BytesIO()
        if isinstance(model, torch.export.ExportedProgram):
            torch.export.save(model, packed)
            return _EXPORTED + packed.getvalue()
        if isinstance(model, torch.jit.ScriptModule):
            torch.jit.save(model, packed)
            return _SCRIPT + packed.getvalue()
        return _PICKLED + pickles.dump(model.eval().cpu())

    def load(self, data: bytes, signature: Signature) -> Ask:
        torch = _library()
        module = _opened(torch, data)

        def answer(rows: Rows) -> Any:
            with torch.inference_mode():
                return module(*(torch.from_numpy(each) for each in arrays(rows, signature)))

        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("PyTorch adds up in an order of its own, so that decisions could flip")


def arrays(rows: Rows, signature: Signature) -> list[Any]:
    """Return rows as a neural network takes them: one matrix, or one array for each input."""
    if signature.numeric:
        return [np.ascontiguousarray(matrix(rows, signature), dtype=np.float32)]
    return list(by_input(rows, signature).values())


def by_input(rows: Rows, signature: Signature) -> dict[str, Any]:
    """Return rows as one array for each input, by its name."""
    held = by_name(rows, signature)
    return {each.name: _tensor(held[each.name], each) for each in signature.inputs}


def _tensor(values: Any, of: Input) -> Any:
    if of.datatype == "BYTES":
        raise Invalid(f"the input {of.name!r} is text, which PyTorch takes as numbers only")
    kind = _DTYPES.get(of.datatype) or of.datatype.lower()
    if not of.shape:
        kind = "float32" if of.datatype == "FP64" else kind
    return np.ascontiguousarray(values, dtype=kind)


def _opened(torch: Any, data: bytes) -> Any:
    kind, content = data[:8], data[8:]
    try:
        if kind == _EXPORTED:
            return torch.export.load(io.BytesIO(content)).module()
        if kind == _SCRIPT:
            return torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except Exception as error:  # noqa: BLE001 - foreign code
        raise Invalid(
            "the file is no TorchScript and no exported program",
            where=str(error).splitlines()[0][:200],
            hint="write it with torch.jit.save or torch.export.save, not as a state dict",
        ) from None
    return pickles.load(content).eval()


def _library() -> Any:
    try:
        import torch  # noqa: PLC0415 - seconds, and only where its models are
    except ImportError:
        raise MissingExtra("this model needs PyTorch", hint="pip install torch") from None
    torch.set_num_threads(1)
    return torch
