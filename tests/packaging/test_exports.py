"""Versions as other systems take them, held against those systems' own schemas and code."""

import json
import platform
import re
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import numpy as np
import onnxruntime
import pytest
import yaml
from tests.packaging import gateway, made, seldon

from setpoint.artifacts.contract import ObjectStore
from setpoint.cli.main import run
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid
from setpoint.models.entities import Gate, ModelVersion
from setpoint.models.runtime import load
from setpoint.packaging.exports import KINDS, Wanted, export
from setpoint.packaging.traffic import Traffic, alone, images_of, resource_name, traffic_of
from setpoint.serve import store as serving
from setpoint.serve.entities import Deployment, Role

IMAGE = "registry.example:5000/team/late"
WANTED = Wanted(
    image=IMAGE, storage="gs://bucket/models/", role="arn:aws:iam::123456789012:role/serving"
)
Writes = Callable[..., dict[str, Any]]


def deployed(number: int, role: Role, weight: float) -> Deployment:
    return Deployment(model="late", version=number, role=role, weight=weight)


@pytest.fixture(scope="module")
def releasing(house: LocalBackend) -> Traffic:
    """Version 1 is live, 2 answers 5 % and 3 is asked without answering."""
    versions = {
        number: made.registered(house, "Late flights", made.tree(), run_id=f"run {number}")
        for number in (1, 2, 3)
    }
    now = [
        deployed(1, Role.LIVE, 1.0),
        deployed(2, Role.CANARY, 0.05),
        deployed(3, Role.SHADOW, 0.0),
    ]
    return traffic_of(versions[1], now, versions.__getitem__)


@pytest.fixture
def writes(objects: ObjectStore, tmp_path: Path) -> Writes:
    """Export something, and return the documents by file."""

    def write(kind: str, traffic: Traffic, wanted: Wanted = WANTED) -> dict[str, Any]:
        done = export(kind, traffic, objects, tmp_path / kind, wanted)
        found: dict[str, Any] = {}
        for name in done.files:
            text = (tmp_path / kind / name).read_bytes()
            if name.endswith(".yaml"):
                assert b"&id" not in text
                found[name] = list(yaml.safe_load_all(text))
            elif name.endswith(".json") and "/" not in name:
                found[name] = json.loads(text)
        return found

    return write


def test_manifests_are_valid_to_kubernetes(writes: Writes, releasing: Traffic) -> None:
    found = writes("kubernetes", releasing)
    kinds = []
    for name, documents in found.items():
        for document in documents:
            kinds.append(document["kind"])
            if name != "route.yaml":  # an extension, whose schema Kubernetes does not have
                kubernetes_validate.validate(document, "1.37", strict=True)
    workload = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    assert kinds == [*workload * 3, "HTTPRoute"]


def test_strict_validation_can_fail(writes: Writes, late: ModelVersion) -> None:
    (deployment, *_), _ = writes("kubernetes", alone(late)).values()
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_routes_are_valid_to_the_gateway_api(
    writes: Writes, releasing: Traffic, late: ModelVersion, tmp_path: Path
) -> None:
    for traffic in (releasing, alone(late)):
        (route,) = writes("kubernetes", traffic)["route.yaml"]
        gateway.validate(route, tmp_path)
        shutil.rmtree(tmp_path / "kubernetes")


@pytest.mark.parametrize(
    ("where", "field", "value", "said"),
    [
        ("rules/0/backendRefs/1", "wieght", 5, "may only specify known properties"),
        ("rules/0/filters/0/requestMirror", "percentage", 5, "may only specify known properties"),
        ("rules/0/backendRefs/0", "weight", -1, "weight must be >= 0"),
        ("rules/0/backendRefs/0", "port", 70_000, "port must be <= 65535"),
        ("rules/0/matches/0/path", "value", 5, "is not assignable to type 'string'"),
    ],
)
def test_a_route_that_the_gateway_api_has_not_is_refused(
    where: str,
    field: str,
    value: Any,
    said: str,
    writes: Writes,
    releasing: Traffic,
    tmp_path: Path,
) -> None:
    (route,) = writes("kubernetes", releasing)["route.yaml"]
    part = route["spec"]
    for step in where.split("/"):
        part = part[int(step) if step.isdigit() else step]
    part[field] = value
    with pytest.raises(gateway.Refused, match=re.escape(said)):
        gateway.validate(route, tmp_path)


