"""Folders of TensorFlow's SavedModel, brought in and served.

``python savedmodel_journeys.py HOME [NAME…]`` in the environment of TensorFlow.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from stories import tell

import setpoint as sp
from setpoint.artifacts.files import FileStore
from setpoint.errors import SetpointError
from setpoint.models import adding
from setpoint.models.runtime import load

JOURNEYS: dict[str, Callable[[Path], None]] = {}
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def journey(walk: Callable[[Path], None]) -> Callable[[Path], None]:
    JOURNEYS[walk.__name__] = walk
    return walk


class Scales(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.constant([[1.0, 2.0, 3.0]] * 4)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def probabilities(self, x: Any) -> Any:
        return {"probabilities": tf.nn.softmax(tf.matmul(x, self.weights))}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="word"),
            tf.TensorSpec([None, 1], tf.float32, name="times"),
        ]
    )
    def words(self, word: Any, times: Any) -> Any:
        return {"length": tf.cast(tf.strings.length(word), tf.float32) * times[:, 0], "word": word}


def saved(home: Path, function: str) -> Path:
    model = Scales()
    tf.saved_model.save(
        model, str(home / "model"), signatures={"serving_default": getattr(model, function)}
    )
    return home / "model"


@journey
def a_classifier_gives_its_probabilities(home: Path) -> None:
    store = FileStore(home / "objects")
    folder = saved(home, "probabilities")
    held = adding.stored(store, folder, X, kind="classification", classes=["a", "b", "c"])
    assert held.flavor == "tensorflow"
    found = load(store, held).predict(X.astype(np.float64))
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found["score"], found["probabilities"].max(axis=1))


@journey
def texts_and_numbers_go_in_by_name(home: Path) -> None:
    store = FileStore(home / "objects")
    example = {"word": ["tea", "water"], "times": [1.0, 2.0]}
    held = adding.stored(store, saved(home, "words"), example)
    rows = {"word": np.array(["a", "abc"], object), "times": np.array([2.0, 3.0])}
    found = load(store, held).predict(rows)
    assert found["length"].tolist() == [2.0, 9.0]
    assert [bytes(each) for each in found["word"]] == [b"a", b"abc"]


@journey
def a_folder_without_a_signature_is_refused(home: Path) -> None:
    tf.saved_model.save(Scales(), str(home / "model"), signatures={})
    said = ""
    try:
        adding.stored(FileStore(home / "objects"), home / "model", X)
    except SetpointError as error:
        said = str(error)
    assert "no signature" in said


if __name__ == "__main__":
    home, *names = sys.argv[1:]

    def walk(name: str) -> None:
        own = Path(home) / name
        own.mkdir()
        JOURNEYS[name](own)

    tell(names or JOURNEYS, walk, version=sp.__version__)
