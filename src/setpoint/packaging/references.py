"""How images, folders and versions are named on a command line."""

import re
from pathlib import Path

from msgspec import Struct

from setpoint.errors import Invalid

_NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]")
_HINT = "such as registry.example:5000/team/churn:3"


class ImageReference(Struct, frozen=True):
    """An image in a registry: ``registry.example:5000/team/churn:3``."""

    host: str  #: with its port, if it is not the usual one
    name: str
    tag: str = ""
    digest: str = ""

    @property
    def which(self) -> str:
        """The digest, else the tag, else what everybody takes for one."""
        return self.digest or self.tag or "latest"

    @property
    def url(self) -> str:
        """Where its registry's API begins: plain HTTP on this machine only."""
        host = "registry-1.docker.io" if self.host == "docker.io" else self.host
        name, _, _ = self.host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
        return f"{'http' if _LOOPBACK.fullmatch(name) else 'https'}://{host}/v2/"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.name}{tag}{'@' if self.digest else ''}{self.digest}"


class Folder(Struct, frozen=True):
    """An OCI image layout, a folder."""

    path: Path
    tag: str = ""

    def __str__(self) -> str:
        return f"oci:{self.path}"


class Archive(Struct, frozen=True):
    """An OCI image layout as one tar file."""

    path: Path

    def __str__(self) -> str:
        return f"oci-archive:{self.path}"


Destination = ImageReference | Folder | Archive


def image(text: str) -> ImageReference:
    """Return the image that a reference names.

    Raises:
        Invalid: If it names no registry, or is written otherwise than references are.
    """
    host, slash, rest = text.partition("/")
    if not slash or not _is_host(host):
        raise Invalid(f"{text!r} names no registry", hint=f"begin with its host, {_HINT}")
    rest, _, digest = rest.partition("@")
    name, _, tag = rest.partition(":")
    if host == "docker.io" and "/" not in name:
        name = f"library/{name}"
    if not _NAME.fullmatch(name) or not _HOST.fullmatch(host):
        raise Invalid(
            f"{text!r} is no reference of an image",
            where=f"the name {name!r}" if _HOST.fullmatch(host) else f"the host {host!r}",
            hint=f"names are lower case, {_HINT}",
        )
    if digest and not _DIGEST.fullmatch(digest):
        raise Invalid(f"{digest!r} is no digest of an image", hint="sha256: and 64 hex digits")
    return ImageReference(host, name, tag_name(tag) if tag or ":" in rest else "", digest)


def tag_name(tag: str) -> str:
    """Return `tag` if images may have it.

    Raises:
        Invalid: If it has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not _TAG.fullmatch(tag):
        raise Invalid(f"{tag!r} is no tag", hint="up to 128 letters, digits, dots, _ and -")
    return tag


def destination(text: str) -> Destination:
    """Return where an image goes.

    ``oci:PATH`` and ``oci-archive:PATH`` say what they are. Else what begins with a host (it has
    a dot or a port, or is localhost) is in a registry, ``….tar`` an archive, the rest a folder.

    Raises:
        Invalid: If it is meant for a registry and is no reference.
    """
    kind, _, path = text.partition(":")
    if kind == "oci":
        return Folder(_path(path, text))
    if kind == "oci-archive":
        return Archive(_path(path, text))
    if "/" in text and not text.startswith(("/", ".", "~")) and _is_host(text.partition("/")[0]):
        return image(text)
    return Archive(Path(text)) if text.endswith(".tar") else Folder(_path(text, text))


def base(text: str) -> ImageReference | Folder:
    """Return what an image is to stand on: ``oci:PATH[:TAG]``, or an image in a registry.

    Raises:
        Invalid: If it is neither.
    """
    kind, _, rest = text.partition(":")
    if kind != "oci":
        return image(text)
    path, colon, tag = rest.rpartition(":")
    if colon and _TAG.fullmatch(tag) and not Path(rest).exists():
        return Folder(_path(path, text), tag)
    return Folder(_path(rest, text))


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"


def _path(path: str, said: str) -> Path:
    if not path:
        raise Invalid(f"{said!r} names no path", hint="such as oci:./churn")
    return Path(path).expanduser()
