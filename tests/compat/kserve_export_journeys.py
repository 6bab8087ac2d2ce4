"""Run by KServe's environment: holds exported manifests against its client's own models.

Those models drop fields that they don't have, so they are gone through level by level here: each
field must be one of the model's, and have its type. Kubernetes' own models, below them, refuse what
they don't have by themselves.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve.models
import kubernetes.client
import yaml

#: Types of values, as the models call them.
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def complaints(value: Any, kind: str, where: str) -> Iterator[str]:
    """Yield what is wrong with a value of a type that a model names."""
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where} is no {kind}: {value!r}"
    elif inner := re.fullmatch(r"list\[(.+)\]", kind):
        for at, each in enumerate(value):
            yield from complaints(each, inner[1], f"{where}[{at}]")
    elif inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        for key, each in value.items():
            yield from complaints(each, inner[1], f"{where}.{key}")
    elif hasattr(kserve.models, kind):
        yield from _of_kserve(value, getattr(kserve.models, kind), where)
    else:
        yield from _of_kubernetes(value, getattr(kubernetes.client, kind), where)


def _of_kserve(value: dict[str, Any], model: Any, where: str) -> Iterator[str]:
    fields = {said: name for name, said in model.attribute_map.items()}
    for unknown in value.keys() - fields:
        yield f"{where}.{unknown} is no field of {model.__name__}"
    known = {fields[said]: each for said, each in value.items() if said in fields}
    try:
        model(**known)  # looks at what must be there
    except ValueError as error:
        yield f"{where}: {error}"
    for name, each in known.items():
        path = f"{where}.{model.attribute_map[name]}"
        yield from complaints(each, model.openapi_types[name], path)


def _of_kubernetes(value: dict[str, Any], model: Any, where: str) -> Iterator[str]:
    try:
        model.model_validate(value)
    except ValueError as error:
        for each in error.errors():  # they are pydantic's
            yield ".".join([where, *map(str, each["loc"])]) + f": {each['msg']}"


found = [
    complaint
    for path in sorted(Path(sys.argv[1]).glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    for complaint in complaints(document, f"V1beta1{document['kind']}", path.name)
]
print(json.dumps(found))  # noqa: T201