def test_a_pod_may_do_nothing_but_answer(writes: Writes, late: ModelVersion) -> None:
    (deployment, service, scaler, budget), _ = writes("kubernetes", alone(late)).values()
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == f"{IMAGE}:1"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["automountServiceAccountToken"] is False
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]


def test_images_that_speak_grpc_have_a_port_for_it(writes: Writes, late: ModelVersion) -> None:
    wanted = msgspec.structs.replace(WANTED, grpc=True)
    manifests, _ = writes("kubernetes", alone(late), wanted).values()
    for each in manifests:
        kubernetes_validate.validate(each, "1.37", strict=True)
    deployment, service, *_ = manifests
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 8080, "grpc": 8081}
    assert [each["targetPort"] for each in service["spec"]["ports"]] == list(ports)
    assert service["spec"]["ports"][1]["appProtocol"] == "kubernetes.io/h2c"


def test_a_route_shares_requests_out_as_the_release_does(
    writes: Writes, releasing: Traffic
) -> None:
    (route,) = writes("kubernetes", releasing, Wanted(image=IMAGE, gateway="edge"))["route.yaml"]
    (rule,) = route["spec"]["rules"]
    assert [(to["name"], to["weight"]) for to in rule["backendRefs"]] == [
        ("late-flights-v1", 950),
        ("late-flights-v2", 50),
    ]
    assert rule["filters"][0]["requestMirror"]["backendRef"]["name"] == "late-flights-v3"
    assert route["spec"]["parentRefs"] == [{"name": "edge"}]
    for address in (
        "/v2/models/{}/infer",
        "/v2/models/{}/versions/2/infer",
        "/v2/models/{}",
        "/v1/models/{}:predict",
        "/v1/models/{}:explain",
        "/v1/models/{}/labels/live:predict",
        "/v1/models/{}/metadata",
        "/models/{}/invoke",
        "/endpoints/{}/invocations",
    ):
        assert _is_matched(rule["matches"], address.format("Late%20flights"))
        assert not _is_matched(rule["matches"], address.format("Late%20flights-2"))
    assert len(rule["matches"]) <= 8


def _is_matched(matches: list[Any], path: str) -> bool:
    """Match a path as gateways do: exactly, or by all its first parts."""
    told = [(one["path"]["type"], one["path"]["value"]) for one in matches]
    return any(
        path == value or (kind == "PathPrefix" and path.startswith(f"{value}/"))
        for kind, value in told
    )


def test_kserve_gets_the_live_version_and_then_the_canary(
    writes: Writes, releasing: Traffic
) -> None:
    found = writes("kserve", releasing)
    (live,), (canary,) = found.values()
    by_image = {
        each["spec"]["predictor"]["containers"][0]["image"]: each["spec"]["predictor"]
        for each in (live, canary)
    }
    assert "canaryTrafficPercent" not in by_image[f"{IMAGE}:1"]
    assert by_image[f"{IMAGE}:2"]["canaryTrafficPercent"] == 5
    assert live["metadata"]["name"] == canary["metadata"]["name"] == "late-flights"


def test_seldon_gets_models_and_an_experiment(
    writes: Writes, releasing: Traffic, tmp_path: Path
) -> None:
    found = writes("seldon", releasing)
    (experiment,) = found["experiment.yaml"]
    assert experiment["spec"] == {
        "default": "late-flights-v1",
        "candidates": [
            {"name": "late-flights-v1", "weight": 950},
            {"name": "late-flights-v2", "weight": 50},
        ],
        "mirror": {"name": "late-flights-v3", "percent": 100},
    }
    for number in (1, 2, 3):
        (model,) = found[f"late-flights-v{number}.yaml"]
        assert model["spec"]["storageUri"] == f"gs://bucket/models/late-flights-v{number}"
        assert (tmp_path / "seldon/models" / model["metadata"]["name"] / "MLmodel").exists()


