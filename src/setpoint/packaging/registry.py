"""A client of registries: the OCI distribution API, as far as pulling a base and pushing go.

Source: OCI distribution specification 1.1; Docker's token authentication.
"""

import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from setpoint.errors import Denied, Invalid, NotFound, SetpointError, Unavailable
from setpoint.packaging.entities import (
    CYCLONEDX,
    EMPTY,
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    Blob,
    Descriptor,
    Image,
    Told,
)
from setpoint.packaging.logins import Login
from setpoint.packaging.references import ImageReference
from setpoint.packaging.workshop import blob_path

_SECONDS = 60  #: a registry that says nothing for so long is away
_CHUNK = 1 << 20
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MANY = (*MANIFESTS, *INDEXES)


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


class Registry:
    """One repository of a registry, and what this process was told to get in."""

    def __init__(self, of: ImageReference, login: Login | None) -> None:
        self._of = of
        self._login = login
        self._authorization = ""
        self._base = of.url
        self._mounted: set[str] = set()  # repositories that blobs are mounted from
        local = self._base.startswith("http:")  # this machine is not behind its own proxy
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._open = urllib.request.build_opener(*handlers).open

    def manifest(self, which: str) -> Blob:
        """Return the manifest or index of a tag or a digest.

        Raises:
            NotFound: If there is none.
        """
        answer = self._send("GET", f"{self._of.name}/manifests/{which}", accept=_MANY)
        if answer.status == 404:
            raise NotFound(f"the registry has no image {self._of}", hint="check name and tag")
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        if which.startswith("sha256:") and which != digest:
            raise _damaged(self._of, which)
        said = msgspec.json.decode(answer.body)
        kind = said.get("mediaType") or answer.headers.get("Content-Type") or MANIFEST
        descriptor = Descriptor(media_type=kind, digest=digest, size=len(answer.body))
        return Blob(descriptor=descriptor, data=answer.body)

    def pull(self, descriptor: Descriptor, blobs: Path) -> Path:
        """Return the file of a blob below `blobs`, fetched and verified if it was not there."""
        path = blob_path(blobs, descriptor.digest)
        if path.exists() and path.stat().st_size == descriptor.size:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        digest = hashlib.sha256()

        def keep(source: Any) -> None:
            with aside.open("wb") as file:
                while piece := source.read(_CHUNK):
                    digest.update(piece)
                    file.write(piece)

        try:
            where = f"{self._of.name}/blobs/{descriptor.digest}"
            if self._send("GET", where, keep=keep).status == 404:
                raise NotFound(f"the registry lacks a layer of {self._of}", where=descriptor.digest)
            if f"sha256:{digest.hexdigest()}" != descriptor.digest:
                raise _damaged(self._of, descriptor.digest)
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)
        return path

    def push(self, image: Image, tags: Iterable[str], told: Told) -> None:
        """Upload an image under its tags, and its bill of materials as what refers to it.

        What the registry has is not sent; layers of a base that it has elsewhere are mounted.

        Raises:
            Denied: If the registry lets nobody in, or not this one.
            Unavailable: If it cannot be reached, or fails.
            Invalid: If it refuses what it is sent.
        """
        self._mounted = set(image.mounts.values())
        for number, layer in enumerate(image.layers, 1):
            if not self._has(layer.digest):
                told(f"pushing layer {number} of {len(image.layers)}, {layer.size / 1e6:.1f} MB")
                self._upload(layer.digest, layer.path, image.mounts.get(layer.digest, ""))
        self._put_blob(image.config)
        for tag in tags:
            self._put_manifest(image.manifest, tag)
        try:
            self._attach(image)
        except Invalid as error:  # the image is there, and has its bill inside
            told(f"the bill of materials is not beside the image: {error.message}")

    def _attach(self, image: Image) -> None:
        """Push the bill of materials as an artifact whose subject is the image."""
        subject = image.manifest.descriptor
        empty = Blob(descriptor=descriptor_of(EMPTY, b"{}"), data=b"{}")
        said = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": CYCLONEDX,
            "config": empty.descriptor,
            "layers": [image.sbom.descriptor],
            "subject": subject,
        }
        data = msgspec.json.encode(said, order="deterministic")
        artifact = Blob(descriptor=descriptor_of(MANIFEST, data), data=data)
        self._put_blob(empty)
        self._put_blob(image.sbom)
        answer = self._put_manifest(artifact, artifact.descriptor.digest)
        if not answer.headers.get("OCI-Subject"):  # a registry from before 1.1: an index by tag
            named = msgspec.structs.replace(artifact.descriptor, artifact_type=CYCLONEDX)
            self._refer(subject.digest.replace(":", "-"), named)

    def _refer(self, tag: str, artifact: Descriptor) -> None:
        found = self._send("GET", f"{self._of.name}/manifests/{tag}", accept=(INDEX,))
        there: list[Descriptor] = []
        if found.status != 404:
            said = msgspec.json.decode(found.body)
            there = msgspec.convert(said["manifests"], list[Descriptor])
        if artifact in there:
            return
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*there, artifact]}
        data = msgspec.json.encode(index, order="deterministic")
        self._put_manifest(Blob(descriptor=descriptor_of(INDEX, data), data=data), tag)

    def _put_manifest(self, blob: Blob, which: str) -> Answer:
        where = f"{self._of.name}/manifests/{which}"
        return self._send("PUT", where, body=blob.data, kind=blob.descriptor.media_type)

    def _put_blob(self, blob: Blob) -> None:
        if not self._has(blob.descriptor.digest):
            self._upload(blob.descriptor.digest, blob.data, "")

    def _has(self, digest: str) -> bool:
        return self._send("HEAD", f"{self._of.name}/blobs/{digest}").status != 404

    def _upload(self, digest: str, source: Path | bytes, mount: str) -> None:
        start = f"{self._of.name}/blobs/uploads/"
        asked = f"{start}?{urlencode({'mount': digest, 'from': mount})}" if mount else start
        answer = self._send("POST", asked, body=b"")
        if answer.status == 201:  # mounted
            return
        to = urljoin(self._base, answer.headers["Location"])
        to += ("&" if urlsplit(to).query else "?") + urlencode({"digest": digest})
        self._send("PUT", to, body=source, kind="application/octet-stream")

    def _send(
        self,
        method: str,
        where: str,
        *,
        body: Path | bytes | None = None,
        kind: str = "",
        accept: Iterable[str] = (),
        keep: Callable[[Any], None] | None = None,
    ) -> Answer:
        """Send a request; log in if the registry asks for it. A 404 is an answer.

        Args:
            method: Of HTTP.
            where: Below the API, or a whole address.
            body: Bytes, or a file whose bytes are sent.
            kind: The body's media type.
            accept: The media types of an answer.
            keep: Given the answer's body to read, instead of having it in memory.
        """
        headers = {"User-Agent": "setpoint", **({"Content-Type": kind} if kind else {})}
        if accept:
            headers["Accept"] = ", ".join(accept)
        url = urljoin(self._base, where)
        answer = self._once(method, url, body, headers, keep)
        if answer.status == 401:
            self._log_in(answer.headers.get("WWW-Authenticate") or "")
            answer = self._once(method, url, body, headers, keep)
        if answer.status >= 400 and answer.status != 404:
            raise _refused(self._of, answer)
        if answer.status == 404 and method in {"POST", "PUT"}:
            raise _refused(self._of, answer)
        return answer

    def _once(
        self,
        method: str,
        url: str,
        body: Path | bytes | None,
        headers: dict[str, str],
        keep: Callable[[Any], None] | None,
    ) -> Answer:
        request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310
        if self._authorization and urlsplit(url).netloc == urlsplit(self._base).netloc:
            # Not to where a registry redirects: whoever keeps its blobs is somebody else.
            request.add_unredirected_header("Authorization", self._authorization)
        opened = body.open("rb") if isinstance(body, Path) else None
        try:
            if isinstance(body, Path):
                request.add_header("Content-Length", str(body.stat().st_size))
                request.data = opened
            elif body is not None:
                request.data = body
            with self._open(request, timeout=_SECONDS) as answer:
                if keep is None:
                    return Answer(answer.status, answer.headers, answer.read())
                keep(answer)
                return Answer(answer.status, answer.headers, b"")
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())
        except urllib.error.URLError as error:
            raise _away(self._of, error.reason) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _away(self._of, error) from None
        finally:
            if opened is not None:
                opened.close()

    def _log_in(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if self._login is None:
                raise _asks(self._of)
            self._authorization = self._login.basic
            return
        if scheme.lower() != "bearer":
            raise Denied(
                f"the registry {self._of.host} asks for a kind of login that is not known",
                where=challenge[:100],
            )
        self._authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"

    def _token(self, said: dict[str, str]) -> str:
        """Return a token of the service that the registry trusts."""
        realm = said.get("realm", "")
        if urlsplit(realm).scheme != "https" and self._base.startswith("https"):
            raise Denied(
                f"the registry {self._of.host} sends its users to an address without encryption",
                where=realm,
            )
        scopes = [("scope", f"repository:{self._of.name}:pull,push")]
        scopes += [("scope", f"repository:{name}:pull") for name in sorted(self._mounted)]
        service = [("service", said["service"])] if "service" in said else []
        request = urllib.request.Request(f"{realm}?{urlencode([*service, *scopes])}")  # noqa: S310
        if self._login is not None:
            request.add_unredirected_header("Authorization", self._login.basic)
        try:
            with self._open(request, timeout=_SECONDS) as answer:
                told = json.loads(answer.read())
                token = told.get("token") or told["access_token"]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in {401, 403}:
                raise (
                    _asks(self._of) if self._login is None else _not_this_one(self._of, self._login)
                ) from None
            raise _away(self._of, error) from None
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _away(self._of, f"its login service: {error}") from None
        return str(token)


def descriptor_of(media_type: str, data: bytes) -> Descriptor:
    """Return what names these bytes."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Descriptor(media_type=media_type, digest=digest, size=len(data))


def _refused(of: ImageReference, answer: Answer) -> SetpointError:
    said = _words(answer.body)
    if answer.status == 401:
        return _asks(of)
    if answer.status == 403:
        return Denied(
            f"the registry {of.host} forbids this in {of.name}",
            where=said,
            hint="log in as somebody who may push there: --user, SETPOINT_REGISTRY_PASSWORD",
        )
    if answer.status >= 500 or answer.status == 429:
        return Unavailable(
            f"the registry {of.host} failed with {answer.status}", where=said, hint="try again"
        )
    return Invalid(f"the registry {of.host} refused {of.name} with {answer.status}", where=said)


def _words(body: bytes) -> str:
    """Return what an answer says is wrong, as registries say it."""
    try:
        errors = json.loads(body)["errors"]
        return "; ".join(f"{each['code']}: {each.get('message', '')}" for each in errors)[:300]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace").strip()


def _asks(of: ImageReference) -> Denied:
    return Denied(
        f"the registry {of.host} asks for a login that it accepts",
        hint=f"run docker login {of.host}, or give --user and SETPOINT_REGISTRY_PASSWORD",
    )


def _not_this_one(of: ImageReference, login: Login) -> Denied:
    return Denied(
        f"the registry {of.host} does not accept {login.user!r} for {of.name}",
        hint="check user and password, and whether the user may push there",
    )


def _away(of: ImageReference, why: object) -> Unavailable:
    if isinstance(why, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the certificate of the registry {of.host} is not trusted here",
            where=why.verify_message,
            hint="name who signed it: SSL_CERT_FILE=/path/ca.pem",
        )
    return Unavailable(
        f"the registry {of.host} cannot be reached",
        where=f"{of.url}: {why}",
        hint="check the address and the network; plain HTTP is spoken on this machine only",
    )


def _damaged(of: ImageReference, digest: str) -> Unavailable:
    return Unavailable(f"what the registry {of.host} sent is not {digest}", hint="try again")
