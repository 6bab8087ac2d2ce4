"""Outputs: what a model gives besides its score, in every protocol's words, from real models."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from tests.serve.conftest import Served
from tests.serve.made import canary, live

from setpoint.artifacts.files import FileStore
from setpoint.errors import Invalid
from setpoint.models import adding
from setpoint.models.entities import Stored
from setpoint.models.runtime import load
from setpoint.serve.entities import EndpointSettings, LabelRecord, Position, PredictionRecord
from setpoint.serve.log import LogWriter
from setpoint.serve.outputs import Outputs
from setpoint.serve.seal import seal

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

IRIS = load_iris()
NAMES = ["setosa", "versicolor", "virginica"]
X = IRIS.data
ROWS = X[[0, 60, 140]].tolist()
PROBABILITIES = [1.0, 1.0, 1.0]
#: What the model of `several` gives to the likeliest class of each of `ROWS`.
BEST = (
    LogisticRegression(max_iter=1000)
    .fit(X, IRIS.target)
    .predict_proba(np.array(ROWS))
    .max(axis=1)
    .tolist()
)
JSON = (b"content-type", b"application/json")


class Thumb:
    """Gives several things of an image and a number."""

    def predict(self, frame: Any) -> dict[str, Any]:
        sizes = [len(each) for each in frame["image"]]
        return {
            "size": np.array(sizes, dtype=np.int64),
            "first": [each[:2] for each in frame["image"]],
            "means": np.stack([frame["pixels"].to_numpy().mean(axis=(1, 2)), sizes], axis=1),
        }


class Wide:
    """Gives numbers, pairs of them, texts, bytes, and more than is written down."""

    def predict(self, frame: pl.DataFrame) -> dict[str, Any]:
        a = frame["a"].to_numpy()
        return {
            "double": a * 2,
            "pair": np.stack([a, -a], axis=1),
            "word": [str(each) for each in a],
            "raw": [each.tobytes() for each in a],
            "wide": np.tile(a[:, None], (1, 65)),
        }


class Thirds:
    """Gives three numbers a row, of which none is the score."""

    def predict(self, frame: pl.DataFrame) -> Any:
        return np.full((len(frame), 3), 1 / 3)


def brought(tmp_path: Path, model: Any, example: Any, **more: Any) -> Any:
    store = FileStore(tmp_path / "objects")
    return load(store, adding.stored(store, model, example, **more))


def several(served: Served, tmp_path: Path) -> Served:
    model = LogisticRegression(max_iter=1000).fit(X, np.array(NAMES)[IRIS.target])
    served.predictors[1] = brought(tmp_path, model, X)
    served.deploy(live())
    return served


def yes_or_no(served: Served, tmp_path: Path, **labels: Any) -> Served:
    target = np.where(IRIS.target == 2, labels["yes"], labels["no"])
    model = LogisticRegression(max_iter=1000).fit(X, target)
    served.predictors[1] = brought(tmp_path, model, X)
    served.deploy(live())
    return served


@pytest.mark.parametrize("what", ["classify", "regress"])
def test_a_model_without_a_score_is_not_asked_to_classify(
    served: Served, tmp_path: Path, what: str
) -> None:
    served.predictors[1] = brought(tmp_path, Thirds(), pl.DataFrame({"a": [1.0, 2.0]}))
    served.deploy(live())
    status, told = served.post(f"/v1/models/m:{what}", {"examples": [{"a": 1.0}]})
    assert status == 400
    assert "the model gives no" in told["error"]
    assert "--class" in told["error"]
    assert not served.logged(), "nothing was predicted"


def test_classes_are_told_by_name_and_labels_may_be(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    assert served.get("/v2/models/m")[1]["classes"] == NAMES
    given = {"ids": ["a", "b", "c"], "labels": ["virginica", 1, "setosa"]}
    assert served.post("/v2/models/m/labels", given)[0] == 200
    record = served.logged()[-1]
    assert isinstance(record, LabelRecord)
    assert record.labels == [2.0, 1.0, 0.0]
    status, told = served.post("/v2/models/m/labels", {"ids": ["a"], "labels": ["rose"]})
    assert status == 400
    assert "'rose' is no class of the model" in told["error"]
    assert "setosa, versicolor, virginica" in told["error"]


def tensor(data: Any = ROWS) -> Any:
    return {"name": "x", "datatype": "FP64", "shape": list(np.shape(data)), "data": data}


def infer(served: Served, **more: Any) -> Any:
    status, answer = served.post("/v2/models/m/infer", {"inputs": [tensor()], **more})
    assert status == 200, answer
    return {one["name"]: one for one in answer["outputs"]}


def test_a_classifier_of_several_classes_gives_label_and_probabilities(
    served: Served, tmp_path: Path
) -> None:
    found = infer(several(served, tmp_path))
    assert found["label"]["data"] == NAMES
    assert found["label"]["datatype"] == "BYTES"
    assert found["probabilities"]["shape"] == [3, 3]
    each = np.array(found["probabilities"]["data"]).reshape(3, 3)
    assert each.sum(axis=1) == pytest.approx(PROBABILITIES)
    assert found["score"]["data"] == pytest.approx(each.max(axis=1))
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert np.frombuffer(record.scores) == pytest.approx(found["score"]["data"])
    _, told = served.get("/v2/models/m")
    assert [(one["name"], one["shape"]) for one in told["outputs"]] == [
        ("score", [-1]),
        ("label", [-1]),
        ("probabilities", [-1, 3]),
    ]


@pytest.mark.parametrize(
    ("labels", "datatype"),
    [
        ({"yes": "virginica", "no": "another"}, "BYTES"),
        ({"yes": 9, "no": 4}, "INT64"),
        ({"yes": True, "no": False}, "BOOL"),
        ({"yes": 2.0, "no": -1.0}, "FP64"),
    ],
)
def test_a_yes_or_no_gives_its_score_and_what_is_asked_for(
    served: Served, tmp_path: Path, labels: Any, datatype: str
) -> None:
    yes_or_no(served, tmp_path, **labels)
    assert list(infer(served)) == ["score"]
    found = infer(served, outputs=[{"name": "label"}, {"name": "probabilities"}])
    assert list(found) == ["label", "probabilities"]
    assert found["label"]["data"] == [labels["no"], labels["no"], labels["yes"]]
    assert found["label"]["datatype"] == datatype
    scores = infer(served)["score"]["data"]
    positive = np.array(found["probabilities"]["data"]).reshape(3, 2)[:, 1]
    assert positive.tolist() == scores


def asked_in_every_way(served: Served) -> list[Any]:
    """Return what is answered about the same rows, by protocol."""
    plain = {"id": "one", "inputs": [tensor()]}
    binary = {**plain, "parameters": {"binary_data_output": True}}
    named = [dict(zip(("x0", "x1", "x2", "x3"), row, strict=True)) for row in ROWS]
    csv = [JSON, (b"accept", b"text/csv")]
    asked: list[tuple[str, Any, list[tuple[bytes, bytes]]]] = [
        ("/v2/models/m/infer", plain, []),
        ("/v2/models/m/infer", binary, []),
        ("/v1/models/m:predict", {"instances": ROWS}, []),
        ("/v1/models/m:predict", {"inputs": ROWS}, []),
        ("/v1/models/m:classify", {"examples": named}, []),
        ("/invocations", {"instances": ROWS}, [JSON]),
        ("/invocations", {"instances": ROWS}, csv),
    ]
    answers = []
    for path, body, headers in asked:
        status, answer, _ = served.exchange("POST", path, json.dumps(body).encode(), headers)
        assert status in {200, 400}, answer  # a regression does not classify
        answers.append((status, re.sub(rb"prd_\w+", b"prd", answer)))
    _, told = served.get("/v2/models/m")
    return [*answers, told["outputs"]]


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_a_compiled_model_answers_in_every_protocol_as_the_native_one(
    served: Served, tmp_path: Path, kind: str
) -> None:
    if kind == "classes":
        model: Any = RandomForestClassifier(20, random_state=0)
        model.fit(X, np.array(NAMES)[IRIS.target])
    else:
        model = RandomForestRegressor(20, random_state=0).fit(X, X[:, :2] * 2)
    store = FileStore(tmp_path / "objects")
    held = adding.stored(store, model, X)
    assert held.onnx is not None, held.parity
    native = Stored(flavor=held.flavor, artifact=held.artifact, signature=held.signature)
    found = []
    for form in (held, native):
        served.predictors[1] = load(store, form)
        served.deploy(live())
        found.append(asked_in_every_way(served))
    assert [status for status, _ in found[0][:4]] == [200] * 4
    for compiled, other in zip(*found, strict=True):
        assert compiled == other


def sealed(served: Served) -> pl.DataFrame:
    """Return the prediction log as others read it."""
    served.writer.close()
    LogWriter(served.folder).close()
    return pl.concat(
        [pl.read_parquet(path) for path in seal(served.folder, Position(99))],
        how="diagonal_relaxed",
    )


def test_the_log_has_label_and_probabilities(served: Served, tmp_path: Path) -> None:
    found = infer(several(served, tmp_path))
    table = sealed(served)
    assert table["output_label"].to_list() == NAMES
    told = np.array(found["probabilities"]["data"]).reshape(3, 3)
    assert np.array(table["output_probabilities"].to_list()) == pytest.approx(told)


def test_the_log_has_numbers_and_texts_and_digests_of_the_rest(
    served: Served, tmp_path: Path
) -> None:
    wide = Wide()
    served.predictors[1] = brought(tmp_path, wide, {"a": [1.0, 2.0]}, kind="any")
    served.deploy(live())
    for rows in ([1.0, 2.0], [3.0]):
        asked = {"name": "a", "datatype": "FP64", "shape": [len(rows)], "data": rows}
        status, answer = served.post("/v2/models/m/infer", {"inputs": [asked]})
        assert status == 200, answer
    table = sealed(served)
    assert table["output_double"].to_list() == [2.0, 4.0, 6.0]
    assert table["output_pair"].to_list() == [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]
    assert table["output_word"].to_list() == ["1.0", "2.0", "3.0"]
    for name in ("output_wide", "output_raw"):
        digests = table[name].to_list()
        assert len(set(digests)) == 3, name
        assert all(re.fullmatch(r"b3:[0-9a-f]{32}", each) for each in digests), name


def test_outputs_are_redacted_and_sampled_as_inputs_are(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    served.configure(EndpointSettings(redact=("label",), sample=0.5))
    for _ in range(20):
        infer(served)
    table = sealed(served)
    assert 0 < table.height < 60
    assert "output_label" not in table.columns
    assert set(table["redacted"].explode()) == {"label"}
    scores = [max(each) for each in table["output_probabilities"]]
    assert scores == pytest.approx(table["score"].to_list())


def test_an_output_that_there_is_not_is_refused(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    body = {"inputs": [tensor()], "outputs": [{"name": "probability"}]}
    status, answer = served.post("/v2/models/m/infer", body)
    assert status == 400
    assert "no output 'probability'" in answer["error"]
    assert served.logged() == []


def test_binary_tensors_of_outputs_are_the_json_ones(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    plain = infer(served)
    body = json.dumps({"inputs": [tensor()], "parameters": {"binary_data_output": True}}).encode()
    _, raw, headers = served.exchange("POST", "/v2/models/m/infer", body)
    size = int(headers["inference-header-content-length"])
    head, rest = json.loads(raw[:size]), raw[size:]
    kinds = [(one["name"], one["parameters"]["binary_data_size"]) for one in head["outputs"]]
    assert [name for name, _ in kinds] == ["score", "label", "probabilities"]
    score, label = rest[: kinds[0][1]], rest[kinds[0][1] : kinds[0][1] + kinds[1][1]]
    assert np.frombuffer(score).tolist() == plain["score"]["data"]
    assert label.startswith(b"\x06\0\0\0setosa\x0a\0\0\0versicolor")
    some = {"inputs": [tensor()], "outputs": [
        {"name": "label"}, {"name": "score", "parameters": {"binary_data": True}}
    ]}  # fmt: skip
    _, raw, headers = served.exchange("POST", "/v2/models/m/infer", json.dumps(some).encode())
    head = json.loads(raw[: int(headers["inference-header-content-length"])])
    assert head["outputs"][0]["data"] == NAMES
    assert raw.endswith(score)


def test_every_other_protocol_has_them_in_its_own_words(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    _, rows = served.post("/v1/models/m:predict", {"instances": ROWS})
    assert [one["label"] for one in rows["predictions"]] == NAMES
    _, columns = served.post("/v1/models/m:predict", {"inputs": ROWS})
    assert columns["outputs"]["label"] == NAMES
    examples = [dict(zip(("x0", "x1", "x2", "x3"), row, strict=True)) for row in ROWS]
    _, classes = served.post("/v1/models/m:classify", {"examples": examples})
    assert [max(row, key=lambda one: one[1])[0] for row in classes["results"]] == NAMES
    _, told = served.get("/v1/models/m/metadata")
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["outputs"]["label"]["dtype"] == "DT_STRING"
    body = json.dumps({"instances": ROWS}).encode()
    _, answer, _ = served.exchange("POST", "/invocations", body, [JSON])
    assert [one["label"] for one in json.loads(answer)["predictions"]] == NAMES
    _, answer, _ = served.exchange("POST", "/invocations", body, [JSON, (b"accept", b"text/csv")])
    cells = [line.split(",") for line in answer.decode().splitlines()]
    assert [cell[1] for cell in cells] == NAMES
    assert {len(cell) for cell in cells} == {5}


@pytest.mark.parametrize("kind", ["application/x-parquet", "application/vnd.apache.arrow.stream"])
def test_a_table_comes_and_goes(served: Served, tmp_path: Path, kind: str) -> None:
    several(served, tmp_path)
    frame, body = pl.DataFrame(ROWS, schema=["x0", "x1", "x2", "x3"], orient="row"), io.BytesIO()
    write = frame.write_parquet if "parquet" in kind else frame.write_ipc_stream
    write(body)
    headers = [(b"content-type", kind.encode()), (b"accept", kind.encode())]
    status, answer, told = served.exchange("POST", "/invocations", body.getvalue(), headers)
    assert (status, told["content-type"]) == (200, kind)
    read = pl.read_parquet if "parquet" in kind else pl.read_ipc_stream
    found = read(io.BytesIO(answer))
    assert found["label"].to_list() == NAMES
    assert np.shape(found["probabilities"].to_list()) == (3, 3)


def test_images_and_tensors_go_in_by_signature(served: Served, tmp_path: Path) -> None:
    images = [b"\x89PNG", b"\xff\xd8\xff"]
    pixels = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    served.predictors[1] = brought(tmp_path, Thumb(), {"image": images, "pixels": pixels})
    served.deploy(live())
    _, told = served.get("/v2/models/m")
    assert [(one["name"], one["datatype"], one["shape"]) for one in told["inputs"]] == [
        ("image", "BYTES", [-1]),
        ("pixels", "FP32", [-1, 4, 3]),
    ]
    encoded = [base64.b64encode(each).decode() for each in images]
    ask = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [2], "data": encoded},
            {"name": "pixels", "datatype": "FP32", "shape": [2, 4, 3], "data": pixels.tolist()},
        ]
    }
    status, answer = served.post("/v2/models/m/infer", ask)
    assert status == 200, answer
    found = {one["name"]: one for one in answer["outputs"]}
    assert found["size"]["data"] == [4, 3]
    assert found["size"]["datatype"] == "INT64"
    assert [base64.b64decode(each) for each in found["first"]["data"]] == [b"\x89P", b"\xff\xd8"]
    assert found["means"]["data"] == pytest.approx([5.5, 4.0, 17.5, 3.0])
    rows = [
        {"image": {"b64": one}, "pixels": pixel.tolist()}
        for one, pixel in zip(encoded, pixels, strict=True)
    ]
    status, answer = served.post("/v1/models/m:predict", {"instances": rows})
    assert status == 200, answer
    assert [one["size"] for one in answer["predictions"]] == [4, 3]
    record = served.logged()[0]
    assert isinstance(record, PredictionRecord)
    assert all(each and each.startswith("b3:") for each in record.texts["image"])
    assert np.frombuffer(record.scores).tolist() == [4.0, 3.0]  # the only number a row
    for name, shape, data in (("pixels", [2, 3, 4], pixels.tolist()), ("image", [2], ["!", "?"])):
        wrong = json.loads(json.dumps(ask))
        for one in wrong["inputs"]:
            if one["name"] == name:
                one |= {"shape": shape, "data": data}
        assert served.post("/v2/models/m/infer", wrong)[0] == 400


def test_rows_of_a_request_that_two_versions_answer_stay_in_order(
    served: Served, tmp_path: Path
) -> None:
    served.predictors[2] = brought(
        tmp_path / "other", LogisticRegression(C=0.01).fit(X, np.array(NAMES)[IRIS.target]), X
    )
    several(served, tmp_path)
    alone = infer(served)["probabilities"]["data"]
    served.deploy(live(), canary(2, 0.5))
    keys = [f"key-{at}" for at in range(60)]
    body = {"inputs": [tensor([ROWS[at % 3] for at in range(60)])], "parameters": {"keys": keys}}
    _, answer = served.post("/v2/models/m/infer", body)
    versions = answer["parameters"]["versions"]
    assert set(versions) == {1, 2}
    found = {one["name"]: one["data"] for one in answer["outputs"]}
    assert found["label"] == [NAMES[at % 3] for at in range(60)]
    each = np.array(found["probabilities"]).reshape(60, 3)
    expected = np.array(alone).reshape(3, 3)
    for at, version in enumerate(versions):
        same = each[at] == pytest.approx(expected[at % 3], abs=1e-9)
        assert same is (version == 1)


def test_a_row_with_a_gap_that_the_model_does_not_take_has_no_answer(
    served: Served, tmp_path: Path
) -> None:
    several(served, tmp_path)
    gap = [*ROWS[:2], [None, 1.0, 1.0, 1.0]]
    status, answer = served.post("/v2/models/m/infer", {"inputs": [tensor(gap)]})
    assert status == 200, answer
    found = {one["name"]: one["data"] for one in answer["outputs"]}
    assert found["label"] == [*NAMES[:2], None]
    assert found["score"][2] is None
    assert found["probabilities"][6:] == [None, None, None]


@pytest.mark.usefixtures("database_url")
@pytest.mark.parametrize(
    ("classes", "told", "kept"),
    [
        (["no", "yes"], ["yes", 0, True], [1.0, 0.0, 1.0]),
        ([3, 7], [7, 3, "7", 3.0], [1.0, 0.0, 1.0, 0.0]),
        ([False, True], [True, 0, 1.0, "True"], [1.0, 0.0, 1.0, 1.0]),
        (["a", "b", "c"], ["c", 1, 0.0], [2.0, 1.0, 0.0]),
        ([], [0.25, 1e9, True], [0.25, 1e9, 1.0]),
    ],
)
def test_a_label_is_a_class_or_its_place(classes: Any, told: Any, kept: Any) -> None:
    outputs = Outputs(classes=classes)
    assert [outputs.label_of(each, "$") for each in told] == kept


@pytest.mark.usefixtures("database_url")
@pytest.mark.parametrize(
    ("classes", "label"),
    [
        (["no", "yes"], 2),
        (["no", "yes"], 0.5),
        (["no", "yes"], -1),
        (["no", "yes"], "maybe"),
        ([3, 7], 1),
        ([0, 1], 1e300),
        ([], "yes"),
    ],
)
def test_a_label_that_is_no_class_is_refused(classes: Any, label: Any) -> None:
    with pytest.raises(Invalid, match="no class of the model"):
        Outputs(classes=classes).label_of(label, "$")


def test_of_no_rows_outputs_keep_their_shapes(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    tensor = {"name": "x", "datatype": "FP64", "shape": [0, 4], "data": []}
    names = ["score", "label", "probabilities"]
    asked = {"inputs": [tensor], "outputs": [{"name": name} for name in names]}
    status, answer = served.post("/v2/models/m/infer", asked)
    assert status == 200
    assert [each["shape"] for each in answer["outputs"]] == [[0], [0], [0, 3]]
    status, answer = served.post("/v1/models/m:predict", {"instances": []})
    assert (status, answer) == (200, {"predictions": []})


@pytest.mark.parametrize("binary", ["binary", ""])
def test_tritons_classification_ranks_the_classes_of_a_row(
    served: Served, tmp_path: Path, binary: str
) -> None:
    several(served, tmp_path)
    rows = np.array(ROWS)
    tensor = {"name": "x", "datatype": "FP64", "shape": [3, 4], "data": rows.ravel().tolist()}
    asks = {"classification": 2, "binary_data": bool(binary)}
    names = [{"name": "probabilities", "parameters": asks}, {"name": "score"}]
    body = json.dumps({"inputs": [tensor], "outputs": names}).encode()
    status, raw, told = served.exchange("POST", "/v2/models/m/infer", body)
    assert status == 200
    if binary:
        head, rest = raw[: (size := int(told["inference-header-content-length"]))], raw[size:]
        (output, score) = json.loads(head)["outputs"]
        texts = []
        while rest:
            length = int.from_bytes(rest[:4], "little")
            texts.append(rest[4 : 4 + length].decode())
            rest = rest[4 + length :]
    else:
        (output, score) = json.loads(raw)["outputs"]
        texts = output["data"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [3, 2])
    assert (score["datatype"], score["shape"]) == ("FP64", [3])
    first = [text.split(":") for text in texts[::2]]
    assert [value for value, _, _ in first] == [f"{best:f}" for best in BEST]
    assert [name for _, _, name in first] == NAMES
    assert [int(place) for _, place, _ in first] == [0, 1, 2]
    assert all(len(text.split(":")) == 3 for text in texts)


@pytest.mark.parametrize(
    ("asked", "status", "data"),
    [
        (
            {"name": "score", "parameters": {"classification": 3}},
            200,
            [f"{best:f}:0" for best in BEST],
        ),
        ({"name": "score", "parameters": {"classification": 0}}, 200, pytest.approx(BEST)),
        ({"name": "label", "parameters": {"classification": 1}}, 400, "no numbers"),
        ({"name": "score", "parameters": {"classification": -1}}, 400, ">= 0"),
    ],
)
def test_what_has_one_value_has_one_class_and_texts_have_none(
    served: Served, tmp_path: Path, asked: Any, status: int, data: Any
) -> None:
    several(served, tmp_path)
    flat = np.array(ROWS).ravel().tolist()
    tensor = {"name": "x", "datatype": "FP64", "shape": [3, 4], "data": flat}
    found, answer = served.post("/v2/models/m/infer", {"inputs": [tensor], "outputs": [asked]})
    assert found == status
    if status == 200:
        assert answer["outputs"][0]["data"] == data
    else:
        assert data in answer["error"]


def test_a_raw_score_may_be_classified(served: Served, tmp_path: Path) -> None:
    several(served, tmp_path)
    rows = np.array(ROWS)
    tensor = {"name": "x", "datatype": "FP64", "shape": [3, 4]}
    asks = {"classification": 1, "binary_data": False}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": rows.nbytes}}],
            "outputs": [{"name": "score", "parameters": asks}],
        }
    ).encode()
    headers = [(b"inference-header-content-length", b"%d" % len(head))]
    for found in (
        served.short("/v2/models/m/infer", head + rows.tobytes(), headers),
        served.exchange("POST", "/v2/models/m/infer", head + rows.tobytes(), headers),
    ):
        assert found is not None
        assert json.loads(found[1])["outputs"][0]["data"] == [f"{best:f}:0" for best in BEST]