def test_manifests_have_the_fields_that_seldon_knows(writes: Writes, releasing: Traffic) -> None:
    found = writes("seldon", releasing)
    documents = [
        document
        for name, held in found.items()
        if not name.startswith("models/")
        for document in held
    ]
    assert [document["kind"] for document in documents] == ["Experiment", *["Model"] * 3]
    for document in documents:
        seldon.validate(document)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("experiment.yaml", "candidate", []),
        ("experiment.yaml", "candidates", [{"name": "late-flights-v1", "weight": "950"}]),
        ("experiment.yaml", "mirror", {"name": "late-flights-v3"}),
        ("late-flights-v1.yaml", "storageURI", "gs://bucket"),
        ("late-flights-v1.yaml", "memory", "192 MB"),
        ("late-flights-v1.yaml", "requirements", "mlflow"),
    ],
)
def test_what_seldon_does_not_know_is_refused(
    file: str, field: str, value: Any, writes: Writes, releasing: Traffic
) -> None:
    (document,) = writes("seldon", releasing)[file]
    document["spec"][field] = value
    with pytest.raises(msgspec.ValidationError, match=field):
        seldon.validate(document)


def test_a_version_alone_answers_everything(writes: Writes, late: ModelVersion) -> None:
    found = writes("seldon", alone(late))
    assert "experiment.yaml" not in found
    (route,) = writes("kubernetes", alone(late))["route.yaml"]
    assert route["spec"]["rules"][0]["backendRefs"] == [
        {"name": "late-v1", "port": 80, "weight": 1000}
    ]


