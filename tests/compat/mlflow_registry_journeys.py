"""What people do with MLflow's registry, its prompts and webhooks, through its own client.

``python mlflow_registry_journeys.py URL [NAME…]``, as `mlflow_journeys` does.
"""

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import mlflow
import mlflow_journeys
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookEvent, WebhookStatus
from mlflow_journeys import journey, refused

mlflow_journeys.JOURNEYS.clear()  # its own are told elsewhere

MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
EXISTS = "RESOURCE_ALREADY_EXISTS"
S3 = "s3://bucket/model"


@journey
def models_are_made_described_renamed_and_deleted(client: MlflowClient, name: str) -> None:
    made = client.create_registered_model(name, tags={"team": "a b", "x": ""}, description="d")
    assert (made.name, made.description, made.tags) == (name, "d", {"team": "a b", "x": ""})
    assert made.creation_timestamp == made.last_updated_timestamp > 1_600_000_000_000
    assert "already exists" in refused(EXISTS, client.create_registered_model, name)
    assert client.update_registered_model(name, "new").description == "new"
    client.set_registered_model_tag(name, "team", "c" * 10_000)
    client.delete_registered_model_tag(name, "x")
    client.delete_registered_model_tag(name, "never there")
    assert client.get_registered_model(name).tags == {"team": "c" * 10_000}
    client.create_model_version(name, S3)
    client.set_registered_model_alias(name, "champion", "1")
    other = f"{name} 'é' 🛫"
    client.rename_registered_model(name, other)
    refused(MISSING, client.get_registered_model, name)
    found = client.get_registered_model(other)
    assert found.aliases in ({"champion": "1"}, {"champion": 1})
    assert [each.version for each in found.latest_versions] in (["1"], [1])
    client.create_registered_model(name)
    refused(EXISTS, client.rename_registered_model, other, name)
    client.delete_registered_model(other)
    refused(MISSING, client.get_registered_model, other)
    refused(MISSING, client.delete_registered_model, other)
    client.create_registered_model(other)
    assert client.create_model_version(other, S3).version in {"1", 1}


@journey
def names_and_tags_that_cannot_be_are_refused(client: MlflowClient, name: str) -> None:
    for bad in ("a/b", "a:b", "..", " "):
        refused(INVALID, client.create_registered_model, bad)
    client.create_registered_model(name)
    refused(INVALID, client.set_registered_model_tag, name, "k" * 251, "v")
    refused(INVALID, client.set_registered_model_tag, name, "k", "v" * 100_001)
    refused(INVALID, client.get_model_version, name, "one")
    text = refused(MISSING, client.get_model_version, name, "7")
    assert f"Model Version (name={name}, version=7) not found" in text
    refused(MISSING, client.create_model_version, f"{name}-none", S3)
    for source in ("/etc/passwd", "file:///etc/passwd", "s3://b/../c", "runs:/abc/model"):
        refused(INVALID, client.create_model_version, name, source)


@journey
def versions_are_made_described_tagged_and_deleted(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    with mlflow.start_run() as run:
        pass
    made = client.create_model_version(
        name,
        S3,
        run_id=run.info.run_id,
        tags={"k": "v"},
        run_link="https://elsewhere/run",
        description="first",
    )
    assert (made.name, str(made.version), made.source) == (name, "1", S3)
    assert (made.run_id, made.run_link) == (run.info.run_id, "https://elsewhere/run")
    assert (made.status, made.current_stage, made.tags) == ("READY", "None", {"k": "v"})
    assert client.update_model_version(name, "1", "second").description == "second"
    client.set_model_version_tag(name, "1", "k", "w")
    client.set_model_version_tag(name, "1", "l", "x")
    client.delete_model_version_tag(name, "1", "l")
    assert client.get_model_version(name, "1").tags == {"k": "w"}
    assert client.get_model_version_download_uri(name, "1") == S3
    assert str(client.create_model_version(name, S3).version) == "2"
    client.delete_model_version(name, "2")
    refused(MISSING, client.get_model_version, name, "2")
    assert str(client.create_model_version(name, S3).version) == "3"
    copied = client.copy_model_version(f"models:/{name}/1", f"{name}-copy")
    assert (copied.name, str(copied.version)) == (f"{name}-copy", "1")
    assert client.get_model_version_download_uri(f"{name}-copy", "1") == S3


@journey
def aliases_name_versions_until_they_move(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, S3)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "Other_one-1", "2")
    assert sorted(client.get_model_version(name, "2").aliases) == ["Other_one-1", "champion"]
    assert client.get_model_version(name, "1").aliases == []
    assert str(client.get_model_version_by_alias(name, "champion").version) == "2"
    assert str(client.get_model_version_by_alias(name, "latest").version) == "2"
    client.delete_registered_model_alias(name, "champion")
    client.delete_registered_model_alias(name, "champion")
    refused(INVALID, client.get_model_version_by_alias, name, "champion")
    for bad in ("latest", "v1", "a b", "x" * 256):
        refused(INVALID, client.set_registered_model_alias, name, bad, "1")
    refused(MISSING, client.set_registered_model_alias, name, "champion", "9")
    refused(MISSING, client.get_model_version_by_alias, f"{name}-none", "champion")
    client.delete_model_version(name, "2")
    assert client.get_registered_model(name).aliases == {}


