"""What SageMaker is told: the arguments of its calls, a file each.

Source: the API reference of SageMaker; a call takes its file as it is, from boto3
(``client.create_model(**arguments)``) or the AWS command (``--cli-input-json file://…``).
"""

from typing import Any

from setpoint.packaging.traffic import Arm, Traffic
from setpoint.serve.entities import Role

_INSTANCE = "ml.m5.large"


def sagemaker(traffic: Traffic, images: dict[int, str], role: str) -> dict[str, Any]:
    """Return the arguments of calls, by file, in the order in which they are to be made.

    Weights move later by ``update-endpoint-weights-and-capacities``, whose arguments are here
    as they stand now.
    """
    calls: dict[str, Any] = {}
    for arm in traffic.arms:
        calls[f"{len(calls) + 1}-create-model-{arm.name}.json"] = {
            "ModelName": arm.name,
            "PrimaryContainer": {"Image": images[arm.version.number]},
            "ExecutionRoleArn": role,
        }
    name = "-".join([traffic.name, *(f"v{arm.version.number}" for arm in traffic.arms)])
    variants = [_variant(arm) for arm in traffic.arms if arm.role is not Role.SHADOW]
    shadows = [_variant(arm) for arm in traffic.arms if arm.role is Role.SHADOW]
    calls[f"{len(calls) + 1}-create-endpoint-config.json"] = {
        "EndpointConfigName": name,
        "ProductionVariants": variants,
        **({"ShadowProductionVariants": shadows} if shadows else {}),
    }
    calls[f"{len(calls) + 1}-create-endpoint.json"] = {
        "EndpointName": traffic.name,
        "EndpointConfigName": name,
    }
    calls["update-endpoint-weights-and-capacities.json"] = {
        "EndpointName": traffic.name,
        "DesiredWeightsAndCapacities": [
            {"VariantName": arm.name, "DesiredWeight": arm.weight / 1000}
            for arm in traffic.answering
        ],
    }
    return calls


def _variant(arm: Arm) -> Any:
    return {
        "VariantName": arm.name,
        "ModelName": arm.name,
        "InstanceType": _INSTANCE,
        "InitialInstanceCount": 1,
        # Of a shadow: the share of requests that it is sent, too.
        "InitialVariantWeight": 1.0 if arm.role is Role.SHADOW else arm.weight / 1000,
    }
