"""``setpoint batch``: tables scored as requests are, killed and gone on with."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec import structs
from tests.cli.running import ENVIRONMENT, command, setpoint, until, up

from setpoint.config import settings
from setpoint.control.follow import Follower
from setpoint.db.local import LocalBackend, open_local
from setpoint.models import service as models
from setpoint.models import store as model_store
from setpoint.serve import log
from setpoint.serve import store as predictions
from setpoint.serve.entities import BatchRecord, LabelRecord, Role

Say = Callable[..., tuple[int, str, str]]
Ask = Callable[..., Any]

INPUTS = [
    "tenure_months",
    "monthly_fee",
    "logins_30d",
    "support_tickets_90d",
    "days_since_login",
    "fee_per_login",
    "plan_churn_90d",
]


@pytest.fixture
def here(applied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one's own whose first version is live, the current folder."""
    folder = tmp_path / "churn"
    shutil.copytree(applied, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SETPOINT_HOME", raising=False)
    return folder


@pytest.fixture
def store(here: Path) -> Iterator[LocalBackend]:
    backend = open_local(settings(here / ".setpoint"))
    yield backend
    backend.engine.dispose()


def rows(count: int) -> pl.DataFrame:
    """Return a table of customers; every tenth lacks its fee."""
    rng = np.random.default_rng(3)
    numbers = {name: rng.uniform(0, 20, count).round(3) for name in INPUTS}
    numbers["monthly_fee"][::10] = np.nan
    ids = [f"C{i:07d}" for i in range(count)]
    frame = pl.DataFrame({"customer_id": ids, **numbers, "region": ["north"] * count})
    types = {"customer_id": pl.String(), "region": pl.String()}
    return frame.cast(types).with_columns(pl.col("monthly_fee").fill_nan(None))  # type: ignore[arg-type]


def apart(frame: pl.DataFrame) -> pl.DataFrame:
    """Return an output without what differs from run to run: when, and the batch's own id."""
    return frame.drop("at").with_columns(pl.col("prediction_id").str.replace(r"^bat_\w+", "bat"))


def logged(folder: Path, batch: str) -> Counter[str]:
    """Return how often each prediction of a batch is in the log."""
    records = [record for _, record in log.read(folder / ".setpoint" / "log")]
    found = [i for r in records if isinstance(r, BatchRecord) for i in r.ids]
    return Counter(i for i in found if i.startswith(batch))


def test_scores_are_those_of_the_server_and_rows_keep_their_order(here: Path, ask: Ask) -> None:
    table = rows(1_000)
    table.write_parquet("t.parquet")
    told = ask("batch", "churn", "t.parquet", "--chunk", "300")
    assert (told["rows"], told["rows_now"], told["version"]) == (1_000, 1_000, 1)
    found = pl.read_parquet("t.scores.parquet")
    assert found.columns == [
        "customer_id", "prediction_id", "score", "version", "at", "fallback",
    ]  # fmt: skip
    assert found["customer_id"].equals(table["customer_id"])
    assert found["prediction_id"].to_list() == [f"{told['id']}.{i}" for i in range(1_000)]
    with up(here) as platform:
        until(lambda: platform.serves("churn"), "churn served")
        whole = table["monthly_fee"].is_not_null()  # else the contract has a request refused
        columns = {name: table.filter(whole)[name].to_list() for name in INPUTS}
        asked = platform.client.predict("churn", columns)
    np.testing.assert_array_equal(found.filter(whole)["score"], asked.scores)
    assert not Path("t.scores.parquet.partial").exists()


def test_an_output_folder_has_every_column_that_is_asked_for(here: Path, ask: Ask) -> None:
    table = rows(1_000)
    Path("in").mkdir()
    table[:400].write_parquet("in/a.parquet")
    table[400:].write_parquet("in/b.parquet")
    ask("batch", "churn", "in", "-o", "out", "--keep-columns", "--chunk", "300")
    found = pl.read_parquet("out")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"part-{n:08d}.parquet" for n in range(4)
    ]
    assert found.select(table.columns).equals(table)