def test_the_onnx_file_answers_as_the_version_does(
    late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    export("onnx", alone(late), objects, tmp_path / "deep" / "late.onnx", WANTED)
    session = onnxruntime.InferenceSession(
        tmp_path / "deep" / "late.onnx", providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.get_inputs()
    rows = np.random.default_rng(4).normal(size=(50, 2))
    kind = np.float64 if wanted.type == "tensor(double)" else np.float32
    (scores,) = session.run(["score"], {wanted.name: rows.astype(kind)})
    assert scores.reshape(-1).tolist() == load(objects, late).predict(rows).tolist()
    told = session.get_modelmeta().custom_metadata_map
    assert told["setpoint.model"] == "late"
    assert told["setpoint.version"] == "1"
    assert json.loads(told["setpoint.inputs"]) == ["distance", "gusts"]
    assert json.loads(told["setpoint.classes"]) == [0, 1]


def test_an_mlflow_folder_has_what_its_description_names(
    late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    done = export("mlflow", alone(late), objects, tmp_path / "late", WANTED)
    told = yaml.safe_load((tmp_path / "late" / "MLmodel").read_text())
    flavor = told["flavors"]["python_function"]
    assert f"{flavor['code']}/{flavor['loader_module']}.py" in done.files
    assert f"{flavor['data']}/model.onnx" in done.files
    assert {*flavor["env"].values(), "requirements.txt"} <= {*done.files}


def test_folders_ask_for_the_releases_that_are_installed_here(
    late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    for kind in ("mlflow", "bentoml"):
        export(kind, alone(late), objects, tmp_path / kind, WANTED)
        theirs, *others = (tmp_path / kind / "requirements.txt").read_text().splitlines()
        assert theirs.startswith(f"{kind}>=")
        pinned = dict(each.split("==") for each in others)
        assert pinned == {name: metadata.version(name) for name in pinned}
        assert {*pinned} == {"numpy", "pandas", "onnxruntime"}


def test_an_mlflow_folder_asks_conda_for_what_it_asks_pip_for(
    late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    folder = tmp_path / "late"
    export("mlflow", alone(late), objects, folder, WANTED)
    conda = yaml.safe_load((folder / "conda.yaml").read_text())
    (*_, by_pip) = conda["dependencies"]
    assert by_pip["pip"] == (folder / "requirements.txt").read_text().splitlines()
    virtualenv = yaml.safe_load((folder / "python_env.yaml").read_text())
    assert f"python={virtualenv['python']}" in conda["dependencies"]
    told = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert told["python_version"] == virtualenv["python"] == platform.python_version()


def test_another_file_is_not_overwritten(
    late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "late.onnx"
    for _ in range(2):  # the same again is no other
        export("onnx", alone(late), objects, path, WANTED)
    path.write_bytes(b"somebody's own")
    with pytest.raises(Conflict, match="something else"):
        export("onnx", alone(late), objects, path, WANTED)
    assert path.read_bytes() == b"somebody's own"


def test_what_is_served_as_trained_has_no_onnx_form(
    house: LocalBackend, objects: ObjectStore, tmp_path: Path
) -> None:
    pickled = made.registered(house, "pickled", made.tree(), onnx=None)
    with pytest.raises(Conflict, match="has no ONNX form"):
        export("onnx", alone(pickled), objects, tmp_path / "x.onnx", WANTED)
    with pytest.raises(Conflict, match="only Setpoint can load"):
        export("mlflow", alone(pickled), objects, tmp_path / "x", WANTED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_version_that_may_not_serve_is_not_exported(
    kind: str, house: LocalBackend, objects: ObjectStore, tmp_path: Path
) -> None:
    failed = made.registered(house, f"bad {kind}", made.tree(), gate=Gate(checks=[], passed=False))
    with pytest.raises(Conflict, match="gate has not passed"):
        export(kind, alone(failed), objects, tmp_path / "x", WANTED)


@pytest.mark.parametrize(
    ("kind", "missing", "option"),
    [
        ("kubernetes", {"image": None}, "--image"),
        ("kserve", {"image": None}, "--image"),
        ("sagemaker", {"role": None}, "--role"),
        ("seldon", {"storage": None}, "--storage"),
    ],
)
def test_what_a_system_must_be_told_is_asked_for(
    kind: str,
    missing: dict[str, Any],
    option: str,
    late: ModelVersion,
    objects: ObjectStore,
    tmp_path: Path,
) -> None:
    values = {"image": IMAGE, "role": "arn:x", "storage": "gs://x", **missing}
    with pytest.raises(Invalid) as told:
        export(kind, alone(late), objects, tmp_path / "x", Wanted(**values))
    assert option in told.value.hint


def test_one_tag_is_no_image_of_two_versions(releasing: Traffic, late: ModelVersion) -> None:
    assert images_of(alone(late), f"{IMAGE}:stable") == {1: f"{IMAGE}:stable"}
    with pytest.raises(Invalid, match="versions 1, 2, 3 take part"):
        images_of(releasing, f"{IMAGE}:stable")


def test_an_older_version_is_exported_alone(releasing: Traffic) -> None:
    canary = releasing.arms[1].version
    now = [deployed(1, Role.LIVE, 1.0), deployed(2, Role.CANARY, 0.05)]
    assert traffic_of(canary, now, lambda _: canary) == alone(canary)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("churn", "churn"),
        ("Späte Flüge/x", "sp-te-fl-ge-x"),
        ("2024", "m-2024"),
        ("x" * 99, "x" * 50),
    ],
)
def test_models_have_names_that_resources_may_have(model: str, name: str) -> None:
    assert resource_name(model) == name
    with pytest.raises(Invalid, match="no letter or digit"):
        resource_name("→")


def test_the_command_exports_the_release_in_progress(
    house: LocalBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        made.registered(house, "busy", made.tree(), run_id=f"busy {number}")
    now = [
        Deployment(model="busy", version=2, role=Role.LIVE, weight=1.0),
        Deployment(model="busy", version=1, role=Role.CANARY, weight=0.25),
    ]
    with house.engine.begin() as conn:
        serving.deploy(conn, "busy", now)
    words = ["export", "version", "busy", "--home", str(house.settings.home), "--json"]
    out = str(tmp_path / "out")
    assert run([*words, "--to", "kubernetes", "--image", IMAGE, out]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["versions"] == [2, 1]
    assert said["files"] == ["busy-v1.yaml", "busy-v2.yaml", "route.yaml"]
    assert run([*words, "--to", "kubernetes", "--image", IMAGE, out]) == 4
    assert "is not empty" in capsys.readouterr().err
    assert run([*words, "--to", "onnx", str(tmp_path / "busy.onnx")]) == 0
    assert json.loads(capsys.readouterr().out)["versions"] == [2]
