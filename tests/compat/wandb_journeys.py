"""What people do with the wandb client, told as short stories it has to get through.

``python wandb_journeys.py URL [NAME…]`` runs in the client's environment and prints one JSON
line a journey. The folder it runs in is its own.
"""

import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import wandb
import wandb.agents.pyagent
from stories import tell
from wandb.errors import CommError, UsageError

Journey = Callable[[str], None]
JOURNEYS: dict[str, Journey] = {}


def journey(walk: Journey) -> Journey:
    JOURNEYS[walk.__name__] = walk
    return walk


def refused(kind: type[BaseException], call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the text of the error that a call must end with."""
    try:
        call(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call.__name__}{args} was not refused")


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what is found, as soon as it is true."""
    ends = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.1)
    return value


def picture(size: int = 4) -> Any:
    return np.arange(size * size * 3, dtype="uint8").reshape(size, size, 3)


# Runs


@journey
def a_run_is_logged_and_read_back(project: str) -> None:
    config = {"lr": 0.1, "nest": {"layers": [1, 2], "dropout": None}, "name": "é “ü”", "deep": True}
    with wandb.init(
        project=project,
        config=config,
        group="g1",
        job_type="train",
        tags=["b", "a"],
        notes="*why*",
        name="My run",
    ) as run:
        for i in range(20):
            run.log({"loss": 1 / (i + 1), "i": i, "nested": {"x": i, "y": {"z": 1.5}}})
        run.log({"nan": math.nan, "inf": math.inf, "ninf": -math.inf, "big": 2**60, "word": "hi"})
        run.summary["best"] = 0.9
        run.config.update({"lr": 0.2}, allow_val_change=True)
        assert run.url.endswith(f"/setpoint/{project}/runs/{run.id}")
    api = wandb.Api()
    read = api.run(f"setpoint/{project}/{run.id}")
    assert (read.name, read.state, read.group, read.job_type) == (
        "My run",
        "finished",
        "g1",
        "train",
    )
    assert (sorted(read.tags), read.notes) == (["a", "b"], "*why*")
    assert read.config == {**config, "lr": 0.2}
    assert read.summary["best"] == 0.9
    assert read.summary["loss"] == 1 / 20
    assert math.isnan(read.summary["nan"])
    rows = list(read.scan_history())
    assert [row["loss"] for row in rows[:20]] == [1 / (i + 1) for i in range(20)]
    assert [row["_step"] for row in rows] == list(range(21))
    assert rows[3]["nested"] == {"x": 3, "y": {"z": 1.5}}
    last = rows[20]
    assert math.isnan(last["nan"])
    assert (last["inf"], last["ninf"], last["big"], last["word"]) == (
        math.inf,
        -math.inf,
        2**60,
        "hi",
    )
    assert abs(last["_timestamp"] - time.time()) < 120
    assert "best" not in {key for row in rows for key in row}
    assert [row["nested.x"] for row in read.scan_history(keys=["nested.x"])] == list(range(20))
    assert len(read.history(samples=5, pandas=False)) == 5
    assert read.history(keys=["i"], pandas=False)[7] == {"_step": 7, "i": 7}
    assert read.history_keys["lastStep"] == 20
    assert read.history_keys["keys"]["loss"]["typeCounts"] == [{"type": "number", "count": 20}]
    assert read.metadata["python"].startswith("CPython")


@journey
def what_it_prints_and_what_the_machine_does_is_kept(project: str) -> None:
    settings = wandb.Settings(x_stats_sampling_interval=0.1)
    with wandb.init(project=project, settings=settings) as run:
        run.log({"a": 1})
        sys.stdout.write("a line to keep\n")
        ends = time.monotonic() + 1
        until(lambda: time.monotonic() > ends)
    read = wandb.Api().run(f"{project}/{run.id}")
    rows = read.history(stream="system", pandas=False)
    assert rows
    assert all("system.memory_percent" in row for row in rows)
    assert read.system_metrics["system.memory_percent"] > 0
    assert "a line to keep" in [line.content for line in read.console_logs()]
    assert len(list(read.console_logs(last=1))) == 1


