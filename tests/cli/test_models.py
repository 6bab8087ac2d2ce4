"""The registry from the command line: a person's way through it."""

import json
import subprocess
from pathlib import Path

import joblib
import polars as pl
import pytest
from click.testing import CliRunner, Result
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from setpoint.artifacts.store import open_store
from setpoint.cli.main import cli, exit_code
from setpoint.config import Settings, settings
from setpoint.db.local import open_local
from setpoint.errors import SetpointError
from setpoint.models import service
from setpoint.models.entities import Input, Signature


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SETPOINT_ACTOR", "ada")
    monkeypatch.setenv("SETPOINT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SETPOINT_DATABASE_URL", raising=False)
    return tmp_path / "home"


def run(*words: str) -> str:
    """Run a command that must work; return what it printed."""
    result = attempt(*words)
    assert result.exception is None, result.exception
    return result.output


def attempt(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def refused(*words: str) -> int:
    """Run a command that must be refused; return its exit code."""
    error = attempt(*words).exception
    assert isinstance(error, SetpointError), error
    return exit_code(error)


def test_a_model_from_elsewhere_is_made_named_approved_and_found(home: Path) -> None:
    run("models", "create", "credit", "--tag", "team=risk", "--description", "Loans.")
    for number in (1, 2):
        run("models", "register", "credit", f"s3://bucket/{number}", "--tag", f"n={number}")
    assert "version 2" in run("models", "alias", "credit", "champion", "2", "--reason", "newer")
    run("models", "protect", "credit", "champion", "--role", "risk", "--reason", "audit")
    assert refused("models", "alias", "credit", "champion", "1") == 5
    run("models", "approve", "credit", "1", "--role", "risk", "--reason", "looked at it")
    run("models", "alias", "credit", "champion", "1", "--reason", "approved")
    assert "2 → 1" in run("models", "history", "credit", "--alias", "champion")
    assert "looked at it" in run("models", "approvals", "credit")
    run("models", "comment", "credit", "Odd on Mondays.", "--number", "1")
    assert "Odd on Mondays." in run("models", "comments", "credit")
    found = json.loads(run("models", "search", "tags.team = 'risk'", "--json"))
    assert [each["model"] for each in found["models"]] == ["credit"]
    assert "s3://bucket/2" in run("models", "search", "tags.n = '2'", "--versions")
    assert refused("models", "search", "nam = 'x'") == 2
    run("models", "describe", "credit", "The second.", "--number", "2")
    assert "serves as" in run("models", "diff", "credit", "1", "2")
    assert "team" in run("models", "tag", "credit", "--untag", "none")
    assert refused("models", "tag", "credit", "notag") == 2
    run("models", "unprotect", "credit", "champion", "--reason", "over")
    run("models", "unalias", "credit", "champion", "--reason", "over")
    run("models", "rename", "credit", "loans")
    assert "loans" in run("models", "ls")


def test_a_card_is_written_and_handed_on(home: Path, tmp_path: Path) -> None:
    run("models", "create", "credit")
    run("models", "register", "credit", "s3://bucket/1")
    words, file = tmp_path / "CARD.md", tmp_path / "card.html"
    words.write_text("For *small* loans.")
    run("models", "write-card", "credit", "1", str(words))
    assert "For *small* loans." in run("models", "card", "credit", "1")
    run("models", "card", "credit", "1", "--html", str(file))
    assert "<em>small</em>" in file.read_text()


def test_what_is_deleted_can_be_restored_until_it_is_collected(home: Path) -> None:
    run("models", "create", "credit")
    run("models", "register", "credit", "s3://bucket/1")
    run("models", "register", "credit", "s3://bucket/2")
    run("models", "delete", "credit", "--number", "1")
    run("models", "restore", "credit", "--number", "1")
    run("models", "keep", "credit", "--newest", "1")
    assert "1 versions would be deleted" in run("models", "gc", "--dry")
    assert "1 versions deleted" in run("models", "gc", "--days", "0")
    run("models", "delete", "credit")
    assert run("models", "ls").strip() == "no models yet: setpoint apply"
    run("models", "restore", "credit")
    assert refused("models", "keep", "credit") == 2
    run("models", "keep", "credit", "--all")


def test_a_version_is_signed_and_verified_with_keys_of_openssl(home: Path, tmp_path: Path) -> None:
    where: Settings = settings()
    backend = open_local(where)
    artifact = open_store(where).put(b"weights")
    backend.call(
        service.register,
        service.Register(
            model="late",
            run_id="r",
            why="first",
            flavor="lightgbm",
            artifact=artifact,
            signature=Signature(inputs=[Input(name="a", datatype="FP64")]),
        ),
    )
    backend.engine.dispose()
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)]
    subprocess.run(make, check=True)
    show = ["openssl", "ec", "-in", str(key), "-pubout", "-out", str(public)]
    subprocess.run(show, check=True, capture_output=True)
    assert refused("models", "verify", "late", "1", "--key", str(public)) == 3
    run("models", "sign", "late", "1", "--key", str(key))
    assert "verified: signed by ada" in run("models", "verify", "late", "1", "--key", str(public))


