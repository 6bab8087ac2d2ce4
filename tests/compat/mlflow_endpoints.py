"""Every call in MLflow's protocol definition, as its wheel ships it: one JSON line."""

import json

import mlflow
from mlflow.protos import (
    databricks_pb2,
    mlflow_artifacts_pb2,
    model_registry_pb2,
    service_pb2,
    webhooks_pb2,
)

found = [
    {
        "call": method.name,
        "method": endpoint.method,
        "path": f"/api/{endpoint.since.major}.0/{endpoint.path.lstrip('/')}",
        "version": mlflow.__version__,
    }
    for module in (service_pb2, model_registry_pb2, webhooks_pb2, mlflow_artifacts_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    for endpoint in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints
]
print(f"endpoints {json.dumps({'endpoints': found})}")  # noqa: T201 - this is how it answers