@journey
def a_run_resumes_only_as_asked(project: str) -> None:
    text = refused(UsageError, wandb.init, project=project, id="r1", resume="must")
    assert "does not exist" in text
    wandb.teardown()
    with wandb.init(project=project, id="r1", resume="allow", config={"a": 1}, tags=["x"]) as run:
        assert not run.resumed
        for i in range(5):
            run.log({"loss": i})
    with wandb.init(project=project, id="r1", resume="allow", config={"b": 2}) as run:
        assert run.resumed
        assert run.starting_step == 5
        assert dict(run.config) == {"a": 1, "b": 2}
        assert run.summary["loss"] == 4
        run.log({"loss": 5})
    with wandb.init(project=project, id="r1", resume="must") as run:
        run.log({"loss": 6})
    text = refused(UsageError, wandb.init, project=project, id="r1", resume="never")
    assert "already exists" in text
    wandb.teardown()
    with wandb.init(project=project, id="r2", resume="never") as run:
        run.log({"loss": 0})
    read = wandb.Api().run(f"{project}/r1")
    rows = [(row["_step"], row["loss"]) for row in read.scan_history()]
    assert rows == [(i, i) for i in range(7)]
    assert read.state == "finished"


@journey
def a_failed_run_is_told_from_a_finished_one(project: str) -> None:
    with wandb.init(project=project, id="good") as run:
        run.log({"a": 1})
    run = wandb.init(project=project, id="bad")
    run.log({"a": 1})
    run.finish(exit_code=3)
    api = wandb.Api()
    assert api.run(f"{project}/bad").state == "failed"
    assert [one.id for one in api.runs(project, filters={"state": "failed"})] == ["bad"]


@journey
def names_may_be_odd(project: str) -> None:
    odd = "päivä 1 (test) 🚀"
    with wandb.init(project=project, id=odd, name="a/b 'c' \"d\"", tags=["x y"]) as run:
        run.log({"train/loss (mean)": 1, "ü.v": 2, "a'b\"c": 3})
    with wandb.init(project=f"{project}-2", id=odd) as run:  # the same id in another project
        run.log({"other": 1})
    api = wandb.Api()
    read = api.run(f"setpoint/{project}/{odd}")
    assert read.name == "a/b 'c' \"d\""
    (row,) = read.scan_history()
    assert (row["train/loss (mean)"], row["ü.v"], row["a'b\"c"]) == (1, 2, 3)
    (row,) = api.run(f"setpoint/{project}-2/{odd}").scan_history()
    assert row["other"] == 1
    with wandb.init(entity="another-team", project=project, id="r") as run:
        run.log({"a": 1})
    assert [one.id for one in api.runs(f"another-team/{project}")] == ["r"]
    assert [one.id for one in api.runs(project)] == [odd]


@journey
def metrics_are_defined(project: str) -> None:
    with wandb.init(project=project) as run:
        run.define_metric("epoch")
        run.define_metric("val/*", step_metric="epoch")
        run.define_metric("best", summary="min")
        for i in range(3):
            run.log({"epoch": i, "val/a": i * i, "best": 3 - i})
        run.log({"best": 9})
    read = wandb.Api().run(f"{project}/{run.id}")
    assert dict(read.summary["best"]) == {"min": 1}
    assert {entry["1"] for entry in read.rawconfig["_wandb"]["m"] if "1" in entry} >= {"epoch"}


