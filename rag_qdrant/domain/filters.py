"""Filters as values: what they mean is `matches`, and every index is tested against it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from rag_qdrant.errors import UsageError

Fields = Mapping[str, object]

CALLER_FIELDS = frozenset({"source", "document", "type", "title", "modified", "tags", "document_id", "id"})
"""What a caller's own filter may name; access is not metadata and is never among it."""


class Filter(Protocol):
    """A condition on the fields of a stored point; a field that holds a list matches by any of its elements."""

    def matches(self, fields: Fields) -> bool:
        """Whether a point with these fields passes."""
        ...


@dataclass(frozen=True, slots=True)
class In(Filter):
    """The field equals one of the values; no values match nothing."""

    field: str
    values: tuple[str | int, ...]

    def matches(self, fields: Fields) -> bool:
        """Whether any element of the field is among the values; a number equals no string."""
        wanted = {(type(value), value) for value in self.values}
        return any((type(element), element) in wanted for element in _elements(fields.get(self.field)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Range(Filter):
    """The field is a number within the bounds that are given."""

    field: str
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None

    def matches(self, fields: Fields) -> bool:
        """Whether any number in the field lies within."""
        return any(self._holds(element) for element in _elements(fields.get(self.field)))

    def _holds(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        return (
            (self.gte is None or value >= self.gte)
            and (self.gt is None or value > self.gt)
            and (self.lte is None or value <= self.lte)
            and (self.lt is None or value < self.lt)
        )


@dataclass(frozen=True, slots=True)
class And(Filter):
    """Every part holds; without parts everything passes."""

    parts: tuple[Filter, ...]

    def matches(self, fields: Fields) -> bool:
        """Whether all parts match."""
        return all(part.matches(fields) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """At least one part holds; without parts nothing passes."""

    parts: tuple[Filter, ...]

    def matches(self, fields: Fields) -> bool:
        """Whether any part matches."""
        return any(part.matches(fields) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The part does not hold; a point without the field passes."""

    part: Filter

    def matches(self, fields: Fields) -> bool:
        """Whether the part fails."""
        return not self.part.matches(fields)


ALL = And(())


def both(*parts: Filter | None) -> Filter:
    """All of the given filters; those that are None ask for nothing.

    >>> both(None, In("source", ("hr",)))
    In(field='source', values=('hr',))
    """
    given = tuple(part for part in parts if part is not None and part != ALL)
    return given[0] if len(given) == 1 else And(given)


def named_fields(condition: Filter) -> Iterator[str]:
    """Every field that a filter names."""
    match condition:
        case In() | Range():
            yield condition.field
        case And() | Or():
            for part in condition.parts:
                yield from named_fields(part)
        case Not():
            yield from named_fields(condition.part)
        case _:
            raise UsageError(f"no filter {type(condition).__name__}; use In, Range, And, Or, Not")


def checked(condition: Filter | None) -> Filter | None:
    """A caller's filter, refused if it names a field that callers may not address."""
    for name in named_fields(condition) if condition is not None else ():
        if name not in CALLER_FIELDS:
            raise UsageError(f"no field {name!r} to filter by; fields: {', '.join(sorted(CALLER_FIELDS))}")
    return condition


def _elements(value: object) -> tuple[object, ...]:
    if isinstance(value, list | tuple):
        return tuple(value)
    return () if value is None else (value,)