def test_a_channel_is_added_tried_switched_and_removed(home: Path) -> None:
    said = run("notify", "add", "ops", "http://127.0.0.1:1/", "--on", "release.*")
    assert "whsec_" in said
    assert "release.*" in run("notify", "ls")
    assert "whsec_" not in run("notify", "ls", "--json")
    assert "failed" in attempt("notify", "test", "ops").output
    log = json.loads(run("notify", "log", "ops", "--failed", "--json"))["deliveries"]
    assert "refused" in run("notify", "show", log[0]["id"])
    run("notify", "redeliver", log[0]["id"])
    assert "waiting" in run("notify", "log", "--waiting")
    run("notify", "off", "ops")
    assert " off " in run("notify", "ls")
    run("notify", "on", "ops")
    run("notify", "rm", "ops")
    assert "nobody is told" in run("notify", "ls")
    assert refused("notify", "add", "bad", "ftp://x", "--on", "*") == 2


def test_a_trained_model_is_brought_in_and_put_live(home: Path, tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    rows.write_csv(tmp_path / "rows.csv")
    rows.write_parquet(tmp_path / "rows.parquet")
    fitted = LogisticRegression().fit(rows.to_numpy(), ["no", "no", "yes", "yes"])
    joblib.dump(fitted, tmp_path / "model.joblib")
    file, example = str(tmp_path / "model.joblib"), str(tmp_path / "rows.csv")
    assert refused("models", "add", "churn", file, "--example", example) == 5  # a pickle
    said = run("models", "add", "churn", file, "--example", example, "--trust")
    assert "takes   a, b" in said
    assert "serves  compiled" in said
    parquet = str(tmp_path / "rows.parquet")
    again = run("models", "add", "churn", file, "--example", parquet, "--trust", "--json")
    assert json.loads(again)["signature"]["classes"] == ["no", "yes"]
    for wrong in ("nothing.csv", str(tmp_path / "model.joblib")):
        assert refused("models", "add", "churn", file, "--example", wrong, "--trust") in {2, 3}
    assert "promoted" in run("releases", "deploy", "churn", "2", "--reason", "tried it")
    assert "v2" in run("models", "ls") or "2" in run("models", "ls")
    assert "churn: unmanaged, version 2 live" in run("status")
    assert json.loads(run("status", "churn", "--json"))["unmanaged"][0]["aliases"] == {"live": 2}
    assert refused("status", "chrun") == 3
    assert home.exists()


@pytest.mark.usefixtures("home")
def test_a_model_of_several_classes_is_compiled_when_it_is_brought_in(tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [0.0, 1.0, 2.0] * 9, "b": [1.0, 0.0, 1.0] * 9})
    rows.write_csv(tmp_path / "rows.csv")
    fitted = RandomForestClassifier(5).fit(rows.to_numpy(), ["low", "mid", "top"] * 9)
    joblib.dump(fitted, tmp_path / "model.joblib")
    file, example = str(tmp_path / "model.joblib"), str(tmp_path / "rows.csv")
    said = run("models", "add", "three", file, "--example", example, "--trust")
    assert "gives   score, probabilities" in said
    assert "serves  compiled" in said
    shown = run("models", "show", "three", "--number", "1")
    assert "serves    ONNX" in shown
    assert "0 decisions differ, outputs by 0 at most" in shown