@journey
def many_rows_come_back_whole(project: str) -> None:
    with wandb.init(project=project) as run:
        for i in range(20_000):
            run.log({"loss": i * 0.5, "acc": i})
    read = wandb.Api().run(f"{project}/{run.id}")
    assert read.lastHistoryStep == 19_999
    rows = list(read.scan_history(page_size=5_000))
    assert [row["acc"] for row in rows] == list(range(20_000))
    assert [row["loss"] for row in rows] == [i * 0.5 for i in range(20_000)]
    part = list(read.scan_history(keys=["acc"], min_step=500, max_step=510))
    assert [row["acc"] for row in part] == list(range(500, 510))


@journey
def an_alert_is_sent(project: str) -> None:
    with wandb.init(project=project) as run:
        run.alert("loss exploded", "it is inf", level=wandb.AlertLevel.WARN)


@journey
def media_come_back(project: str) -> None:
    with wandb.init(project=project) as run:
        run.log(
            {
                "image": wandb.Image(picture(), caption="four"),
                "images": [wandb.Image(picture(2)), wandb.Image(picture(3))],
                "page": wandb.Html("<b>bold</b>"),
                "spread": wandb.Histogram([1, 2, 2, 3]),
                "sound": wandb.Audio(np.zeros(100), sample_rate=100) if _SOUND else 0,
                "table": wandb.Table(columns=["n", "word"], data=[[1, "x"], [2, "ÿ"]]),
            }
        )
    read = wandb.Api().run(f"{project}/{run.id}")
    (row,) = read.scan_history()
    assert row["image"]["_type"] == "image-file"
    assert row["image"]["caption"] == "four"
    assert row["images"]["count"] == 2
    assert sum(row["spread"]["values"]) == 4
    file = read.file(row["image"]["path"]).download(root="down", replace=True)
    assert (np.asarray(PIL.Image.open(file.name)) == picture()).all()
    assert row["table"]["nrows"] == 2
    table = wandb.Api().artifact(f"{project}/run-{run.id}-table:latest").get("table")
    assert table.data == [[1, "x"], [2, "ÿ"]]


@journey
def files_are_saved_and_fetched(project: str) -> None:
    folder = Path("saved") / "sub"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "with space é.txt").write_text("content")
    (folder / "large.bin").write_bytes(os.urandom(3_000_000))
    with wandb.init(project=project) as run:
        run.save("saved/sub/*", base_path="saved")
    read = wandb.Api().run(f"{project}/{run.id}")
    names = [file.name for file in read.files()]
    assert {"sub/with space é.txt", "sub/large.bin", "config.yaml", "requirements.txt"} <= {*names}
    assert [file.name for file in read.files(pattern="sub/%.txt")] == ["sub/with space é.txt"]
    read.file("sub/large.bin").download(root="down", replace=True)
    assert Path("down/sub/large.bin").read_bytes() == (folder / "large.bin").read_bytes()
    Path("later.txt").write_text("later")
    read.upload_file("later.txt")
    assert read.file("later.txt").size == 5
    read.file("later.txt").delete()
    assert "later.txt" not in [file.name for file in wandb.Api().run(f"{project}/{run.id}").files()]


# Reading and changing


@journey
def runs_are_found_sorted_and_paged(project: str) -> None:
    for i in range(6):
        with wandb.init(
            project=project, id=f"r{i}", config={"lr": i / 10, "net": "ab"[i % 2]}
        ) as run:
            run.log({"acc": (i * 7) % 6})
    api = wandb.Api()

    def ids(filters: dict[str, Any] | None = None, order: str = "+created_at") -> list[str]:
        return [run.id for run in api.runs(project, filters=filters, order=order, per_page=2)]

    assert ids() == [f"r{i}" for i in range(6)]
    assert ids(order="-created_at") == [f"r{i}" for i in reversed(range(6))]
    assert ids(order="-summary_metrics.acc") == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert ids({"config.net": "a"}) == ["r0", "r2", "r4"]
    assert ids({"config.lr.value": {"$gte": 0.3}, "summary_metrics.acc": {"$lt": 5}}) == [
        "r3",
        "r4",
    ]
    assert ids({"$or": [{"name": "r1"}, {"display_name": {"$regex": "^r5"}}]}) == ["r1", "r5"]
    assert ids({"$and": [{"config.lr": {"$in": [0.1, 0.2]}}, {"state": {"$ne": "running"}}]}) == [
        "r1",
        "r2",
    ]
    assert len(api.runs(project, filters={"config.net": "b"})) == 3
    assert "no operator" in refused(Exception, ids, {"config.net": {"$near": 1}})
    assert "Could not find" in refused(CommError, api.run, f"{project}/missing")


