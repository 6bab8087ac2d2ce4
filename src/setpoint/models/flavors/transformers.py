"""Pipelines of Hugging Face's transformers: stored as the files they save, with their task."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.folders import pack, unpack
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name

_TASK = "setpoint.json"


class Transformers:
    """The ``transformers`` flavor: a pipeline, or a folder that one saved with its task.

    It has one input, a text or an image a row, or several that its task names. Nothing is
    downloaded: what is not in its files is not there.
    """

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return (model / "config.json").is_file() and (
                (model / _TASK).is_file() or (model / "tokenizer_config.json").is_file()
            )
        return of_package(model, "transformers") and hasattr(model, "task")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            if not (model / _TASK).is_file():
                raise Invalid(
                    "the folder does not say which task its pipeline is for",
                    where=str(model),
                    hint="register the pipeline itself: transformers.pipeline(TASK, model=FOLDER)",
                )
            return pack(model)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            Path(folder, _TASK).write_text(json.dumps({"task": model.task}))
            return pack(Path(folder))

    def load(self, data: bytes, signature: Signature) -> Ask:
        transformers = _library()
        folder = unpack(data)
        task = json.loads(Path(folder.name, _TASK).read_text())["task"]
        try:
            pipe = transformers.pipeline(task, model=folder.name, device=-1)
        except Exception as error:  # noqa: BLE001 - foreign code
            raise Invalid(
                f"the pipeline for {task!r} cannot be loaded",
                where=str(error).splitlines()[0][:300],
            ) from None

        def answer(rows: Rows) -> Any:
            held = by_name(rows, signature)
            columns = [held[name] for name in signature.names]
            if len(columns) == 1:
                given: list[Any] = [_item(each) for each in columns[0]]
            else:
                names = signature.names
                given = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            return [_flat(each) for each in pipe(given)]

        answer.pipeline = pipe, folder  # type: ignore[attr-defined] # which it needs, held
        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is a pipeline with a tokenizer")


def _item(value: Any) -> Any:
    """Return what a pipeline takes: an image where bytes were sent, else what was sent."""
    if not isinstance(value, bytes):
        return "" if value is None else value
    import io  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415 - of those who send images

    return Image.open(io.BytesIO(value))


def _flat(found: Any) -> dict[str, Any]:
    """Return one row's answer: of several candidates the best one, and all of them as JSON."""
    if isinstance(found, Mapping):
        return {name: _told(value) for name, value in found.items()}
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        best = {name: _told(value) for name, value in found[0].items()}
        return best if len(found) == 1 else {**best, "all": json.dumps(found, default=float)}
    return {"output": _told(found)}


def _told(value: Any) -> Any:
    if isinstance(value, str | bytes | int | float | bool):
        return value
    return json.dumps(value, default=float)


def _library() -> Any:
    try:
        import transformers  # noqa: PLC0415 - seconds, and only where its models are
    except ImportError:
        raise MissingExtra(
            "this model needs transformers", hint="pip install transformers torch"
        ) from None
    return transformers
