"""The packages that a version needs to be served, as they are installed here.

Files are copied, not installed again: what an image runs is what was tested here, and nobody
is asked for anything. Each is held against the digest that its wheel was installed with.
"""

import base64
import hashlib
import pickletools
import re
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Stored
from setpoint.models.flavors.pickles import pickle_in
from setpoint.models.flavors.registry import module_of
from setpoint.packaging.bytecode import compile_all
from setpoint.packaging.entities import Component
from setpoint.packaging.extras import EXTRAS, find_distribution, installed
from setpoint.packaging.imports import Imported, imported_by
from setpoint.packaging.trees import Tree

#: What begins a server of a package, in how many processes, and what uvicorn is to run on.
_SERVER = (
    *(f"setpoint.serve.{module}" for module in ("__main__", "main", "several", "own")),
    *("setpoint.models.flavors.registry", "uvloop", "httptools"),
)
_FRAMES = "setpoint.models.frames"  #: imported for models that take frames: only they know
#: What a flavor's native model is loaded by, besides what its module imports.
_NATIVE: dict[str, tuple[str, ...]] = {
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost", _FRAMES),
    "catboost": ("catboost", "pandas"),
    "torch": ("torch", "cloudpickle"),
    "keras": ("keras",),
    "tensorflow": ("tensorflow",),
    "transformers": ("transformers", "torch"),
    "onnx": ("onnxruntime",),
    "mlflow": ("mlflow", "pandas"),
    "sklearn": ("sklearn", "cloudpickle", _FRAMES),
}
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")

#: What serving never reads: tests, types, headers, tools that build and convert.
_UNUSED = re.compile(
    r"(^|/)(tests?|__pycache__|include)/|\.(pyi|pyx|pxd|c|h|hpp|a|lib|pyc)$"
    r"|\.dist-info/(?!METADATA|entry_points\.txt)"
    r"|^numpy/(distutils|_pyinstaller)/|^onnxruntime/(transformers|quantization|tools|datasets"
    r"|backend)/|^\.\."
)
#: Of what is in a distribution's own folder, what tells its licence stays.
_LICENSE = re.compile(r"\.dist-info/(licenses/|LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)


class Needed(Struct, frozen=True):
    """What goes into an image besides the model and a system."""

    server: dict[str, bytes]  #: source of ours by path
    distributions: list[str]  #: names of others', sorted

    @property
    def made_of(self) -> list[str]:
        """All that decides what a layer of the distributions has in it."""
        records = [_record(metadata.distribution(name)) for name in self.distributions]
        digests = [hashlib.sha256(record.encode()).hexdigest() for record in records]
        named = zip(self.distributions, digests, strict=True)
        rules = Path(__file__).read_text(encoding="utf-8")
        return [rules, *(f"{name} {digest}" for name, digest in named)]


def needed(
    held: Iterable[Stored],
    natives: dict[str, bytes],
    functions: Iterable[bytes] = (),
    *,
    graph: bool = False,
    extras: Iterable[str] = (),
) -> Needed:
    """Return what serving models needs.

    Args:
        held: The models: a version, and its baseline if it has one.
        natives: The bytes of those that are served as they were trained, by address.
        functions: Pickled ones that a graph, or an endpoint's settings, name.
        graph: Whether the models are nodes of a graph.
        extras: Names of `EXTRAS` that the server is to have.

    Raises:
        MissingExtra: If a package they need is not installed here.
    """
    wanted = {name: EXTRAS[name] for name in extras}
    roots = {*_SERVER, *(["setpoint.models.graphs.running"] if graph else [])}
    roots |= {module for one in wanted.values() for module in one.modules}
    packages: set[str] = set()
    for each in held:
        if each.onnx is not None:
            roots.add("onnxruntime")
            continue
        roots |= {module_of(each.flavor), *_NATIVE.get(each.flavor, ())}
        packages |= _in_pickle(pickle_in(natives[each.artifact]))
        packages |= {"pandas", "pyarrow"} & {each.signature.frame}
    for pickled in functions:
        roots.add("cloudpickle")
        packages |= _in_pickle(pickled)
    found: Imported = imported_by(roots)
    provided = metadata.packages_distributions()
    missing = sorted(name for name in found.foreign if name not in provided)
    if missing:
        raise MissingExtra(
            f"serving this version needs {', '.join(missing)}, which is not installed here",
            hint=f"pip install {' '.join(missing)}",
        )
    top = found.foreign | {name for name in packages if name in provided}
    named = installed(wanted)
    distributions = {_providing(provided[name], named) for name in top} | named
    distributions -= {"setpoint"}
    return Needed(found.modules, sorted(_with_requirements(distributions), key=str.lower))


def tree_of(distributions: Iterable[str], at: str) -> Tree:
    """Return the files of distributions below a folder of the image, compiled.

    Raises:
        Invalid: If a file is not as its wheel had it.
    """
    tree = Tree()
    for name in distributions:
        for path, data in _files(metadata.distribution(name)):
            tree.file(f"{at}/{path}", data)
    compile_all(tree)
    return tree


def components(distributions: Iterable[str]) -> list[Component]:
    """Return distributions as a bill of materials names them."""
    found = []
    for name in distributions:
        said = metadata.distribution(name).metadata
        normal = re.sub(r"[-_.]+", "-", said["Name"]).lower()
        found.append(
            Component(
                kind="library",
                name=said["Name"],
                version=said["Version"],
                purl=f"pkg:pypi/{normal}@{said['Version']}",
                license=str(said.json.get("license_expression", "")),
            )
        )
    return found


def _providing(distributions: list[str], wanted: Collection[str]) -> str:
    """Return which of those that have packages of a name is meant: one that is wanted, if any."""
    return next((each for each in distributions if each in wanted), distributions[0])


def _with_requirements(names: Iterable[str]) -> set[str]:
    """Return distributions and, of what they require, what is installed here.

    A requirement with a condition that does not hold here is not installed, or does no harm.
    """
    waiting, found = list(names), set()
    while waiting:
        here = find_distribution(waiting.pop())
        if here is None:
            continue
        name = here.metadata["Name"]
        if name in found:
            continue
        found.add(name)
        for requirement in here.requires or []:
            match = _REQUIREMENT.match(requirement)
            if match is not None and "extra ==" not in requirement:
                waiting.append(match[0])
    return found


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    for file in distribution.files or []:
        path = file.as_posix()
        if _UNUSED.search(path) and not _LICENSE.search(path):
            continue
        located = Path(str(file.locate()))
        data = located.read_bytes()
        if file.hash is not None and _digest(data, file.hash.mode) != file.hash.value:
            raise Invalid(
                f"{distribution.metadata['Name']} is not as it was installed",
                where=str(located),
                hint="install it again: pip install --force-reinstall --no-deps "
                f"{distribution.metadata['Name']}=={distribution.version}",
            )
        yield path, data


def _digest(data: bytes, algorithm: str) -> str:
    digest = hashlib.new(algorithm, data).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _record(distribution: metadata.Distribution) -> str:
    record = distribution.read_text("RECORD")
    if record is None:
        raise Invalid(
            f"nothing says which files {distribution.metadata['Name']} consists of",
            hint="install it with pip or uv",
        )
    kept = [line for line in record.splitlines() if not _UNUSED.search(line.partition(",")[0])]
    return "\n".join(sorted(kept))


def _in_pickle(data: bytes) -> set[str]:
    """Return the top-level names of modules that a pickle may import; some are mere words."""
    said = (argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str))
    return {text.split(" ")[0].partition(".")[0] for text in said if len(text) < 200}