@journey
def runs_are_changed_and_deleted(project: str) -> None:
    for name in ("one", "two"):
        with wandb.init(project=project, id=name, config={"a": 1}, tags=["x", "y"]) as run:
            run.log({"loss": 1})
    read = wandb.Api().run(f"{project}/one")
    read.summary["late"] = 5
    read.config["new"] = [1, 2]
    read.tags = ["y", "z"]
    read.name, read.notes, read.group = "Renamed", "why not", "g2"
    read.update()
    read = wandb.Api().run(f"{project}/one")
    assert (read.summary["late"], read.config["new"], read.config["a"]) == (5, [1, 2], 1)
    assert (sorted(read.tags), read.name, read.notes, read.group, read.state) == (
        ["y", "z"],
        "Renamed",
        "why not",
        "g2",
        "finished",
    )
    wandb.Api().run(f"{project}/two").delete()
    assert [run.id for run in wandb.Api().runs(project)] == ["one"]
    made = wandb.Api().create_run(run_id="made", project=project)
    assert made.state == "running"
    wandb.Api().create_project(f"{project}-empty", "setpoint")
    assert f"{project}-empty" in [one.name for one in wandb.Api().projects("setpoint")]


@journey
def a_run_is_stopped_from_outside(project: str) -> None:
    script = Path("endless.py")
    script.write_text(
        "import time, wandb\n"
        f"run = wandb.init(project={project!r}, id='endless')\n"
        "while True:\n    run.log({'a': 1})\n    time.sleep(0.1)\n"
    )
    child = subprocess.Popen([sys.executable, str(script)])
    try:
        until(lambda: _there(f"{project}/endless"), 60)
        wandb.Api().run(f"{project}/endless").stop()
        assert child.wait(60) != 0
    finally:
        child.kill()


def _there(path: str) -> bool:
    try:
        return wandb.Api().run(path).state == "running"
    except CommError:
        return False


@journey
def runs_of_our_own_clients_are_read(project: str) -> None:
    _ours("runs.start", id=f"{project}-ours", experiment=project, params={"depth": 3}, name="Ours")
    points = [{"name": "auc", "value": i / 10, "step": i} for i in range(5)]
    _ours("runs.log", run=f"{project}-ours", points=points)
    _ours("runs.finish", run=f"{project}-ours")
    (read,) = wandb.Api().runs(project)
    assert (read.id, read.name, read.state) == (f"{project}-ours", "Ours", "finished")
    assert read.config == {"depth": 3}
    assert read.summary["auc"] == 0.4
    assert [row["auc"] for row in read.scan_history()] == [i / 10 for i in range(5)]
    with wandb.init(project=project, id=f"{project}-ours", resume="must") as run:
        run.log({"auc": 0.9})
    assert [row["auc"] for row in wandb.Api().run(f"{project}/{run.id}").scan_history()][-1] == 0.9


def _ours(operation: str, **command: Any) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{os.environ['WANDB_BASE_URL']}/api/v1/{operation}",
        json.dumps(command).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
        answer.read()


# Artifacts


def _folder(**files: str) -> Path:
    folder = Path("data") / str(time.monotonic_ns())
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def _logged(project: str, folder: Path, name: str = "set", **options: Any) -> Any:
    with wandb.init(project=project) as run:
        made = wandb.Artifact(name, "dataset", **options)
        made.add_dir(str(folder))
        return run.log_artifact(made).wait()


