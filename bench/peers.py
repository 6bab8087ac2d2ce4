"""Other servers of models, each with a logistic regression and in an environment of its own.

Each is set up as its documentation has it for one worker on a CPU: no batching, no log line a
request, nothing told to anybody. Each answers with the probability of the class, as we do.
"""

import json
import subprocess
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import free_port
from bench.served import answers, running, until

_PEERS = Path(__file__).parent / ".peers"
_SKLEARN = "scikit-learn==1.9.1"
_NO_TELEMETRY = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}

# Each trains in its own environment, so that its scikit-learn pickles the model it will load.
_TRAIN = """
import joblib, numpy as np
from sklearn.linear_model import LogisticRegression
data = np.load("data.npz")
model = LogisticRegression().fit(data["x"], data["y"])
joblib.dump(model, "model.joblib")
"""

_BENTOML = """
import bentoml, joblib, numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    def __init__(self):
        self.model = joblib.load("model.joblib")

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]
"""

# As its documentation has it: named columns, and a signature that every request is held to.
_MLFLOW = """
import joblib, mlflow.sklearn, numpy as np, pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
data = np.load("data.npz")
x = pandas.DataFrame(data["x"], columns=[f"x{i}" for i in range(data["x"].shape[1])])
model = LogisticRegression().fit(x, data["y"])
signature = infer_signature(x, model.predict_proba(x))
mlflow.sklearn.save_model(
    model, "mlflow", pyfunc_predict_fn="predict_proba", signature=signature,
    serialization_format="cloudpickle",
)
"""

# Without a signature and with a bare matrix it checks nothing, which is its fastest.
_MLFLOW_BARE = """
import joblib, mlflow.sklearn
mlflow.sklearn.save_model(
    joblib.load("model.joblib"), "mlflow", pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle",
)
"""

_LITSERVE = """
import sys
import joblib, litserve, numpy as np


class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load("model.joblib")

    def decode_request(self, request):
        return np.array(request["rows"])

    def predict(self, rows):
        return self.model.predict_proba(rows)[:, 1]

    def encode_response(self, scores):
        return {"scores": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning",
        generate_client_file=False, access_log=False,
    )
"""

_KSERVE = """
import sys
import joblib, kserve
from kserve.utils.utils import get_predict_response


class Model(kserve.Model):
    def load(self):
        self.model = joblib.load("model.joblib")
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        scores = self.model.predict_proba(payload.inputs[0].as_numpy())[:, 1]
        return get_predict_response(payload, scores, self.name)


if __name__ == "__main__":
    model = Model("m")
    model.load()
    kserve.ModelServer(
        http_port=int(sys.argv[1]), workers=1, enable_grpc=False, access_log_format=None
    ).start([model])
"""

_RAY = """
import signal, sys
import joblib, numpy as np, ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 1})
class Model:
    def __init__(self, path):
        self.model = joblib.load(path)

    async def __call__(self, request: Request):
        rows = np.array((await request.json())["rows"])
        return {"scores": self.model.predict_proba(rows)[:, 1].tolist()}


if __name__ == "__main__":
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=quiet)
    serve.run(Model.bind(sys.argv[2]), route_prefix="/", logging_config=quiet)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
"""


