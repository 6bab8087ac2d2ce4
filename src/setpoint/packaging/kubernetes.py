"""Manifests of Kubernetes and the Gateway API, of KServe and of Seldon Core 2.

Sources: Kubernetes 1.37 and Gateway API 1.3 (their schemas), KServe's `InferenceService` v1beta1,
Seldon Core 2's `Model` and `Experiment` v1alpha1.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from setpoint.packaging.extras import GRPC_PORT
from setpoint.packaging.images import PORT, USER
from setpoint.packaging.traffic import Arm, Traffic

_MEGABYTE = 1_000_000
_MEMORY_MB = 192  #: of a server without a model: 77 MB measured, and room for requests
_COPIES = 4  #: of a model's bytes that it takes in memory, amply
#: By the name of a container's; HTTP/2 without TLS has to be said to whatever stands between.
_SERVICE_PORTS = {
    "http": {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
    "grpc": {
        "name": "grpc",
        "port": GRPC_PORT,
        "targetPort": "grpc",
        "protocol": "TCP",
        "appProtocol": "kubernetes.io/h2c",
    },
}


def kubernetes(
    traffic: Traffic, images: dict[int, str], gateway: str, *, grpc: bool = False
) -> dict[str, list[Any]]:
    """Return manifests by file: what runs each version, and the route that shares requests out.

    Requests are shared out at random, one by one; routing here is sticky to a key. With `grpc`
    (of images that speak it) each version's Service has a port for it: a route cannot tell models
    apart by what is in a message, so clients name the version's Service.
    """
    ports = {"http": PORT, **({"grpc": GRPC_PORT} if grpc else {})}
    files: dict[str, list[Any]] = {}
    for arm in traffic.arms:
        image = images[arm.version.number]
        files[f"{arm.name}.yaml"] = [
            _deployment(traffic, arm, image, ports),
            _service(traffic, arm, ports),
            _autoscaler(traffic, arm),
            _disruption_budget(traffic, arm),
        ]
    files["route.yaml"] = [_route(traffic, gateway)]
    return files


def kserve(traffic: Traffic, images: dict[int, str]) -> dict[str, list[Any]]:
    """Return an InferenceService; with a canary, a second one to be applied after the first.

    KServe shares requests out between the revision that is rolled out and the latest one.
    """
    live, *others = traffic.answering
    files = {"inferenceservice.yaml": [_inference_service(traffic, live, images)]}
    for arm in others:
        later = _inference_service(traffic, arm, images)
        later["spec"]["predictor"]["canaryTrafficPercent"] = max(1, round(arm.weight / 10))
        files["inferenceservice-canary.yaml"] = [later]
    return files


def seldon(traffic: Traffic, storage: str) -> dict[str, list[Any]]:
    """Return a Model a version, served by MLServer from its MLflow folder, and an Experiment."""
    files = {f"{arm.name}.yaml": [_model(traffic, arm, storage)] for arm in traffic.arms}
    if len(traffic.arms) > 1:
        spec: dict[str, Any] = {
            "default": traffic.live.name,
            "candidates": [
                {"name": arm.name, "weight": arm.weight} for arm in traffic.answering if arm.weight
            ],
        }
        if traffic.shadow is not None:
            spec["mirror"] = {"name": traffic.shadow.name, "percent": 100}
        files["experiment.yaml"] = [
            {
                "apiVersion": "mlops.seldon.io/v1alpha1",
                "kind": "Experiment",
                "metadata": {"name": traffic.name, "labels": _common(traffic)},
                "spec": spec,
            }
        ]
    return files


def _deployment(traffic: Traffic, arm: Arm, image: str, ports: Mapping[str, int]) -> Any:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(traffic, arm),
        # How many there are is the autoscaler's business.
        "spec": {
            "selector": {"matchLabels": _selector(traffic, arm)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {
                    "labels": _labels(traffic, arm),
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/path": "/metrics",
                        "prometheus.io/port": str(PORT),
                    },
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _user(),
                        "runAsGroup": _user(),
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [_container(arm, image, "server", ports)],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def _container(arm: Arm, image: str, name: str, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "ports": [
            {"name": said, "containerPort": port, "protocol": "TCP"} for said, port in ports.items()
        ],
        "startupProbe": _probe("/v2/health/ready", every=1, failures=60),
        "readinessProbe": _probe("/v2/health/ready", every=5, failures=2),
        "livenessProbe": _probe("/v2/health/live", every=10, failures=3),
        "resources": _resources(arm),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's
    }


def _probe(path: str, *, every: int, failures: int) -> Any:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": every,
        "failureThreshold": failures,
    }


def _resources(arm: Arm) -> Any:
    megabytes = _MEMORY_MB + _COPIES * -(-arm.version.size // _MEGABYTE)
    return {
        "requests": {"cpu": "250m", "memory": f"{megabytes}M"},
        "limits": {"memory": f"{2 * megabytes}M"},
    }


def _service(traffic: Traffic, arm: Arm, ports: Mapping[str, int]) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(traffic, arm),
        "spec": {
            "selector": _selector(traffic, arm),
            "ports": [_SERVICE_PORTS[name] for name in ports],
        },
    }


def _autoscaler(traffic: Traffic, arm: Arm) -> Any:
    load = {"type": "Utilization", "averageUtilization": 70}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(traffic, arm),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": arm.name},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": load}}],
        },
    }


def _disruption_budget(traffic: Traffic, arm: Arm) -> Any:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(traffic, arm),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": _selector(traffic, arm)},
        },
    }


def _addresses(name: str) -> list[Any]:
    """Return what a route matches: the addresses of a model in every protocol that names it.

    A prefix ends where a part of the path does, so the verbs of V1 are named one by one. Eight is
    as many as the first releases of the Gateway API take.
    """
    prefixes = [f"/{of}/{name}" for of in ("v2/models", "v1/models", "models", "endpoints")]
    verbs = [f"/v1/models/{name}:{verb}" for verb in ("predict", "classify", "regress", "explain")]
    return [
        *({"path": {"type": "PathPrefix", "value": path}} for path in prefixes),
        *({"path": {"type": "Exact", "value": path}} for path in verbs),
    ]


def _route(traffic: Traffic, gateway: str) -> Any:
    rule: dict[str, Any] = {
        "matches": _addresses(quote(traffic.model)),
        "backendRefs": [
            {"name": arm.name, "port": 80, "weight": arm.weight} for arm in traffic.answering
        ],
    }
    if traffic.shadow is not None:
        mirrored = {"backendRef": {"name": traffic.shadow.name, "port": 80}}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirrored}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": traffic.name, "labels": _common(traffic)},
        "spec": {"parentRefs": [{"name": gateway}], "rules": [rule]},
    }


def _inference_service(traffic: Traffic, arm: Arm, images: dict[int, str]) -> Any:
    container = _container(arm, images[arm.version.number], "kserve-container", {})
    del container["volumeMounts"], container["startupProbe"]  # KServe's revisions have no such
    container["ports"] = [{"containerPort": PORT, "protocol": "TCP"}]  # Knative names it
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": traffic.name, "labels": _labels(traffic, arm)},
        "spec": {"predictor": {"minReplicas": 1, "containers": [container]}},
    }


def _model(traffic: Traffic, arm: Arm, storage: str) -> Any:
    return {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": _metadata(traffic, arm),
        "spec": {
            "storageUri": f"{storage.rstrip('/')}/{arm.name}",
            "requirements": ["mlflow"],
            "memory": f"{_MEMORY_MB + _COPIES * -(-arm.version.size // _MEGABYTE)}M",
        },
    }


def _metadata(traffic: Traffic, arm: Arm) -> Any:
    return {"name": arm.name, "labels": _labels(traffic, arm)}


def _labels(traffic: Traffic, arm: Arm) -> dict[str, str]:
    return {**_common(traffic), "app.kubernetes.io/version": str(arm.version.number)}


def _selector(traffic: Traffic, arm: Arm) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": traffic.name,
        "app.kubernetes.io/version": str(arm.version.number),
    }


def _common(traffic: Traffic) -> dict[str, str]:
    return {"app.kubernetes.io/name": traffic.name, "app.kubernetes.io/managed-by": "setpoint"}


def _user() -> int:
    return int(USER.partition(":")[0])
