"""Bring the registered models of a foreign store into our registry.

After its runs, since versions speak of them: what a version is made of are files of the run that
made it. Those that were kept elsewhere become files of that run, too. A version says where it
came from in why it was registered, so that none is brought twice; it is registered when its
files are here, with all that is said of it.
"""

from collections.abc import Iterator, Sequence

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Backend
from setpoint.errors import NotFound
from setpoint.models import service as versions
from setpoint.models.entities import PROMPT
from setpoint.models.registry import service
from setpoint.models.registry.commands import AddVersion, CreateModel, OneModel, SetTags
from setpoint.models.registry.entities import Model
from setpoint.models.service import SetAlias, ShowModel
from setpoint.runs import service as runs
from setpoint.runs.commands import Log
from setpoint.runs.entities import Artifact
from setpoint.transfer.entities import Left, SourceModel, SourceVersion, Told, untold
from setpoint.transfer.files import stored

BROUGHT = "setpoint.import.versions"  #: the tag of a model whose aliases are set, too

_FILES = 200  #: registered in one call


class Bringing:
    """The models of one source on their way."""

    def __init__(
        self, backend: Backend, store: ObjectStore, kind: str, ids: dict[str, str]
    ) -> None:
        """Begin.

        Args:
            backend: Takes the models.
            store: Takes the files of versions.
            kind: Of the source.
            ids: Of runs that were brought: ours, by theirs.
        """
        self._backend = backend
        self._store = store
        self._kind = kind
        self._ids = ids
        self.versions = self.known = self.files = self.bytes = 0
        self.left: list[Left] = []

    def bring(self, models: Sequence[SourceModel], told: Told = untold) -> None:
        """Bring all versions of these models, and what is said of them."""
        done, every = 0, sum(len(model.versions) for model in models)
        for model in models:
            here = self._model(model)
            numbers = self._numbers(model.name)
            for version in model.versions:
                told(done, every, f"{model.name}/{version.number}")
                done += 1
                if version.number in numbers:
                    self.known += 1
                else:
                    numbers[version.number] = self._version(model, version)
            self._finish(model, here, numbers)

    def _model(self, model: SourceModel) -> Model:
        asked = OneModel(model=model.name)
        try:
            return self._backend.call(service.about, asked)
        except NotFound:
            made = CreateModel(model=model.name, description=model.description, tags=model.tags)
            return self._backend.call(service.create, made)

    def _numbers(self, model: str) -> dict[int, int]:
        """Return the versions that were brought before: our numbers, by theirs."""
        found = self._backend.call(versions.show, ShowModel(model=model)).versions
        before = self._why(model, "")
        brought = {each.why: each.number for each in found if each.why.startswith(before)}
        return {int(why.removeprefix(before)): number for why, number in brought.items()}

    def _version(self, model: SourceModel, version: SourceVersion) -> int:
        run = self._ids.get(version.run, "")
        source = version.source
        if run and version.within is not None:
            source = f"runs:/{run}/{version.within}"
        elif model.tags.get(PROMPT) != "true":
            source = self._copied(model, version, run) or source
        added = self._backend.call(
            service.add_version,
            AddVersion(
                model=model.name,
                number=version.number,
                source=source,
                run_id=run,
                run_link=version.run_link,
                description=version.description,
                tags=version.tags,
                why=self._why(model.name, str(version.number)),
                status=version.status,
                status_message=version.status_message,
                stage=version.stage,
            ),
        )
        number = added.version.number
        if number != version.number:
            why = f"the number was taken: it is version {number} here"
            self.left.append(self._about(model, f"number {version.number}", why))
        self.versions += 1
        return number

    def _copied(self, model: SourceModel, version: SourceVersion, run: str) -> str:
        """Copy a version's files to its run; return where they are, empty if that cannot be."""
        if not run:
            why = f"its files stay at {version.source}: it has no run that is here"
            self.left.append(self._about(model, f"files of version {version.number}", why))
            return ""
        folder = f"registered/{model.name}/{version.number}"
        count = 0
        for batch in self._batches(version):
            artifacts = {f"{folder}/{path}": kept for path, kept in batch.items()}
            self._backend.call(runs.log, Log(run=run, artifacts=artifacts, late=True))
            count += len(batch)
            self.bytes += sum(kept.size for kept in batch.values())
        self.files += count
        return f"runs:/{run}/{folder}" if count else ""

    def _batches(self, version: SourceVersion) -> Iterator[dict[str, Artifact]]:
        batch: dict[str, Artifact] = {}
        for file in version.files(self.left):
            try:
                batch[file.path] = stored(self._store, file)
            except (NotFound, OSError) as error:
                self.left.append(Left(run=version.run, what=file.path, why=str(error)))
            if len(batch) >= _FILES:
                yield batch
                batch = {}
        if batch:
            yield batch

    def _finish(self, model: SourceModel, here: Model, numbers: dict[int, int]) -> None:
        """Set aliases, once: from then on they are moved here."""
        if BROUGHT in here.tags:
            return
        for alias, number in model.aliases.items():
            if alias in here.aliases or number not in numbers:
                why = "it names another version here" if alias in here.aliases else "it names none"
                self.left.append(self._about(model, f"alias {alias}", why))
                continue
            reason = f"imported from {self._kind}"
            cmd = SetAlias(model=model.name, alias=alias, number=numbers[number], reason=reason)
            self._backend.call(versions.alias, cmd)
        whole = {BROUGHT: f"{len(numbers)} versions"}
        self._backend.call(service.tag, SetTags(model=model.name, tags=whole))

    def _why(self, model: str, number: str) -> str:
        return f"imported from {self._kind}: {model}/{number}"

    def _about(self, model: SourceModel, what: str, why: str) -> Left:
        return Left(run="", what=f"model {model.name}: {what}", why=why)