def test_a_csv_file_and_helpers_give_the_same(here: Path, ask: Ask) -> None:
    table = rows(1_000)
    table.write_parquet("t.parquet")
    table.write_csv("t.csv")
    ask("batch", "churn", "t.parquet", "-o", "one.parquet", "--chunk", "90")
    ask("batch", "churn", "t.csv", "-o", "two.parquet", "--chunk", "90", "--workers", "2")
    assert apart(pl.read_parquet("one.parquet")).equals(apart(pl.read_parquet("two.parquet")))


def test_a_dataset_is_scored_with_the_features_of_the_project(here: Path, ask: Ask) -> None:
    told = ask("batch", "churn:1", "customers:1", "--features")
    found = pl.read_parquet("customers-1.scores.parquet")
    assert told["rows"] == len(found) == 3_000
    assert found["score"].null_count() == 0
    table = pl.read_csv("data/customers.csv")
    assert sorted(found["customer_id"]) == sorted(table["customer_id"])
    both = found.join(table, on="customer_id").drop_nulls("churned")
    left, stayed = (both.filter(pl.col("churned") == value)["score"].mean() for value in (1, 0))
    assert left > stayed + 0.1  # type: ignore[operator]


def test_a_table_without_rows_gives_an_output_without_rows(here: Path, ask: Ask) -> None:
    rows(0).write_parquet("t.parquet")
    assert ask("batch", "churn", "t.parquet")["rows"] == 0
    assert pl.read_parquet("t.scores.parquet").shape == (0, 6)


def test_a_label_that_comes_later_joins_and_monitoring_sees_the_rows(
    here: Path, ask: Ask, store: LocalBackend
) -> None:
    rows(2_000).write_parquet("t.parquet")
    told = ask("batch", "churn", "t.parquet", "--prediction-id", "customer_id")
    writer = log.LogWriter(store.settings.log)
    writer.append(LabelRecord(at_us=2, model="churn", ids=["C0000007"], labels=[1.0]))
    writer.close()
    assert Follower(store).follow().predictions == 2_000
    with store.reading() as conn:
        found = predictions.prediction(conn, "C0000007", "churn")
        windows = conn.exec_driver_sql("SELECT version, role, rows FROM profile_windows").fetchall()
    assert (found.role, found.label, found.version) == (Role.BATCH, 1.0, told["version"])
    assert [tuple(row) for row in windows] == [(1, "batch", 2_000)]
    assert ask("why", "C0000007")


def test_without_the_log_nothing_is_logged(here: Path, ask: Ask, store: LocalBackend) -> None:
    rows(100).write_parquet("t.parquet")
    assert ask("batch", "churn", "t.parquet", "--no-log")["logged"] is False
    assert not (store.settings.log / "incoming").exists()
    assert Follower(store).follow().predictions == 0


def test_a_server_that_holds_the_log_takes_the_predictions(here: Path) -> None:
    rows(3_000).write_parquet("t.parquet")
    with up(here) as platform:
        until(lambda: platform.serves("churn"), "churn served")
        out = setpoint(here, "batch", "churn", "t.parquet", "--json")
        assert out.returncode == 0, out.stderr
        batch = json.loads(out.stdout)["id"]
        before = platform.client.predict("churn", {name: [1.0] for name in INPUTS})
        found = open_local(settings(here / ".setpoint"))

        def indexed() -> bool:
            with found.reading() as conn:
                return predictions.count_predictions(conn, "churn")[0] == 3_001

        until(indexed, "the predictions of both are indexed")
        found.engine.dispose()
    counted = logged(here, batch)
    assert len(counted) == 3_000
    assert set(counted.values()) == {1}
    assert len(before.ids) == 1


