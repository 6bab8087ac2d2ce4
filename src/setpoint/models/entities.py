"""What a registered model is. Values only: nothing here reads or writes anything."""

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct, field

#: The tag that makes a model a prompt, as MLflow's clients store prompts.
PROMPT = "mlflow.prompt.is_prompt"


class Input(Struct, frozen=True, kw_only=True):
    """One named input of a model; a column of its feature table, or a tensor a row."""

    name: str
    datatype: str  #: of the Open Inference Protocol: FP64, FP32, INT64, BOOL, BYTES, …
    shape: list[int] = []  #: of one row; [] is one value, -1 any length
    raw: bool = False  #: of BYTES: any bytes, an image say; else texts

    @property
    def numeric(self) -> bool:
        """Whether its values fit a float matrix."""
        return self.datatype != "BYTES" and not self.shape

    @property
    def text(self) -> bool:
        """Whether it takes one text a row."""
        return self.datatype == "BYTES" and not self.shape and not self.raw


class Output(Struct, frozen=True, kw_only=True):
    """One named output of a model."""

    name: str
    datatype: str  #: of the Open Inference Protocol
    shape: list[int] = []  #: of one row; [] is one value, -1 any length
    #: whether it says how an answer came about: logged with it, and told to who names it only
    trace: bool = False


Label: TypeAlias = str | int | float | bool

#: The output that is logged, watched and judged: one number a row.
SCORE = Output(name="score", datatype="FP64")


class Signature(Struct, frozen=True, kw_only=True):
    """What goes in and what comes out."""

    inputs: list[Input]  #: in the order of the columns the model was trained on
    kind: str = "classification"  #: ``regression``: a value comes out; ``any``: whatever it gives
    missing: bool = True  #: whether the model takes NaN; else such rows score NaN
    infinite: bool = True  #: whether it takes infinities; else such rows score NaN
    classes: list[Label] = []  #: what a classifier tells apart, in the order of its probabilities
    outputs: list[Output] = []  #: what the model gives besides its score, or in its place
    scored: bool = True  #: whether there is a score; else it is NaN in every row
    frame: str = ""  #: what a Python model is handed: polars, pandas, numpy, arrow or columns

    @property
    def names(self) -> list[str]:
        """The input columns, in order."""
        return [each.name for each in self.inputs]

    @property
    def numeric(self) -> bool:
        """Whether all inputs together fit one float matrix [rows, inputs]."""
        return all(each.numeric for each in self.inputs)

    @property
    def sole(self) -> Output | None:
        """The one array of floats that holds all a model gives; None if it gives anything else.

        That is its score [n], probabilities of several classes [n, classes], or values [n, k].
        """
        if not self.outputs:
            return SCORE
        first, *others = self.outputs
        is_row = len(first.shape) == 1 and first.shape[0] > 0
        return first if not others and is_row and first.datatype in {"FP64", "FP32"} else None


class Parity(Struct, frozen=True, kw_only=True):
    """How the compiled (ONNX) model compares with the native one, on hard rows."""

    held: bool  #: if not, the native model serves
    rows: int = 0  #: compared, over all probes
    max_difference: float | None = None  #: largest absolute difference of two numbers given
    flips: int = 0  #: rows of another label: across 0.5, or with another likeliest class
    non_finite: int = 0  #: rows where exactly one of the two is NaN or infinite
    probes: dict[str, int] = field(default_factory=dict)  #: rows by kind of probe
    why: str = ""  #: if it did not hold: the first reason, in words


class Stored(Struct, frozen=True, kw_only=True):
    """A trained model in the object store, in the forms it can be loaded from."""

    flavor: str  #: how the native model is stored: sklearn, lightgbm, python, …
    artifact: str  #: address of the native model
    onnx: str | None = None  #: address of the compiled model; None: the native one serves
    parity: Parity | None = None  #: the proof, or the reason why there is no `onnx`
    signature: Signature
    size: int = 0  #: bytes of the form that serves
    background: str | None = None  #: address of rows to explain by; None: an older Setpoint's
    parts: "list[Part]" = []  #: of a graph: what its nodes are

    @property
    def functions(self) -> list[str]:
        """The addresses of the functions that it is made of, besides models."""
        mine = [part.function for part in self.parts if part.function]
        return mine + [each for part in self.parts if part.held for each in part.held.functions]

    @property
    def models(self) -> "list[Stored]":
        """The models that answer, in the forms that they are loaded from: of a graph several."""
        if not self.parts:
            return [self]
        return [each for part in self.parts if part.held for each in part.held.models]

    @property
    def addresses(self) -> set[str]:
        """The objects that it takes to answer."""
        if not self.parts:
            return {self.onnx or self.artifact}
        mine = {self.artifact, *(part.function for part in self.parts if part.function)}
        return mine.union(*(part.held.addresses for part in self.parts if part.held))


class Part(Struct, frozen=True, kw_only=True):
    """What one node of a graph is: a version of a model, or a function of the project."""

    node: str
    model: str = ""  #: of which it is a version; empty: it is a function
    number: int = 0  #: of the version
    held: Stored | None = None  #: the version, as it was when the graph was composed
    function: str = ""  #: address of the function, pickled
    source: str = ""  #: what it was made of: ``module:name``, and the hash of its code

    @property
    def version(self) -> str:
        """What predictions record of it: ``model:number``, or twelve digits of the function."""
        if self.model:
            return f"{self.model}:{self.number}"
        return self.function.removeprefix("b3:")[:12]