@dataclass(frozen=True)
class Peer:
    """A server of models from somewhere else."""

    name: str
    package: str
    version: str
    bar: float | None  #: how many times our CPU time it is to take at least
    command: Callable[[Path, int], list[str]]  #: of the environment's ``bin`` and a port
    path: str
    ask: Callable[[list[float]], object]  #: the JSON of a request with one row
    files: Mapping[str, str] = field(default_factory=dict)  #: written beside the model
    prepare: str = ""  #: run after training
    needs: tuple[str, ...] = (_SKLEARN,)
    environment: Mapping[str, str] = field(default_factory=dict)
    way: str = ""  #: how it is used, where there is more than one way
    ours_too: bool = False  #: whether our server answers its requests, at its path

    def __str__(self) -> str:
        return f"{self.name} {self.version}{self.way and ', '}{self.way}"

    def installed(self) -> Path:
        """Return the ``bin`` of its environment, made on first use.

        Raises:
            subprocess.CalledProcessError: If it cannot be installed here.
        """
        home = _PEERS / self.name.replace(" ", "-").lower()
        ready = home / f"{self.name.replace(' ', '-').lower()}-{self.version}"
        if not ready.exists():
            venv.create(home, with_pip=True, clear=True)
            wanted = [f"{self.package}=={self.version}", *self.needs]
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", *wanted]
            subprocess.run(pip, check=True, capture_output=True, text=True)
            ready.touch()
        return home / "bin"

    @contextmanager
    def serving(self, folder: Path, row: list[float]) -> Iterator[tuple[int, int]]:
        """Train on ``data.npz`` in `folder` and serve from it; the values: process and port."""
        bin_ = self.installed()
        for name, text in self.files.items():
            (folder / name).write_text(text)
        for code in filter(None, (_TRAIN, self.prepare)):
            subprocess.run(
                [str(bin_ / "python"), "-c", code], cwd=folder, check=True, capture_output=True
            )
        port = free_port()
        body = json.dumps(self.ask(row)).encode()
        more = {**_NO_TELEMETRY, "PATH": f"{bin_}:/usr/bin:/bin", **self.environment}
        with running(self.command(bin_, port), folder, more) as process:
            url = f"http://127.0.0.1:{port}{self.path}"
            until(lambda: answers(url, body), process, 90)
            yield process.pid, port


def v2(row: list[float]) -> object:
    """Return the JSON of an infer request with one row."""
    tensor = {"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": row}
    return {"inputs": [tensor]}


def _script(bin_: Path, port: int, *more: str) -> list[str]:
    return [str(bin_ / "python"), "serve.py", str(port), *more]


def _mlflow(bin_: Path, port: int) -> list[str]:
    model = ["-m", "mlflow", "--env-manager", "local", "--workers", "1"]
    return [
        *(str(bin_ / "mlflow"), "models", "serve", *model),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


PEERS = (
    Peer(
        name="BentoML",
        package="bentoml",
        version="1.4.40",
        bar=30,
        command=lambda bin_, port: [
            *(str(bin_ / "bentoml"), "serve", "serve:Model"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        path="/predict",
        ask=lambda row: {"rows": [row]},
        files={"serve.py": _BENTOML},
    ),
    Peer(
        name="MLflow",
        package="mlflow",
        version="3.17.2",
        bar=100,
        command=_mlflow,
        path="/invocations",
        ask=lambda row: {
            "dataframe_split": {"columns": [f"x{i}" for i in range(len(row))], "data": [row]}
        },
        prepare=_MLFLOW,
        way="a signature and named columns",
        ours_too=True,
    ),
    Peer(
        name="MLflow",
        package="mlflow",
        version="3.17.2",
        bar=None,
        command=_mlflow,
        path="/invocations",
        ask=lambda row: {"inputs": [row]},
        prepare=_MLFLOW_BARE,
        way="no signature, a matrix",
        ours_too=True,
    ),
    Peer(
        name="LitServe",
        package="litserve",
        version="0.2.19",
        bar=20,
        command=_script,
        path="/predict",
        ask=lambda row: {"rows": [row]},
        files={"serve.py": _LITSERVE},
    ),
    Peer(
        name="KServe",
        package="kserve",
        version="0.21.0",
        bar=12,
        command=_script,
        path="/v2/models/m/infer",
        ask=v2,
        files={"serve.py": _KSERVE},
    ),
    Peer(
        name="Ray Serve",
        package="ray[serve]",
        version="2.60.0",
        bar=80,
        command=lambda bin_, port: _script(bin_, port, str(Path("model.joblib"))),
        path="/",
        ask=lambda row: {"rows": [row]},
        files={"serve.py": _RAY},
    ),
)