@journey
def stages_still_work(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, S3)
    client.transition_model_version_stage(name, "1", "production")
    moved = client.transition_model_version_stage(
        name, "2", "Production", archive_existing_versions=True
    )
    assert moved.current_stage == "Production"
    latest = {each.current_stage: str(each.version) for each in client.get_latest_versions(name)}
    assert latest == {"Archived": "1", "Production": "2", "None": "3"}
    only = client.get_latest_versions(name, stages=["Production"])
    assert [str(each.version) for each in only] == ["2"]
    refused(INVALID, client.transition_model_version_stage, name, "1", "live")
    refused(INVALID, client.get_latest_versions, name, stages=["live"])


@journey
def models_are_searched(client: MlflowClient, name: str) -> None:
    for letter in "cab":
        client.create_registered_model(f"{name}-{letter}", tags={"letter": letter, "of": name})
        time.sleep(0.01)

    def found(text: str, **how: Any) -> list[str]:
        models = client.search_registered_models(filter_string=text, **how)
        return [each.name[-1] for each in models]

    mine = f"tags.of = '{name}'"
    assert found(mine) == ["a", "b", "c"]
    assert found(f"name LIKE '{name}%'", order_by=["name DESC"]) == ["c", "b", "a"]
    assert found(mine, order_by=["last_updated_timestamp DESC"]) == ["b", "a", "c"]
    assert found(f"name = '{name}-a'") == ["a"]
    assert found(f"name ILIKE '{name.upper()}-%' AND tags.letter != 'a'") == ["b", "c"]
    assert found(f"name IN ('{name}-a', '{name}-c')") == ["a", "c"]
    assert found(f"tag.letter LIKE '%b%' AND {mine}") == ["b"]
    first = client.search_registered_models(filter_string=mine, max_results=2)
    assert [each.name[-1] for each in first] == ["a", "b"]
    rest = client.search_registered_models(
        filter_string=mine, max_results=2, page_token=first.token
    )
    assert [each.name[-1] for each in rest] == ["c"]
    assert not rest.token
    refused(INVALID, client.search_registered_models, filter_string="nam = 'x'")
    refused(INVALID, client.search_registered_models, max_results=1_001)