@journey
def artifacts_have_versions_and_aliases(project: str) -> None:
    folder = _folder(a="A", sub__b="B" * 1000)
    with wandb.init(project=project) as run:
        made = wandb.Artifact("set", "dataset", description="why", metadata={"rows": 5})
        made.add_dir(str(folder))
        made = run.log_artifact(made, aliases=["prod"], tags=["t1"]).wait()
        assert (made.version, sorted(made.aliases), made.state) == (
            "v0",
            ["latest", "prod"],
            "COMMITTED",
        )
    (folder / "a").write_text("A2")
    assert _logged(project, folder).version == "v1"
    assert _logged(project, folder).version == "v1"  # the same contents are the same version
    with wandb.init(project=project) as run:
        used = run.use_artifact("set:prod")
        place = Path(used.download("old"))
        assert (place / "a").read_text() == "A"
        assert (place / "sub" / "b").read_text() == "B" * 1000
        used.verify("old")
        assert (
            Path(run.use_artifact("set:latest").get_entry("a").download("new")).read_text() == "A2"
        )
    api = wandb.Api()
    found = api.artifact(f"{project}/set:v0")
    assert (found.description, found.metadata, found.size, found.file_count, found.tags) == (
        "why",
        {"rows": 5},
        1001,
        2,
        ["t1"],
    )
    assert [user.id for user in found.used_by()] == [run.id]
    assert [one.name for one in api.run(f"{project}/{run.id}").used_artifacts()] == [
        "set:v0",
        "set:v1",
    ]
    maker = found.logged_by()
    assert "set:v0" in [one.name for one in maker.logged_artifacts()]
    assert [one.version for one in api.artifacts("dataset", f"{project}/set")] == ["v1", "v0"]
    assert sorted(file.name for file in found.files()) == ["a", "sub/b"]
    assert not api.artifact_exists(f"{project}/set:v9")
    assert api.artifact_exists(f"{project}/set:v1")


@journey
def artifacts_are_described_linked_and_deleted(project: str) -> None:
    folder = _folder(a="A")
    _logged(project, folder)
    (folder / "a").write_text("A2")
    _logged(project, folder)
    api = wandb.Api()
    first = api.artifact(f"{project}/set:v0")
    first.aliases.append("golden")
    first.metadata["k"], first.description, first.tags = 1, "new", ["z"]
    first.save()
    read = api.artifact(f"{project}/set:golden")
    assert (read.version, read.metadata, read.description, read.tags) == (
        "v0",
        {"k": 1},
        "new",
        ["z"],
    )
    collection = api.artifact_collection("dataset", f"{project}/set")
    collection.description, collection.tags = "all of them", ["ct"]
    collection.save()
    read = api.artifact_collection("dataset", f"{project}/set")
    assert (read.description, read.tags) == ("all of them", ["ct"])
    assert [one.name for one in api.artifact_type("dataset", project).collections()] == ["set"]
    with wandb.init(project=project) as run:
        run.link_artifact(run.use_artifact("set:v1"), "best-of", aliases=["chosen"])
    linked = api.artifact(f"{project}/best-of:chosen")
    assert (linked.source_name, linked.version) == ("set:v1", "v0")
    linked.unlink()
    assert not api.artifact_exists(f"{project}/best-of:chosen")
    api.artifact(f"{project}/set:v0").delete(delete_aliases=True)
    assert [one.version for one in api.artifacts("dataset", f"{project}/set")] == ["v1"]
    api.artifact_collection("dataset", f"{project}/set").delete()
    assert not api.artifact_collection_exists(f"{project}/set", "dataset")


