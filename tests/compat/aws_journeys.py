"""Run by boto3's environment: tells SageMaker what was exported, file by file, in order."""

import json
import sys
from pathlib import Path

import boto3
from moto import mock_aws

folder = Path(sys.argv[1])
calls = {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def method(name: str) -> str:
    """Return the call that a file is for: ``2-create-model-late-v2.json`` is `create_model`."""
    words = name.removesuffix(".json").split("-")
    words = words[words[0].isdigit() :]
    known = ("create-model", "create-endpoint-config", "create-endpoint")
    said = "-".join(words)
    return next((each for each in known if said.startswith(each)), said).replace("-", "_")


with mock_aws():
    client = boto3.client(
        "sagemaker",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )
    for name, arguments in calls.items():
        getattr(client, method(name))(**arguments)
    endpoint = client.describe_endpoint(EndpointName="late-flights")
    config = client.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    models = [
        client.describe_model(ModelName=each["ModelName"]) for each in config["ProductionVariants"]
    ]

weights = {each["VariantName"]: each["DesiredWeight"] for each in endpoint["ProductionVariants"]}
print(  # noqa: T201
    json.dumps(
        {
            "calls": [method(name) for name in calls],
            "weights": weights,
            "images": [each["PrimaryContainer"]["Image"] for each in models],
            "shadows": [each["VariantName"] for each in config.get("ShadowProductionVariants", [])],
        }
    )
)