@journey
def versions_are_searched(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    with mlflow.start_run() as run:
        pass
    for number in range(1, 4):
        client.create_model_version(
            name,
            f"{S3}/{number}",
            run_id=run.info.run_id if number < 3 else None,
            tags={"n": str(number), "of": name},
        )
        time.sleep(0.01)
    client.update_model_version(name, "1", "touched")

    def found(text: str, **how: Any) -> list[int]:
        versions = client.search_model_versions(filter_string=text, **how)
        return [int(each.version) for each in versions]

    assert found(f"name = '{name}'") == [1, 3, 2]
    assert found(f"name='{name}'", order_by=["version_number ASC"]) == [1, 2, 3]
    assert found(f"run_id = '{run.info.run_id}'", order_by=["version_number DESC"]) == [2, 1]
    assert found(f"run_id IN ('{run.info.run_id}', 'x') AND version_number > 1") == [2]
    assert found(f"source_path = '{S3}/3' AND name = '{name}'") == [3]
    assert found(f"name = '{name}' AND tags.n = '2'") == [2]
    first = client.search_model_versions(f"tag.of = '{name}'", max_results=2)
    rest = client.search_model_versions(f"tag.of = '{name}'", max_results=2, page_token=first.token)
    assert [int(each.version) for each in [*first, *rest]] == [1, 3, 2]
    assert not rest.token
    refused(INVALID, client.search_model_versions, "nothing = 'x'")


@journey
def prompts_are_kept_apart_from_models(client: MlflowClient, name: str) -> None:
    template = "Hello {{who}}! " + "é" * 5_000
    first = mlflow.genai.register_prompt(
        name=name, template=template, commit_message="first", tags={"author": "ada"}
    )
    assert first.version == 1
    chat = [{"role": "user", "content": "{{question}}"}]
    second = mlflow.genai.register_prompt(name=name, template=chat)
    assert second.version == 2
    loaded = mlflow.genai.load_prompt(f"prompts:/{name}/1")
    assert (loaded.template, loaded.commit_message) == (template, "first")
    assert loaded.tags["author"] == "ada"
    assert mlflow.genai.load_prompt(f"prompts:/{name}/2").template == chat
    mlflow.genai.set_prompt_alias(name, alias="production", version=1)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@production").version == 1
    mlflow.genai.delete_prompt_alias(name, alias="production")
    client.set_prompt_tag(name, "team", "risk")
    client.set_prompt_version_tag(name, "1", "checked", "yes")
    assert mlflow.genai.load_prompt(f"prompts:/{name}/1").tags["checked"] == "yes"
    found = mlflow.genai.search_prompts(filter_string=f"name = '{name}'")
    assert [each.name for each in found] == [name]
    listed = client.search_registered_models(filter_string=f"name = '{name}'")
    assert list(listed) == []
    refused(EXISTS, client.create_registered_model, name)
    client.delete_prompt_version(name, "1")
    client.delete_prompt_version(name, "2")
    client.delete_prompt(name)
    assert list(mlflow.genai.search_prompts(filter_string=f"name = '{name}'")) == []


@contextmanager
def _receiver() -> Iterator[tuple[str, "queue.Queue[tuple[dict[str, str], str]]"]]:
    posts: queue.Queue[tuple[dict[str, str], str]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            posts.put(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", posts
    finally:
        server.shutdown()
        server.server_close()


@journey
def webhooks_are_made_tried_changed_and_removed(client: MlflowClient, name: str) -> None:
    secret = "s3cret"  # noqa: S105 - of a trial
    hooked = name.replace("_", "-")[-40:]
    with _receiver() as (url, posts):
        made = client.create_webhook(
            name=hooked,
            url=url,
            events=[WebhookEvent("model_version", "created")],
            description="d",
            secret=secret,
        )
        assert (made.name, made.url, made.description) == (hooked, url, "d")
        assert made.status is WebhookStatus.ACTIVE
        assert client.get_webhook(made.webhook_id).events == made.events
        assert made.webhook_id in [each.webhook_id for each in client.list_webhooks()]
        tried = client.test_webhook(made.webhook_id)
        assert (tried.success, tried.response_status, tried.response_body) == (True, 200, "ok")
        headers, body = posts.get(timeout=10)
        assert json.loads(body)["data"]["name"] == "example_model"
        changed = client.update_webhook(
            made.webhook_id,
            description="e",
            events=[
                WebhookEvent("model_version_alias", "created"),
                WebhookEvent("registered_model", "created"),
            ],
        )
        assert changed.description == "e"
        client.create_registered_model(name, tags={"k": "v"}, description="of a model")
        headers, body = posts.get(timeout=20)
        signed = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.{body}"
        digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
        assert headers["x-mlflow-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        told = json.loads(body)
        assert (told["entity"], told["action"]) == ("registered_model", "created")
        assert told["data"] == {"name": name, "tags": {"k": "v"}, "description": "of a model"}
        client.create_model_version(name, S3)
        client.set_registered_model_alias(name, "champion", "1")
        told = json.loads(posts.get(timeout=20)[1])
        assert (told["entity"], told["action"]) == ("model_version_alias", "created")
        assert told["data"] == {"name": name, "alias": "champion", "version": "1"}
        off = client.update_webhook(made.webhook_id, status=WebhookStatus.DISABLED)
        assert off.status is WebhookStatus.DISABLED
        client.delete_webhook(made.webhook_id)
        refused(MISSING, client.get_webhook, made.webhook_id)
    event = [WebhookEvent("registered_model", "created")]
    refused(INVALID, client.create_webhook, name="-bad-", url=url, events=event)
    refused(INVALID, client.create_webhook, name="good", url="ftp://x", events=event)


if __name__ == "__main__":
    mlflow_journeys.main()