@journey
def artifacts_are_built_on_others(project: str) -> None:
    first = _logged(project, _folder(a="A", b="B"))
    draft = wandb.Api().artifact(f"{project}/set:v0").new_draft()
    draft.remove("b")
    draft.add_file(str(_folder(c="C") / "c"), name="c")
    with wandb.init(project=project) as run:
        assert run.log_artifact(draft).wait().version == "v1"
    assert sorted(wandb.Api().artifact(f"{project}/set:v1").manifest.entries) == ["a", "c"]
    for name in ("one", "two"):
        with wandb.init(project=project) as run:
            made = wandb.Artifact("grown", "dataset", incremental=True)
            made.add_file(str(_folder(x=name) / "x"), name=name)
            run.log_artifact(made).wait()
    assert sorted(wandb.Api().artifact(f"{project}/grown:latest").manifest.entries) == [
        "one",
        "two",
    ]
    with wandb.init(project=project) as run:
        made = wandb.Artifact("refs", "dataset")
        made.add_reference((_folder(r="R") / "r").resolve().as_uri())
        made.add(wandb.Table(columns=["i"], data=[[wandb.Image(picture())]]), "table")
        run.log_artifact(made).wait()
    found = wandb.Api().artifact(f"{project}/refs:latest")
    assert (Path(found.download("refs")) / "r").read_text() == "R"
    assert (np.asarray(found.get("table").data[0][0].image) == picture()).all()
    with wandb.init(project=project) as run:
        run.log_model(path=str(_folder(weights="W") / "weights"), name="model")
    with wandb.init(project=project) as run:
        assert Path(run.use_model("model:latest")).read_text() == "W"
    assert first.version == "v0"


# Offline


@journey
def an_offline_run_is_synced(project: str) -> None:
    with wandb.init(project=project, mode="offline", id="away", config={"a": 1}) as run:
        folder = Path(run.settings.sync_dir)
        for i in range(100):
            run.log({"loss": i, "word": "x"})
        made = wandb.Artifact("set", "dataset")
        made.add_file(str(_folder(x="X") / "x"))
        run.log_artifact(made)
        run.log({"image": wandb.Image(picture())})
    for _ in range(2):  # twice is once
        subprocess.run([_wandb(), "sync", "--no-skip-synced", str(folder)], check=True)
    read = wandb.Api().run(f"{project}/away")
    rows = list(read.scan_history())
    assert [row["loss"] for row in rows[:100]] == list(range(100))
    assert len(rows) == 101
    assert (read.state, read.config) == ("finished", {"a": 1})
    assert [one.name for one in read.logged_artifacts()] == ["set:v0"]
    assert rows[100]["image"]["path"] in [file.name for file in read.files()]


@journey
def code_is_logged_and_found(project: str) -> None:
    folder = _folder(**{"train.py": "print(1)", "notes.txt": "no code", "deep.py": "x = 2"})
    with wandb.init(project=project) as run:
        made = run.log_code(str(folder), include_fn=lambda path: path.endswith(".py"))
        made.wait()
    (code,) = wandb.Api().run(f"{project}/{run.id}").logged_artifacts()
    assert code.type == "code"
    there = Path(code.download())
    assert sorted(file.name for file in there.iterdir()) == ["deep.py", "train.py"]
    assert (there / "train.py").read_text() == "print(1)"


@journey
def an_offline_run_is_synced_with_its_artifacts(project: str) -> None:
    with wandb.init(project=project, mode="offline") as run:
        made = wandb.Artifact("weights", type="model", metadata={"auc": 0.9})
        made.add_file(str(_folder(model="W" * 1000) / "model"))
        run.log_artifact(made, aliases=["best"])
        run.log({"loss": 0.5, "table": wandb.Table(columns=["a"], data=[[1]])})
        folder = Path(run.settings.sync_dir)
    for _ in range(2):
        subprocess.run([_wandb(), "sync", "--no-skip-synced", str(folder)], check=True)
    found = wandb.Api().artifact(f"{project}/weights:best")
    assert (found.version, found.metadata) == ("v0", {"auc": 0.9})
    assert (Path(found.download()) / "model").read_text() == "W" * 1000
    assert found.logged_by().id == run.id


