"""Stories of MLflow's client of scoring servers, as it is: ``python … URL``."""

import sys
from urllib.parse import urlsplit

import mlflow
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from stories import Journeys

PLACE = urlsplit(sys.argv[1])

journey = Journeys()


class Named(ScoringServerClient):
    """The client, with the header that names one of several models."""

    def __init__(self, model: str) -> None:
        super().__init__(PLACE.hostname, PLACE.port)
        self.url_prefix = f"http://{PLACE.hostname}:{PLACE.port}/models/{model}"


@journey
def scoring_waits_for_the_server() -> None:
    client = ScoringServerClient(PLACE.hostname, PLACE.port)
    client.ping()
    assert client.get_version()


@journey
def scoring_of_a_frame() -> None:
    client = Named("m")
    client.wait_server_ready(timeout=5)
    frame = pd.DataFrame({"b": [2.0, 4.5], "a": [1.0, 3.0]})
    found = client.invoke(frame).get_predictions()
    assert found[0].tolist() == [3.0, 7.5]
    rows = frame[["a", "b"]].to_numpy()
    assert client.invoke(rows).get_predictions()[0].tolist() == [3.0, 7.5]
    texts = pd.DataFrame({"a": [1.0, None], "text": ["grün", None]})
    found = Named("t").invoke(texts).get_predictions()
    assert found[0].isna().tolist() == [False, True]


@journey
def scoring_is_told_what_is_wrong() -> None:
    frame = pd.DataFrame({"a": [1.0]})
    for client, said in (
        (ScoringServerClient(PLACE.hostname, PLACE.port), "3 models are served"),
        (Named("m"), "missing input 'b'"),
        (Named("other"), "no model 'other'"),
    ):
        told = ""
        try:
            client.invoke(frame)
        except Exception as error:  # noqa: BLE001 - it raises no other
            told = str(error)
        assert said in told


if __name__ == "__main__":
    journey.tell(lambda _: mlflow.__version__)