@pytest.mark.crash
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_batch_that_is_killed_again_and_again_comes_to_the_same(here: Path, workers: str) -> None:
    rows(40_000).write_parquet("t.parquet")
    words = ["batch", "churn", "t.parquet", "--chunk", "80", "--workers", workers, "--json"]
    whole = setpoint(here, *words, "-o", "whole.parquet")
    assert whole.returncode == 0, whole.stderr
    rng = np.random.default_rng(int(workers))
    parts = here / "out.parquet.partial" / "parts"
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(
            command(*words, "-o", "out.parquet"),
            cwd=here,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        wanted = _parts(parts) + int(rng.integers(1, 20))
        until(
            lambda p=process, w=wanted: p.poll() is not None or _parts(parts) >= w,  # type: ignore[misc]
            "some chunks are complete",
        )
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        process.stderr.close()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3
    out = setpoint(here, *words, "-o", "out.parquet")
    assert out.returncode == 0, out.stderr
    told = json.loads(out.stdout)
    assert 0 < told["rows_now"] < 40_000
    found = pl.read_parquet("out.parquet")
    assert apart(found).equals(apart(pl.read_parquet("whole.parquet")))
    assert logged(here, told["id"]) == Counter(found["prediction_id"].to_list())


def _parts(folder: Path) -> int:
    return len(list(folder.glob("part-*.parquet")))


# Kills itself after its n-th rename: what is complete, released or done hangs on those.
_KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from setpoint.cli.main import main
number, renamed, real = int(sys.argv[1]), 0, Path.rename
def rename(self, target):
    global renamed
    renamed += 1
    found = real(self, target)
    if renamed == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
Path.rename = rename
main(sys.argv[2:])
"""


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("output", ["out.parquet", "out"])
def test_a_batch_may_be_killed_after_every_step(here: Path, ask: Ask, output: str) -> None:
    rows(1_000).write_parquet("t.parquet")
    words = ["batch", "churn", "t.parquet", "--chunk", "500", "-o", output]
    for number in range(1, 30):
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED_AFTER, str(number), *words],
            cwd=here,
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
        batch = ask(*words)["id"]
        found = pl.read_parquet(output)
        assert found["prediction_id"].to_list() == [f"{batch}.{i}" for i in range(1_000)]
        assert logged(here, batch) == Counter(found["prediction_id"].to_list())
        assert not Path(f"{output}.partial").exists()
        shutil.rmtree(output) if Path(output).is_dir() else Path(output).unlink()
    assert number > 8  # the plan, two chunks, their segments, the output, the log's own


def test_a_batch_keeps_its_version_when_another_goes_live(
    here: Path, ask: Ask, say: Say, store: LocalBackend
) -> None:
    rows(40_000).write_parquet("t.parquet")
    words = ["batch", "churn", "t.parquet", "--chunk", "200"]
    process = subprocess.Popen(command(*words), cwd=here, env=ENVIRONMENT)
    until(lambda: _parts(here / "t.scores.parquet.partial" / "parts") > 3, "it has begun")
    process.kill()
    process.wait()
    with store.engine.begin() as conn:
        first = model_store.get(conn, "churn", 1)
    fields = {name: getattr(first, name) for name in models.Register.__struct_fields__}
    store.call(models.register, models.Register(**(fields | {"run_id": "run_other"})))
    store.call(models.alias, models.SetAlias(model="churn", alias="live", number=2, reason="x"))
    told = ask(*words)
    assert (told["version"], told["rows_now"] < 40_000) == (1, True)
    assert pl.read_parquet("t.scores.parquet")["version"].unique().to_list() == [1]
    assert ask(*words, "-o", "new.parquet")["version"] == 2


def test_run_again_a_batch_that_is_done_does_nothing(here: Path, ask: Ask, say: Say) -> None:
    rows(100).write_parquet("t.parquet")
    first = ask("batch", "churn", "t.parquet")
    again = ask("batch", "churn", "t.parquet")
    assert (again["id"], again["rows_now"]) == (first["id"], 0)
    code, _, err = say("batch", "churn", "t.parquet", "--keep-columns")
    assert code == 4
    assert "is there already" in err
    assert "--overwrite" in err
    rows(200).write_parquet("t.parquet")
    code, _, err = say("batch", "churn", "t.parquet")
    assert "t.parquet has changed since" in err
    anew = ask("batch", "churn", "t.parquet", "--overwrite")
    assert anew["id"] != first["id"]
    assert len(pl.read_parquet("t.scores.parquet")) == 200
    assert len(logged(here, first["id"])) == 100


@pytest.mark.parametrize(
    ("changed", "words", "says"),
    [
        (lambda t: t.drop("monthly_fee"), [], "missing input 'monthly_fee'"),
        (
            lambda t: t.with_columns(monthly_fee=pl.lit("much")),
            [],
            "the input 'monthly_fee' is numeric, not String",
        ),
        (lambda t: t, ["--id", "order"], "there is no column 'order' for --id"),
        (lambda t: t.with_columns(score=1), ["--keep-columns"], "has a column 'score'"),
        (
            lambda t: t.with_columns(region=pl.lit("one")),
            ["--prediction-id", "region"],
            "the id 'one' comes twice",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_table_that_does_not_fit_is_one_clear_error(
    here: Path,
    say: Say,
    changed: Callable[[pl.DataFrame], pl.DataFrame],
    words: list[str],
    says: str,
    suffix: str,
) -> None:
    table = changed(rows(50))
    table.write_csv("t.csv") if suffix == "csv" else table.write_parquet("t.parquet")
    code, out, err = say("batch", "churn", f"t.{suffix}", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
    assert not Path("t.scores.parquet").exists()


def test_what_cannot_be_read_is_one_clear_error(here: Path, say: Say) -> None:
    Path("t.parquet").write_bytes(b"PAR1 and nothing more")
    Path("late.csv").write_text(
        ",".join(INPUTS) + "\n" + ("1," * 6 + "1\n") * 12_000 + "1," * 6 + "much\n"
    )
    Path("t.xlsx").write_bytes(b"")
    Path("empty").mkdir()
    for words, code, says in (
        (["t.parquet"], 2, "t.parquet cannot be read"),
        (["late.csv"], 2, "late.csv cannot be read"),
        (["t.xlsx"], 2, "neither Parquet nor CSV"),
        (["none.parquet"], 3, "there is no file none.parquet"),
        (["empty"], 3, "has no Parquet files"),
        (["customer"], 3, "there is no file or dataset 'customer'"),
        (["customers:9", "--features"], 3, "no version 9"),
        (["customers", "-o", "no/where.parquet"], 3, "there is no folder"),
    ):
        found, out, err = say("batch", "churn", *words)
        assert (found, out) == (code, ""), err
        assert says in err
        assert "Traceback" not in err
    assert say("batch", "churn:7", "customers")[0] == 3
    assert not Path("t.scores.parquet.partial").exists()


def test_two_at_once_on_an_output_do_not_mix(here: Path) -> None:
    rows(60_000).write_parquet("t.parquet")
    first = subprocess.Popen(
        command("batch", "churn", "t.parquet", "--chunk", "50"), cwd=here, env=ENVIRONMENT
    )
    try:
        until(lambda: _parts(here / "t.scores.parquet.partial" / "parts") > 1, "it has begun")
        first.send_signal(signal.SIGSTOP)  # however fast it is, it is at it still
        assert first.poll() is None
        out = setpoint(here, "batch", "churn", "t.parquet", "--chunk", "50")
        assert out.returncode == 4
        assert "another process is scoring into" in out.stderr
    finally:
        first.kill()
        first.wait()


@pytest.mark.crash
def test_a_full_disk_is_one_clear_error_and_the_batch_goes_on_afterwards(
    here: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        rows(40_000).write_parquet("t.parquet")
        words = [
            "batch",
            "churn",
            "t.parquet",
            "--chunk",
            "1000",
            "-o",
            str(disk / "out"),
            "--keep-columns",
            "--json",
        ]
        filler = disk / "filler"
        filler.write_bytes(bytes(7_500_000))
        out = setpoint(here, *words)
        assert out.returncode == 6, out.stdout
        assert "the output cannot be written" in out.stderr
        assert "Traceback" not in out.stderr
        filler.unlink()
        out = setpoint(here, *words)
        assert out.returncode == 0, out.stderr
        told = json.loads(out.stdout)
        assert 0 < told["rows_now"] < 40_000
        found = pl.read_parquet(disk / "out")
        assert logged(here, told["id"]) == Counter(found["prediction_id"].to_list())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_it_is_quiet_without_a_terminal(here: Path) -> None:
    rows(100).write_parquet("t.parquet")
    out = setpoint(here, "batch", "churn", "t.parquet")
    assert out.stderr == ""
    assert re.match(r"100 rows scored by churn version 1: t.scores.parquet\n", out.stdout)


def test_a_plan_says_what_is_asked_for_otherwise() -> None:
    from setpoint.serve.batch.entities import Asked, Source  # noqa: PLC0415
    from setpoint.serve.batch.work import _difference  # noqa: PLC0415

    asked = Asked(model="m", source=Source(said="a", kind="csv", files=[]))
    assert _difference(asked, structs.replace(asked, keep=True, id="x")) == "differs in: id, keep"