@journey
def a_run_is_forked(project: str) -> None:
    with wandb.init(project=project, config={"lr": 0.1}) as run:
        for step in range(10):
            run.log({"loss": 1.0 - step / 10, "note": f"step {step}"})
    with wandb.init(project=project, fork_from=f"{run.id}?_step=4") as forked:
        forked.log({"loss": 9.0})
    assert forked.id != run.id
    rows = list(wandb.Api().run(f"{project}/{forked.id}").scan_history())
    assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["loss"] for row in rows] == [1.0, 0.9, 0.8, 0.7, 0.6, 9.0]
    assert [row.get("note") for row in rows][:5] == [f"step {step}" for step in range(5)]
    assert len(list(wandb.Api().run(f"{project}/{run.id}").scan_history())) == 10
    refused(CommError, wandb.init, project=project, fork_from="none?_step=4")


_SECOND = """
import sys, wandb
settings = wandb.Settings(
    mode="shared", x_primary=False, x_label="second", x_update_finish_state=False
)
with wandb.init(project=sys.argv[1], id=sys.argv[2], settings=settings) as run:
    for step in range(5):
        run.log({"other": step / 2})
"""


@journey
def writers_on_several_machines_share_a_run(project: str) -> None:
    elsewhere = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    with wandb.init(project=project, mode="shared") as run:
        run.log({"loss": 0.5})
        subprocess.run([sys.executable, "-c", _SECOND, project, run.id], check=True, env=elsewhere)
        assert wandb.Api().run(f"{project}/{run.id}").state == "running"
        run.log({"loss": 0.25})
    read = wandb.Api().run(f"{project}/{run.id}")
    rows = list(read.scan_history())
    assert [row["loss"] for row in rows if row.get("loss") is not None] == [0.5, 0.25]
    others = [row["other"] for row in rows if row.get("other") is not None]
    assert others == [step / 2 for step in range(5)]
    assert read.state == "finished"


def _wandb() -> str:
    return str(Path(sys.executable).with_name("wandb"))


# Sweeps


def _swept(project: str, config: dict[str, Any], count: int, main: Callable[[Any], None]) -> Any:
    sweep = wandb.sweep(config, project=project)
    often = wandb.Settings(x_file_stream_transmit_interval=0.5)  # 15 seconds, else

    def once() -> None:
        with wandb.init(settings=often) as run:
            main(run)

    wandb.agent(sweep, function=once, project=project, count=count)
    wandb.teardown()
    return wandb.Api().sweep(f"setpoint/{project}/{sweep}")


def _bowl(run: Any) -> None:
    run.log({"score": (run.config.x - 0.3) ** 2})


@journey
def a_grid_is_walked_once(project: str) -> None:
    parameters = {
        "x": {"values": [0.1, 0.3]},
        "y": {"min": 1, "max": 2},
        "deep": {"parameters": {"z": {"value": 7}}},
    }
    metric = {"name": "score", "goal": "minimize"}
    config = {"method": "grid", "metric": metric, "parameters": parameters, "name": "walk"}

    def main(run: Any) -> None:
        assert run.config.deep == {"z": 7}
        _bowl(run)

    sweep = _swept(project, config, 10, main)  # it ends by itself, after four
    tried = sorted((run.config["x"], run.config["y"]) for run in sweep.runs)
    assert tried == [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2)]
    assert (sweep.name, sweep.state, sweep.expected_run_count) == ("walk", "FINISHED", 4)
    assert sweep.best_run().config["x"] == 0.3
    (agent,) = sweep.agents()
    assert len(list(agent.runs())) == 4
    assert [one.id for one in wandb.Api().project(project, "setpoint").sweeps()] == [sweep.id]


