"""The language of searches: what a filter and an order may say, and what they said.

``metrics.auc > 0.7 AND params."batch size" = '64' AND (tags.team IS NULL OR NOT status = 'done')``

MLflow's filters, with OR, NOT, parentheses, numbers compared as numbers in params and tags, and
times as texts (``start_time > '2026-01-31'``) besides. One grammar serves every noun that can be
searched: a `Language` says which entities and attributes its noun has. Nothing here knows a table.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct, field

from setpoint.core.clock import to_micros
from setpoint.errors import Invalid

ATTRIBUTE = "attribute"
_DEEP = 50  #: parentheses and NOTs within each other


class Kind(StrEnum):
    """What values of an entity or attribute are, and so how they are compared."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"  #: numbers are milliseconds since 1970; texts ISO 8601
    ANY = "any"  #: texts; compared as numbers with a number


class Entity(Struct, frozen=True, kw_only=True):
    """What stands before the dot, e.g. ``metrics``."""

    kind: Kind = Kind.ANY
    also: tuple[str, ...] = ()  #: other spellings
    keys: tuple[str, ...] = ()  #: the only keys there are; empty: any


class Attribute(Struct, frozen=True, kw_only=True):
    """A column of the noun itself."""

    kind: Kind = Kind.TEXT
    also: tuple[str, ...] = ()
    lower: bool = False  #: whether texts are compared in lower case, e.g. a status
    orders: bool = True  #: whether results can be ordered by it


class Language(Struct, frozen=True, kw_only=True):
    """What can be said of one noun."""

    noun: str  #: in errors: "run"
    attributes: Mapping[str, Attribute]
    entities: Mapping[str, Entity] = field(default_factory=dict)
    attribute_words: tuple[str, ...] = (ATTRIBUTE, "attributes", "attr")


class Comparison(Struct, frozen=True, kw_only=True):
    """One condition. Times are microseconds since 1970."""

    entity: str  #: as the language spells it first, or "attribute"
    key: str
    op: str  #: = != < <= > >= LIKE ILIKE RLIKE IN NULL
    value: str | float | tuple[str | float, ...] | None = None
    negated: bool = False  #: NOT LIKE, NOT IN, IS NOT NULL
    position: int = 0  #: in the text


class All(Struct, frozen=True, kw_only=True):
    parts: tuple["Expression", ...]


class Either(Struct, frozen=True, kw_only=True):
    parts: tuple["Expression", ...]


class No(Struct, frozen=True, kw_only=True):
    part: "Expression"


Expression = Comparison | All | Either | No


class Order(Struct, frozen=True, kw_only=True):
    """One thing to order by. What lacks it comes last, whatever the direction."""

    entity: str
    key: str
    descending: bool = False


class _Token(Struct, frozen=True):
    kind: str  #: name, word, text, number, sign, end
    text: str  #: as written
    at: int


