"""The parsers under bytes that are mutated by what of the code they reach."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.compat.environments import ROOT, needed
from tests.load import clients

RUNS = clients.of(20_000, 2_000_000)
TEXT = b'{"name":"b","shape":[1],"datatype":"BYTES","data":["x"]}'
RAW = b'{"name":"x","shape":[1,2],"datatype":"FP64","parameters":{"binary_data_size":16}}'
SEEDS = (
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,2]}],"id":"a"}',
    b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},%b]}' % TEXT,
    b'{"dataframe_split":{"columns":["a","b"],"data":[[1,"x"]]}}',
    b'{"instances":[{"a":1,"b":"x"}]}',
    b'{"ids":["a"],"labels":[1]}',
    b"a,b\n1,x\n",
    b'[1,"x"]\n{"a":1,"b":null}\n',
    b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 5",
    b'\x19{"inputs":[%b]}' % RAW + bytes(20),
)


@pytest.mark.long
def test_no_bytes_reach_a_failure(tmp_path: Path) -> None:
    python = needed("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for which in range(10):
        for number, seed in enumerate(SEEDS):
            (corpus / f"{which}-{number}").write_bytes(bytes([which]) + seed)
    words = (corpus / "../words").resolve()
    names = ("inputs", "shape", "datatype", "FP64", "BYTES", "INT8", "data", "name", "instances")
    words.write_text("".join(f"{json.dumps(name)}\n" for name in names))
    found = subprocess.run(
        [python, "-m", "tests.load.atheris_bytes", corpus, f"-dict={words}", f"-runs={RUNS}",
         "-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=3_600,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-5_000:]
    assert f"Done {RUNS}" in found.stderr, found.stderr[-2_000:]
