"""Explanations as KServe's V1 and the Open Inference Protocol V2 would have them.

Both protocols name the address and leave the answer to the explainer: here V1 has an object a row,
V2 has tensors.
"""

from typing import Any

from setpoint.errors import Invalid
from setpoint.models.explaining.entities import Explanation
from setpoint.serve import tensors, v2
from setpoint.serve.answering import Answering
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import VERSION_HEADER, Reply
from setpoint.serve.explaining import Explained

OUTPUTS = ("shap_values", "base_value", "score", "standard_error", "input_names", "method")


async def in_v1(serving: Answering, endpoint: Endpoint, rows: v2.Rows, version: int) -> Reply:
    """Answer ``:explain``: an object a row, contributions by the names of the inputs."""
    found = await serving.explaining.explain(endpoint, rows, version)
    told = {"explanations": [_object(each) for each in found.explanations]}
    return Reply(v2.encode(told), headers=((VERSION_HEADER, b"%d" % found.version),))


async def in_v2(
    serving: Answering,
    endpoint: Endpoint,
    asked: v2.InferRequest,
    version: int,
    rows: v2.Rows | None,
) -> Reply:
    """Answer ``/explain``: the request is that of ``/infer``, the outputs are `OUTPUTS`.

    Its tensors are read here unless there are `rows` already.

    Raises:
        Invalid: If the request does not fit, or asks for another output.
    """
    wanted = [each.name for each in asked.outputs or ()] or list(OUTPUTS)
    unknown = [name for name in wanted if name not in OUTPUTS]
    if unknown:
        raise Invalid(
            f"there is no output {unknown[0]!r}",
            where="$.outputs",
            hint=f"ask for {', '.join(OUTPUTS)}",
        )
    given = tensors.rows(asked, endpoint.inputs) if rows is None else rows
    found = await serving.explaining.explain(endpoint, given, version)
    told = {
        "model_name": found.model,
        "model_version": str(found.version),
        "id": asked.id or "",
        "outputs": [each for each in _tensors(found, endpoint) if each["name"] in wanted],
    }
    return Reply(v2.encode(told), headers=((VERSION_HEADER, b"%d" % found.version),))


def _object(one: Explanation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "shap_values": dict(zip(one.names, one.contributions, strict=True)),
        "base_value": one.base,
        "score": one.score,
        "method": one.method,
    }
    if one.errors:
        told["standard_error"] = dict(zip(one.names, one.errors, strict=True))
    return told


def _tensors(found: Explained, endpoint: Endpoint) -> list[dict[str, Any]]:
    every = found.explanations
    names = every[0].names if every else [each.name for each in endpoint.inputs.specs]
    shape = [len(every), len(names)]
    exact = [0.0] * len(names)

    def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": shape, "data": data}

    return [
        tensor("shap_values", "FP64", shape, [x for one in every for x in one.contributions]),
        tensor("base_value", "FP64", shape[:1], [one.base for one in every]),
        tensor("score", "FP64", shape[:1], [one.score for one in every]),
        tensor("standard_error", "FP64", shape, [x for one in every for x in one.errors or exact]),
        tensor("input_names", "BYTES", shape[1:], names),
        tensor("method", "BYTES", shape[:1], [one.method for one in every]),
    ]
