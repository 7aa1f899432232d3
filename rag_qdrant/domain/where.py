"""The language of `--where`: a small typed expression over named fields, parsed into a Filter."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from rag_qdrant.domain.filters import ALL, And, Filter, In, Not, Or, Range
from rag_qdrant.errors import UsageError

MAX_DEPTH = 50
HELP = "such as: type = pdf and (source in (hr, legal) or tag.team = sales) and modified >= 2025-01-01"

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|=|<|>|\(|\)|,)|(?P<word>[^\s=!<>(),"']+))"""
)
_TEXT_FIELDS = ("source", "document", "type", "title")
_KEYWORDS = ("and", "or", "not", "in")
_MIRROR = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def tag_filter(text: str) -> Filter:
    """The filter of `--tag`: `name=value`, or `name` alone for a tag without a value.

    >>> tag_filter("team=sales")
    In(field='tags', values=('team=sales',))
    """
    return In("tags", (tag_entry(*text.split("=", 1)) if "=" in text else tag_entry(text, "true"),))


def tag_entry(name: str, value: str) -> str:
    """One tag as it is stored: `name=value`."""
    name = name.strip()
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise UsageError(f"no tag name {name!r}; letters, digits, _ . and - only, at most 64, as in team=sales")
    return f"{name}={value.strip()}"


def day(text: str, *, end: bool = False) -> float:
    """A date (`2025-01`, `2025-01-31`) or time (ISO 8601) as seconds since 1970; without a zone it is UTC.

    With `end`, the first moment after the day, month or year that was named.
    """
    try:
        if re.fullmatch(r"\d{4}", text):
            start, after = date(int(text), 1, 1), date(int(text) + 1, 1, 1)
        elif re.fullmatch(r"\d{4}-\d{2}", text):
            year, month = int(text[:4]), int(text[5:])
            start, after = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            start = date.fromisoformat(text)
            after = start + timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return datetime.combine(after if end else start, time(), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"no date {text!r}; write 2025-01-31, 2025-01 or 2025-01-31T09:00:00Z") from error


def parse(text: str) -> Filter:
    """The filter that an expression stands for; a UsageError says where it breaks and what to write.

    >>> parse("type = pdf and not source in (hr, legal)")
    And(parts=(In(field='type', values=('pdf',)), Not(part=In(field='source', values=('hr', 'legal')))))
    """
    parser = _Parser(text)
    return parser.whole() if text.strip() else ALL


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise UsageError(f"cannot read {text[position:].strip()[:20]!r} in the filter; write it {HELP}")
            kind = str(match.lastgroup)
            value = match[kind]
            self.tokens.append((kind, re.sub(r"\\(.)", r"\1", value[1:-1]) if kind == "string" else value))
            position = match.end()
        self.position = 0

    def whole(self) -> Filter:
        condition = self.any_of(0)
        if self.position < len(self.tokens):
            self.expected("`and`, `or` or the end")
        return condition

    def any_of(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise UsageError(f"the filter nests more than {MAX_DEPTH} levels")
        return self.chain("or", Or, lambda: self.chain("and", And, lambda: self.one(depth)))

    def chain(self, word: str, join: Callable[[tuple[Filter, ...]], Filter], part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self.take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def one(self, depth: int) -> Filter:
        negations = 0
        while self.take("not"):
            negations += 1
        if self.take("("):
            condition = self.any_of(depth + 1)
            if not self.take(")"):
                self.expected("`)`")
        else:
            condition = self.comparison()
        return Not(condition) if negations % 2 else condition

    def comparison(self) -> Filter:
        kind, name = self.next("a field")
        if kind != "word" or name.lower() in _KEYWORDS:
            self.position -= 1
            self.expected("a field")
        operator = self.next("an operator")[1].lower()
        if operator == "in":
            return self.membership(name)
        value = self.next("a value")[1]
        if name == "modified":
            return _moment(operator, value)
        if operator not in ("=", "!="):
            raise UsageError(f"{name} takes =, != and in; only modified can be compared with {operator!r}, {HELP}")
        equal = _equals(name, (value,))
        return equal if operator == "=" else Not(equal)

    def membership(self, name: str) -> Filter:
        if not self.take("("):
            self.expected("`(` and a list")
        values = [self.next("a value")[1]]
        while self.take(","):
            values.append(self.next("a value")[1])
        if not self.take(")"):
            self.expected("`)`")
        return _equals(name, tuple(values))

    def take(self, word: str) -> bool:
        if self.position < len(self.tokens):
            kind, value = self.tokens[self.position]
            if kind != "string" and value.lower() == word:
                self.position += 1
                return True
        return False

    def next(self, wanted: str) -> tuple[str, str]:
        if self.position >= len(self.tokens):
            self.expected(wanted)
        self.position += 1
        return self.tokens[self.position - 1]

    def expected(self, wanted: str) -> None:
        found = repr(self.tokens[self.position][1]) if self.position < len(self.tokens) else "the end"
        raise UsageError(f"expected {wanted} but found {found} in the filter; write it {HELP}")


def _equals(name: str, values: tuple[str, ...]) -> Filter:
    if name.startswith("tag."):
        return In("tags", tuple(tag_entry(name[4:], value) for value in values))
    if name not in _TEXT_FIELDS:
        raise UsageError(f"no field {name!r} to filter by; fields: {', '.join(_TEXT_FIELDS)}, modified, tag.NAME")
    return In(name, values)


def _moment(operator: str, value: str) -> Filter:
    if operator in ("=", "!="):
        within = Range(field="modified", gte=day(value), lt=day(value, end=True))
        return within if operator == "=" else Not(within)
    if operator not in _MIRROR:
        raise UsageError(f"modified takes =, !=, <, <=, > and >=, not {operator!r}")
    # `> 2025-01-31` means after that day, `<= 2025-01-31` through it.
    if operator == ">":
        return Range(field="modified", gte=day(value, end=True))
    if operator == "<=":
        return Range(field="modified", lt=day(value, end=True))
    return Range(field="modified", **{_MIRROR[operator]: day(value)})