class Check(Struct, frozen=True, kw_only=True):
    """One question of a gate, and its answer with the evidence.

    Numbers are finite or None: None means "not defined here" or "no bound on that side".
    """

    name: str  #: e.g. ``objective``, ``better than baseline``, ``slice origin=EWR``
    passed: bool
    value: float | None = None
    low: float | None = None  #: confidence interval of `value`
    high: float | None = None
    bound: float | None = None  #: what the value (or its interval) was held against
    detail: str = ""


class Gate(Struct, frozen=True, kw_only=True):
    """The checks a version must pass before it may serve."""

    checks: list[Check]
    passed: bool

    @property
    def failing(self) -> list[Check]:
        """The checks that did not pass, in order."""
        return [check for check in self.checks if not check.passed]


class Override(Struct, frozen=True, kw_only=True):
    """Somebody's decision that a version may serve although its gate says no."""

    actor: str
    at: datetime
    reason: str


class Signing(Struct, frozen=True, kw_only=True):
    """Somebody's signature under the files of a version."""

    bundle: str  #: address of the signature: a Sigstore bundle, as `model-signing` writes it
    key: str  #: fingerprint of the public key: SHA-256 of its DER form, hex
    actor: str
    at: datetime


class ModelVersion(Struct, frozen=True, kw_only=True):
    """One immutable set of weights, and everything it came from.

    What it was made of never changes after registration; what people say about it does:
    its override (once), card, description, stage, signature and the time it was deleted.

    A version that was trained here has a flavor. One that was registered from elsewhere has
    none, but a `source`; it has no gate, so it cannot be released.
    """

    model: str
    number: int  #: 1 for the first version of a model, then consecutive
    run_id: str  #: the run that produced it
    why: str  #: why it was trained: ``first version``, ``drift: alarm alm_01J…``
    created_at: datetime
    flavor: str  #: how the native model is stored: sklearn, …; empty: registered from elsewhere
    artifact: str  #: address of the native model; empty: registered from elsewhere
    onnx: str | None = None  #: address of the compiled model; None: the native one serves
    parity: Parity | None = None  #: the proof, or the reason why there is no `onnx`
    signature: Signature
    metrics: dict[str, float] = field(default_factory=dict)  #: on held-out rows; may be NaN
    gate: Gate | None = None  #: None: nobody asked, so it may not serve
    override: Override | None = None
    card: str = ""  #: what its makers say about it, Markdown; `models.card` shows the rest
    reference: str | None = None  #: address of the profile reference of its training rows
    rows: str | None = None  #: address of the ids of its training rows, see `models.rowset`
    background: str | None = None  #: address of some training rows, to explain predictions by
    spec: str = ""  #: address of the spec in force when it was trained
    datasets: dict[str, int] = field(default_factory=dict)  #: dataset name: version trained on
    size: int = 0  #: bytes of the model that serves
    baseline: Stored | None = None  #: the simple model it beat: answers when it cannot
    parts: list[Part] = field(default_factory=list)  #: of a graph: what its nodes are
    source: str = ""  #: URI of its files, if it was registered from elsewhere
    run_link: str = ""  #: address of its run's page, if that is elsewhere
    logged_model: str = ""  #: id of the logged model it was registered from
    status: str = "ready"  #: or ``pending`` or ``failed``: whether its files are all there
    status_message: str = ""  #: why it is not ready
    stage: str = "None"  #: MLflow's old stages: None, Staging, Production or Archived
    description: str = ""
    updated_at: datetime | None = None  #: None: not since it was registered
    signed: Signing | None = None
    deleted_at: datetime | None = None  #: out of every list; its files stay until it is purged
    purged_at: datetime | None = None  #: its files are given up
    freed_at: datetime | None = None  #: its files are gone

    @property
    def ref(self) -> str:
        """How events and lineage name it."""
        return f"version:{self.model}/{self.number}"

    @property
    def stored(self) -> Stored:
        """The forms that it can be loaded from, without what else is known of it."""
        return Stored(
            flavor=self.flavor,
            artifact=self.artifact,
            onnx=self.onnx,
            parity=self.parity,
            signature=self.signature,
            size=self.size,
            background=self.background,
            parts=self.parts,
        )

    @property
    def trained_here(self) -> bool:
        """Whether its weights are stored here in a form that can serve."""
        return bool(self.flavor)

    @property
    def may_serve(self) -> bool:
        """Whether it is here, and its gate passed or somebody took the responsibility."""
        if not self.trained_here or self.deleted_at is not None:
            return False
        return self.override is not None or (self.gate is not None and self.gate.passed)


class Alias(Struct, frozen=True, kw_only=True):
    """A name that moves over the versions of a model: ``live``, ``candidate``, …"""

    model: str
    alias: str
    number: int


class ModelSummary(Struct, frozen=True, kw_only=True):
    """One line of the list of models."""

    model: str
    versions: int
    created_at: datetime  #: of the first version
    aliases: dict[str, int]
    trained_here: bool = True  #: whether a version was; else all are from elsewhere