_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`"
_TOKENS = re.compile(
    rf"""\s*(?:
      (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>(?:`[^`]+`|\w+)\s*\.\s*(?:{_QUOTED}|[^\s=<>!(),'"`]+))
    | (?P<text>{_QUOTED})
    | (?P<word>\w+)
    | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_SIGNS = {"=", "!=", "<>", "<", "<=", ">", ">="}
_TEXTS = {"=", "!=", "LIKE", "ILIKE", "RLIKE", "IN", "NULL", "<", "<=", ">", ">="}
_NUMBERS = {"=", "!=", "<", "<=", ">", ">=", "IN", "NULL"}


def parse(text: str, language: Language) -> Expression | None:
    """Return what a filter says; None if it says nothing.

    Raises:
        Invalid: With the place in the text, and what may have been meant.
    """
    tokens = _split(text, language)
    if tokens[0].kind == "end":
        return None
    return _Parser(text, tokens, language).whole()


def parse_order(items: Sequence[str], language: Language) -> list[Order]:
    """Return what an order says, e.g. of ``["metrics.auc DESC", "start_time"]``.

    Raises:
        Invalid: If an item names what the noun has not, or no direction there is.
    """
    found = []
    for item in items:
        tokens = _split(item, language)
        parser = _Parser(item, tokens, language)
        found.append(parser.order())
    return found


def _split(text: str, language: Language) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKENS.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(
                text, start, f"the {language.noun} filter cannot be read", _guess(text[start:])
            )
        kind = match.lastgroup
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return tokens


def _guess(rest: str) -> str:
    if rest[:1] in {"'", '"', "`"}:
        return f"a {rest[0]} is opened here and not closed"
    return "write e.g. metrics.auc > 0.7 AND params.leaves = '31'; quote names with blanks"


class _Parser:
    """Reads tokens from left to right, one method a rule of the grammar."""

    def __init__(self, text: str, tokens: list[_Token], language: Language) -> None:
        self._text = text
        self._tokens = tokens
        self._language = language
        self._next = 0

    def whole(self) -> Expression:
        found = self._either(0)
        if self._peek.kind != "end":
            hint = "join conditions with AND or OR"
            if self._peek.text == ")":
                hint = "there is no ( that it closes"
            raise self._wrong(f"{self._peek.text!r} was not expected", hint)
        return found

    def order(self) -> Order:
        entity, key, kind = self._identifier(orders=True)
        del kind
        direction = self._take().text.upper() if self._peek.kind == "word" else "ASC"
        if direction not in {"ASC", "DESC"} or self._peek.kind != "end":
            raise self._wrong(
                "the order has no such direction", "e.g. metrics.auc DESC, or ASC", back=1
            )
        return Order(entity=entity, key=key, descending=direction == "DESC")

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek
        if token.kind != "end":
            self._next += 1
        return token

    def _keyword(self, *words: str) -> bool:
        """Take these words if they come next."""
        coming = self._tokens[self._next : self._next + len(words)]
        if [token.text.upper() for token in coming if token.kind == "word"] != list(words):
            return False
        self._next += len(words)
        return True

    def _wrong(self, message: str, hint: str, *, back: int = 0) -> Invalid:
        return _wrong(self._text, self._tokens[max(self._next - back, 0)].at, message, hint)

    def _either(self, deep: int) -> Expression:
        parts = [self._all(deep)]
        while self._keyword("OR"):
            parts.append(self._all(deep))
        return parts[0] if len(parts) == 1 else Either(parts=tuple(parts))

    def _all(self, deep: int) -> Expression:
        parts = [self._one(deep)]
        while self._keyword("AND"):
            parts.append(self._one(deep))
        return parts[0] if len(parts) == 1 else All(parts=tuple(parts))

    def _one(self, deep: int) -> Expression:
        if deep > _DEEP:
            raise self._wrong("the filter is nested too deeply", f"at most {_DEEP} levels")
        if self._keyword("NOT"):
            return No(part=self._one(deep + 1))
        if self._peek.text == "(":
            self._take()
            found = self._either(deep + 1)
            if self._take().text != ")":
                raise self._wrong("a ( is not closed", "add a )", back=1)
            return found
        return self._comparison()

    def _comparison(self) -> Comparison:
        start = self._peek.at
        entity, key, kind = self._identifier()
        op, negated = self._operator(kind, f"{entity}.{key}")
        if op == "NULL":
            value: str | float | tuple[str | float, ...] | None = None
        elif op == "IN":
            value = self._list(kind)
        else:
            value = self._value(kind)
            if op in {"LIKE", "ILIKE", "RLIKE"} and not isinstance(value, str):
                raise self._wrong(f"{op} takes a quoted text", "e.g. LIKE '%tree%'", back=1)
        value = self._lowered(entity, key, value)
        return Comparison(
            entity=entity, key=key, op=op, value=value, negated=negated, position=start
        )

    def _lowered(
        self, entity: str, key: str, value: str | float | tuple[str | float, ...] | None
    ) -> str | float | tuple[str | float, ...] | None:
        if entity != ATTRIBUTE or not self._language.attributes[key].lower:
            return value
        if isinstance(value, tuple):
            return tuple(one.lower() if isinstance(one, str) else one for one in value)
        return value.lower() if isinstance(value, str) else value

    def _identifier(self, *, orders: bool = False) -> tuple[str, str, Kind]:
        token = self._take()
        if token.kind == "name":
            before, _, after = token.text.partition(".")
            return self._entity(_bare(before.strip()), _bare(after.strip()), orders=orders)
        if token.kind in {"word", "text"} and token.text[0] != "'":
            return self._attribute(_bare(token.text), orders=orders)
        raise self._wrong(
            f"a name was expected, not {token.text!r}" if token.text else "a condition is missing",
            f"e.g. {next(iter(self._language.attributes))} = '…'",
            back=0 if token.kind == "end" else 1,
        )

    def _entity(self, word: str, key: str, *, orders: bool) -> tuple[str, str, Kind]:
        if word.lower() in self._language.attribute_words:
            return self._attribute(key, orders=orders)
        spelled = {
            spelling: name
            for name, entity in self._language.entities.items()
            for spelling in (name, *entity.also)
        }
        name = spelled.get(word.lower())
        if name is None:
            known = [*spelled, *self._language.attribute_words]
            raise self._wrong(
                f"a {self._language.noun} has no {word!r}", _meant(word, known), back=1
            )
        entity = self._language.entities[name]
        if entity.keys and key not in entity.keys:
            raise self._wrong(f"{name} has no {key!r}", _meant(key, entity.keys), back=1)
        return name, key, entity.kind

    def _attribute(self, key: str, *, orders: bool) -> tuple[str, str, Kind]:
        spelled = {
            spelling: name
            for name, attribute in self._language.attributes.items()
            for spelling in (name, *attribute.also)
        }
        name = spelled.get(key)
        if name is None or (orders and not self._language.attributes[name].orders):
            hint = _meant(key, spelled)
            if self._language.entities and "did you mean" not in hint:
                written = key if key.isidentifier() else f'"{key}"'
                hint = f"did you mean {next(iter(self._language.entities))}.{written}? {hint}"
            noun = self._language.noun
            raise self._wrong(f"a {noun} has no attribute {key!r}", hint, back=1)
        return ATTRIBUTE, name, self._language.attributes[name].kind

    def _operator(self, kind: Kind, name: str) -> tuple[str, bool]:
        if self._keyword("IS", "NOT", "NULL"):
            return "NULL", True
        if self._keyword("IS", "NULL"):
            return "NULL", False
        negated = self._keyword("NOT")
        token = self._take()
        op = {"<>": "!="}.get(token.text, token.text.upper())
        allowed = _TEXTS if kind in {Kind.TEXT, Kind.ANY} else _NUMBERS
        known = op in {"LIKE", "ILIKE", "RLIKE", "IN"} or (op in _SIGNS and not negated)
        if not known or op not in allowed:
            written = f"{'NOT ' if negated else ''}{token.text}"
            message = f"{name} cannot be compared by {written!r}"
            if token.kind == "end":
                message = f"{name} is compared with nothing"
            usable = sorted((allowed - {"NULL"}) | {"IS NULL"})
            hint = "write = for equality" if op == "==" else f"use one of {' '.join(usable)}"
            raise self._wrong(message, hint, back=0 if token.kind == "end" else 1)
        return op, negated

    def _list(self, kind: Kind) -> tuple[str | float, ...]:
        if self._take().text != "(":
            raise self._wrong("IN takes a list", "e.g. IN ('a', 'b')", back=1)
        found = [self._value(kind)]
        while self._peek.text == ",":
            self._take()
            if self._peek.text == ")":
                break
            found.append(self._value(kind))
        if self._take().text != ")":
            raise self._wrong("the list is not closed", "e.g. IN ('a', 'b')", back=1)
        return tuple(found)

    def _value(self, kind: Kind) -> str | float:
        token = self._take()
        if token.kind == "text":
            text = _bare(token.text)
            if kind is Kind.TIME:
                return self._time(text)
            if kind is Kind.NUMBER:
                raise self._wrong("a number was expected", f"without quotes: {text}", back=1)
            return text
        if token.kind == "number":
            number = _number(token.text)
            if kind is Kind.TEXT:
                raise self._wrong("a quoted text was expected", f"'{token.text}'", back=1)
            return int(number * 1000) if kind is Kind.TIME else number
        what = "a number" if kind is Kind.NUMBER else "a quoted text"
        hint = f"quote it: '{token.text}'" if token.kind in {"word", "name"} else "e.g. > 0.5"
        raise self._wrong(
            f"{what} was expected, not {token.text!r}" if token.text else f"{what} is missing",
            hint,
            back=0 if token.kind == "end" else 1,
        )

    def _time(self, text: str) -> int:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise self._wrong(
                f"{text!r} is no time", "e.g. '2026-01-31T12:00:00Z', or milliseconds", back=1
            ) from None
        return to_micros(at if at.tzinfo else at.replace(tzinfo=UTC))


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)


def _bare(text: str) -> str:
    """Return a name or text without its quotes."""
    quote = text[:1]
    if quote in {"'", '"', "`"} and len(text) > 1 and text[-1] == quote:
        return text[1:-1].replace(quote * 2, quote) if quote != "`" else text[1:-1]
    return text


def _meant(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(sorted(known))}"


def _wrong(text: str, at: int, message: str, hint: str) -> Invalid:
    shown = text[at : at + 40] or "the end"
    return Invalid(message, where=f"at character {at + 1}: {shown}", hint=hint)
