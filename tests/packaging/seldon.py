"""What Seldon Core 2 takes: the fields of its `Model` and `Experiment`, mlops.seldon.io/v1alpha1.

No package carries their schemas, and the sources of Core 2 name the Business Source License. So
what the custom resource definitions say (SeldonIO/seldon-core, operator/config/crd/bases, made
with controller-gen 0.18) is written down here in our own words. A field that is not among these
is refused; the API server would drop it without a word.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

#: A number with a unit, as Kubernetes writes memory: 512M, 1.5Gi, 1e9.
Quantity = Annotated[
    str,
    Meta(pattern=r"^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+(\.\d*)?)?$"),
]
Whole = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class _Fields(Struct, forbid_unknown_fields=True, rename="camel"):
    """A part of a manifest: these fields and no others."""


class Metadata(_Fields):
    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    namespace: str | None = None


class Parameter(_Fields):
    name: str
    value: str


class Explainer(_Fields):
    type: str | None = None
    model_ref: str | None = None
    pipeline_ref: str | None = None


class LanguageModel(_Fields):
    model_ref: str | None = None
    pipeline_ref: str | None = None


class Logger(_Fields):
    percent: int | None = None


class Dataflow(_Fields):
    clean_topics_on_delete: bool | None = None


class ModelSpec(_Fields):
    storage_uri: str
    artifact_version: Whole | None = None
    dataflow: Dataflow | None = None
    dedicated: bool | None = None
    explainer: Explainer | None = None
    llm: LanguageModel | None = None
    logger: Logger | None = None
    max_replicas: Whole | None = None
    memory: int | Quantity | None = None
    min_replicas: Whole | None = None
    model_type: str | None = None
    parameters: list[Parameter] = []
    preloaded: bool | None = None
    replicas: Whole | None = None
    requirements: list[str] = []
    schema_uri: str | None = None
    secret_name: str | None = None
    server: str | None = None


class Candidate(_Fields):
    name: str
    weight: Whole


class Mirror(_Fields):
    name: str
    percent: Whole


class ExperimentSpec(_Fields):
    candidates: list[Candidate]
    default: str | None = None
    mirror: Mirror | None = None
    resource_type: str | None = None


class _Manifest(_Fields, tag_field="kind"):
    api_version: str
    metadata: Metadata


class Model(_Manifest, tag="Model"):
    spec: ModelSpec


class Experiment(_Manifest, tag="Experiment"):
    spec: ExperimentSpec


def validate(document: Any) -> None:
    """Hold a document against the kind that it says it is of.

    Raises:
        msgspec.ValidationError: If a field is unknown, is missing, or has a value of another type.
    """
    manifest = msgspec.convert(document, Model | Experiment)
    if manifest.api_version != "mlops.seldon.io/v1alpha1":
        raise msgspec.ValidationError(f"{manifest.api_version} has no {document['kind']}")
