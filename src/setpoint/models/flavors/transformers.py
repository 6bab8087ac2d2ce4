"""Pipelines of Hugging Face's transformers: stored as the files they save, with their task."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import SCORE, Label, Signature
from setpoint.models.flavors.answers import PROBABILITIES
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.folders import pack, unpack
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name

_TASK, _CONFIG = "setpoint.json", "config.json"
#: What pipelines save beside the model's configuration.
_SAVED = ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
#: What a model is for by the end of its class' name, where that leaves no doubt.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForImageClassification": "image-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForObjectDetection": "object-detection",
}
#: Tasks whose pipelines tell classes apart.
_CLASSIFYING = frozenset(("text-classification", "image-classification"))
#: Those that find any number of things in a row: none of them is its answer.
_FINDING = frozenset(
    (
        *("token-classification", "object-detection", "image-segmentation"),
        *("zero-shot-object-detection", "mask-generation"),
    )
)


class Transformers:
    """The ``transformers`` flavor: a pipeline, or the folder that one saved.

    It has one input, a text or an image a row, or several that its task names. One that tells
    classes apart gives the likeliest, its score and the probabilities of all. Nothing is
    downloaded: what is not in its files is not there.
    """

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return (model / _CONFIG).is_file() and any(
                (model / each).is_file() for each in (_TASK, *_SAVED)
            )
        return of_package(model, "transformers") and hasattr(model, "task")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            _task_of(model)
            return pack(model)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            Path(folder, _TASK).write_text(json.dumps({"task": model.task}))
            return pack(Path(folder))

    def load(self, data: bytes, signature: Signature) -> Ask:
        transformers = _library()
        folder = unpack(data)
        task = _task_of(Path(folder.name))
        try:
            pipe = transformers.pipeline(task, model=folder.name, device=-1)
        except Exception as error:  # noqa: BLE001 - foreign code
            raise Invalid(
                f"the pipeline for {task!r} cannot be loaded",
                where=str(error).splitlines()[0][:300],
            ) from None

        classes = _told_apart(pipe.model.config.to_dict(), task) if _classifies(signature) else []
        ask = _classifying(pipe, classes, signature) if classes else _flattened(pipe, task)

        def answer(rows: Rows) -> Any:
            held = by_name(rows, signature)
            columns = [held[name] for name in signature.names]
            if len(columns) == 1:
                given: list[Any] = [_item(each) for each in columns[0]]
            else:
                names = signature.names
                given = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            return ask(given)

        answer.pipeline = pipe, folder  # type: ignore[attr-defined] # which it needs, held
        return answer

    def classes(self, data: bytes) -> list[Label]:
        with unpack(data) as name:
            folder = Path(name)
            return _told_apart(_json(folder / _CONFIG), _task_of(folder))

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is a pipeline with a tokenizer")


def _task_of(folder: Path) -> str:
    """Return the task of the pipeline that saved a folder, by its name there or by its model.

    Raises:
        Invalid: If neither says it.
    """
    if (folder / _TASK).is_file():
        return str(_json(folder / _TASK)["task"])
    made_by = _json(folder / _CONFIG).get("architectures") or []
    for name in made_by:
        for end, task in _TASKS.items():
            if name.endswith(end):
                return task
    raise Invalid(
        f"the folder does not say which task its pipeline is for: {', '.join(made_by) or 'none'}",
        where=str(folder),
        hint="add the pipeline from Python: "
        "sp.add_model(MODEL, transformers.pipeline(TASK, model=FOLDER), example=…)",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Invalid(f"{path.name} is no JSON: {error}", where=str(path)) from None
    return found if isinstance(found, dict) else {}


def _told_apart(config: Mapping[str, Any], task: str) -> list[Label]:
    """Return the names of a model's classes in its own order; none if it gives values."""
    if task not in _CLASSIFYING or config.get("problem_type") == "regression":
        return []
    names = {int(at): str(name) for at, name in (config.get("id2label") or {}).items()}
    return [names[at] for at in sorted(names)] if len(names) > 1 else []


def _classifies(signature: Signature) -> bool:
    """Tell whether probabilities are wanted; versions of an older Setpoint gave none."""
    given = [each.name for each in signature.outputs]
    return not given or PROBABILITIES in given


def _classifying(
    pipe: Any, classes: list[Label], signature: Signature
) -> Callable[[list[Any]], Any]:
    called = dict(zip(classes, map(str, signature.classes or classes), strict=True))

    def ask(given: list[Any]) -> list[dict[str, Any]]:
        return [_likeliest(each, called) for each in pipe(given, top_k=len(classes))]

    return ask


def _likeliest(found: list[dict[str, Any]], called: dict[Label, str]) -> dict[str, Any]:
    """Return one row's label, its score and all probabilities, in the order of the classes.

    Args:
        found: What the pipeline gave for the row, the likeliest first.
        called: What each of the model's classes is called here.
    """
    scores = {each["label"]: each["score"] for each in found}
    label = called[found[0]["label"]]
    held = [scores[name] for name in called]
    return {"label": label, SCORE.name: found[0]["score"], PROBABILITIES: held}


def _flattened(pipe: Any, task: str) -> Callable[[list[Any]], Any]:
    flat = _whole if task in _FINDING else _flat
    return lambda given: [flat(each) for each in pipe(given)]


def _whole(found: Any) -> dict[str, Any]:
    """Return one row's answer as it is, whatever it is; there may be nothing in it."""
    return {"output": _told(found)}


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
    return _whole(found)


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