@journey
def a_random_search_stays_in_its_space(project: str) -> None:
    parameters = {
        "x": {"min": 0.0, "max": 1.0},
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "net": {"values": ["a", "b"], "probabilities": [0.0, 1.0]},
    }
    sweep = _swept(project, {"method": "random", "run_cap": 3, "parameters": parameters}, 9, _bowl)
    configs = [run.config for run in sweep.runs]
    assert len(configs) == 3
    assert all(0 <= one["x"] <= 1 and 1e-5 <= one["lr"] <= 1e-1 for one in configs)
    assert {one["net"] for one in configs} == {"b"}
    assert len({one["x"] for one in configs}) == 3


@journey
def a_search_learns(project: str) -> None:
    metric = {"name": "score", "goal": "minimize"}
    parameters = {"x": {"min": 0.0, "max": 1.0}}
    config = {"method": "bayes", "metric": metric, "parameters": parameters}
    sweep = _swept(project, config, 10, _bowl)
    tried = [run.config["x"] for run in sweep.runs]
    assert len(tried) == 10
    assert min(abs(x - 0.3) for x in tried[5:]) < 0.05
    assert sweep._attrs["bestLoss"] == min((x - 0.3) ** 2 for x in tried)


@journey
def a_sweep_is_paused_and_cancelled(project: str) -> None:
    parameters = {"x": {"values": [1, 2, 3]}}
    config = {"method": "grid", "parameters": parameters}
    sweep = _swept(project, config, 1, lambda run: run.log({"a": 1})).id
    for word, state in (("--pause", "PAUSED"), ("--resume", "RUNNING"), ("--cancel", "CANCELED")):
        subprocess.run([_wandb(), "sweep", word, f"setpoint/{project}/{sweep}"], check=True)
        assert wandb.Api().sweep(f"setpoint/{project}/{sweep}").state == state
    wandb.agent(sweep, function=lambda: None, project=project)  # leaves at once
    assert len(wandb.Api().sweep(f"setpoint/{project}/{sweep}").runs) == 1


@journey
def poor_runs_are_stopped_early(project: str) -> None:
    config = {
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"values": [1, 2, 3, 9]}},
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
    }

    def main(run: Any) -> None:
        for i in range(300 if run.config.x == 9 else 4):
            run.log({"loss": run.config.x, "i": i})
            if run.config.x == 9:
                time.sleep(0.1)

    sweep = _swept(project, config, 4, main)
    steps = {run.config["x"]: run.lastHistoryStep for run in sweep.runs}
    assert steps[1] == 3
    assert steps[9] < 299


@journey
def its_own_verification_passes(project: str) -> None:
    told = subprocess.run(
        [_wandb(), "verify", "--host", os.environ["WANDB_BASE_URL"]],
        capture_output=True,
        text=True,
        check=False,
    )
    checks = {
        line.split("....")[0]: line.rstrip()[-1]
        for line in told.stdout.splitlines()
        if "...." in line
    }
    failed = {name for name, mark in checks.items() if mark != "\u2705"}
    assert len(checks) == 10, told.stdout + told.stderr
    # Loopback has no TLS, and no other site may read from it.
    assert failed == {
        "Checking requests to base url",
        "Checking requests made over signed URLs",
        "Checking CORs configuration of the bucket",
    }


try:
    import soundfile  # noqa: F401
except ImportError:
    _SOUND = False
else:
    _SOUND = True


def main() -> None:
    url, *wanted = sys.argv[1:]
    os.environ |= {"WANDB_BASE_URL": url, "WANDB_API_KEY": "k" * 40, "WANDB_SILENT": "true"}
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR"):
        os.environ[f"WANDB_{name}"] = str(Path.cwd())
    wandb.agents.pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = 0.2
    tell(
        wanted or JOURNEYS,
        lambda name: JOURNEYS[name](name.replace("_", "-")[:60]),
        version=wandb.__version__,
        failed=wandb.teardown,
    )


if __name__ == "__main__":
    main()
