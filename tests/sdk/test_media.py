"""What can be drawn arrives as a manifest that a page can draw, and a file that is whole."""

import io
import wave
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image as Pillow
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    roc_auc_score,
)
from tests.sdk.reading import files, manifest, values

import setpoint as sp
from setpoint.sdk.tracked import Tracked


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.arange(12, dtype=np.uint8).reshape(3, 4), "L"),
        (np.linspace(0, 1, 36).reshape(3, 4, 3), "RGB"),
        (np.arange(48).reshape(3, 4, 4), "RGBA"),
        (np.eye(4, dtype=bool)[:3], "L"),
    ],
)
def test_an_array_is_kept_as_a_picture_that_others_read(
    offline: Tracked, array: Any, mode: str
) -> None:
    offline.log(samples=sp.Image(array, caption="four"), step=3)
    told = manifest(offline, "media/samples/3-0.json")
    assert (told["type"], told["width"], told["height"]) == ("image", 4, 3)
    assert (told["metric"], told["step"], told["caption"]) == ("samples", 3, "four")
    picture = Pillow.open(io.BytesIO(files(offline)[told["file"]["path"]]))
    assert (picture.mode, picture.size) == (mode, (4, 3))
    scale = 255 if array.dtype != np.uint8 and array.max() <= 1 else 1
    assert np.array_equal(np.asarray(picture), np.floor(array * scale + 0.5).astype(np.uint8))


def test_pictures_of_pillow_files_and_bytes_are_kept(offline: Tracked, tmp_path: Path) -> None:
    picture = Pillow.new("RGB", (5, 2), "red")
    path = tmp_path / "red.jpg"
    picture.save(path)
    offline.log(a=picture, b=sp.Image(path), c=sp.Image(path.read_bytes()), step=0)
    found = files(offline)
    assert found["media/b/0-0.jpg"] == found["media/c/0-0.jpg"] == path.read_bytes()
    assert Pillow.open(io.BytesIO(found["media/a/0-0.png"])).size == (5, 2)


def test_several_at_one_step_do_not_overwrite_each_other(offline: Tracked) -> None:
    for value in (0.1, 0.9):
        offline.log({"group": {"x": sp.Image([[value]])}}, step=1)
    assert {"media/group/x/1-0.png", "media/group/x/1-1.png"} <= files(offline).keys()


def test_sounds_are_kept_as_samples(offline: Tracked) -> None:
    tone = np.sin(np.linspace(0, 100, 8_000))
    offline.log(tone=sp.Audio(tone, rate=8_000), stereo=sp.Audio(np.zeros((5, 2), "i2"), rate=5))
    told = manifest(offline, "media/tone/0-0.json")
    assert (told["type"], told["rate"], told["seconds"]) == ("audio", 8_000, 1.0)
    with wave.open(io.BytesIO(files(offline)["media/tone/0-0.wav"])) as file:
        samples = np.frombuffer(file.readframes(8_000), "<i2")
    assert np.abs(samples / 32_767 - tone).max() < 1e-4


def test_texts_are_in_the_manifest_and_long_ones_beside_it(offline: Tracked) -> None:
    offline.log(short=sp.Text("**hello** <b>", markdown=True), long=sp.Text("x" * 20_000))
    told = manifest(offline, "media/short/0-0.json")
    assert (told["text"], told["format"]) == ("**hello** <b>", "markdown")
    assert len(files(offline)["media/long/0-0.txt"]) == 20_000


@pytest.mark.parametrize(
    "data",
    [
        pl.DataFrame({"id": [1, 2], "score": [0.5, float("nan")], "who": ["ada", None]}),
        pd.DataFrame({"id": [1, 2], "score": [0.5, float("nan")], "who": ["ada", None]}),
        sp.Table({"id": [1, 2], "score": [0.5, float("nan")], "who": ["ada", None]}),
        sp.Table([[1, 0.5, "ada"], [2, float("nan"), None]], columns=["id", "score", "who"]),
    ],
)
def test_tables_of_any_kind_look_the_same(offline: Tracked, data: Any) -> None:
    offline.log(rows=data)
    told = manifest(offline, "media/rows/0-0.json")
    assert (told["type"], told["rows"], told["kept"]) == ("table", 2, 2)
    assert [column["name"] for column in told["columns"]] == ["id", "score", "who"]
    assert told["data"][0] == [1, 2]
    assert told["data"][1] == [0.5, "nan"]
    assert told["data"][2][0] == "ada"


def test_a_large_table_is_cut_and_says_so(offline: Tracked) -> None:
    offline.log(rows=pl.DataFrame({"i": range(20_000)}))
    told = manifest(offline, "media/rows/0-0.json")
    assert (told["rows"], told["kept"], len(told["data"][0])) == (20_000, 10_000, 50)


def test_figures_of_matplotlib_plotly_and_altair_are_logged_as_they_are(offline: Tracked) -> None:
    drawn = Figure()
    drawn.subplots().plot([1, 2])
    rows = pl.DataFrame({"x": [1], "y": [2]})
    chart = alt.Chart(rows).mark_point().encode(x="x:Q", y="y:Q")
    offline.log(m=drawn, p=go.Figure(go.Scatter(y=[1, 2])), a=chart)
    found = files(offline)
    assert Pillow.open(io.BytesIO(found["media/m/0-0.png"])).format == "PNG"
    assert b'"scatter"' in found["media/p/0-0.plotly.json"]
    assert b"vega-lite" in found["media/a/0-0.vl.json"]
    formats = [manifest(offline, f"media/{name}/0-0.json")["format"] for name in "mpa"]
    assert formats == ["png", "plotly", "vega-lite"]


def test_charts_of_predictions_agree_with_scikit_learn(offline: Tracked) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 5_000)
    scores = (truth * 0.3 + rng.normal(size=5_000)).round(2)  # with ties
    guesses = scores > 0.3
    offline.log(
        {
            "roc": sp.RocCurve(truth, {"model": scores, "coin": rng.random(5_000)}),
            "pr": sp.PrecisionRecall(truth, scores),
            "confusion": sp.ConfusionMatrix(truth, guesses.astype(int)),
        }
    )
    roc, coin = manifest(offline, "media/roc/0-0.json")["curves"]
    assert roc["area"] == pytest.approx(roc_auc_score(truth, scores))
    assert coin["name"] == "coin"
    assert len(roc["x"]) <= 500
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(roc["area"], abs=1e-3)
    (pr,) = manifest(offline, "media/pr/0-0.json")["curves"]
    assert pr["area"] == pytest.approx(average_precision_score(truth, scores))
    told = manifest(offline, "media/confusion/0-0.json")
    assert told["counts"] == confusion_matrix(truth, guesses).tolist()
    assert told["labels"] == ["0", "1"]


def test_a_histogram_counts_what_is_not_finite_apart(offline: Tracked) -> None:
    offline.log(weights=sp.Histogram([1, 2, 2, 4, np.nan, np.inf], bins=3))
    told = manifest(offline, "media/weights/0-0.json")
    assert told["counts"] == [1, 2, 1]
    assert told["not_finite"] == 2
    assert len(told["edges"]) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        sp.Image(np.zeros((2, 2, 7))),
        sp.Image("no-such-file.png"),
        sp.Image(b"GIFT"),
        sp.Audio([0.0]),
        sp.Table([[1, 2], [3]], columns=["a", "b"]),
        sp.Table([[1]]),
        sp.RocCurve([0, 0], [0.1, 0.2]),
        sp.RocCurve([0, 1], [0.1]),
        sp.PrecisionRecall([0, 1], [0.1, np.nan]),
        sp.ConfusionMatrix([0, 1], [0]),
        sp.ConfusionMatrix(range(300), range(300)),
        sp.Histogram("words"),
        sp.Histogram([1], bins=0),
    ],
)
def test_what_cannot_be_drawn_warns_once_and_the_training_goes_on(
    offline: Tracked, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for step in range(3):
        offline.log(wrong=wrong, loss=0.5, step=step)
    assert [step for step, _ in values(offline, "loss")] == [0, 1, 2]
    assert not files(offline)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "'wrong' is not kept" in warning


def test_a_name_cannot_leave_the_folder_of_media(offline: Tracked) -> None:
    offline.log({"../../etc/passwd": sp.Text("x"), "/abs": sp.Text("y"), "a/./b": sp.Text("z")})
    assert sorted(files(offline)) == [
        "media/a/b/0-0.json",
        "media/abs/0-0.json",
        "media/etc/passwd/0-0.json",
    ]
