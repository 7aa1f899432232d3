"""The one compiler from filters and scopes to Qdrant Edge's conditions."""

import re
from typing import Any

from qdrant_edge import FieldCondition, HasIdCondition, MatchAny, RangeFloat
from qdrant_edge import Filter as EdgeFilter

from rag_qdrant.domain.access import Administrator, Managers, Readers, Scope
from rag_qdrant.domain.documents import Kind
from rag_qdrant.domain.filters import And, Filter, In, Not, Or, Range

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Condition = Any
"""A FieldCondition, a HasIdCondition or a nested Filter: the stubs have no common type for them."""


def compiled(kind: Kind | None, where: Filter, scope: Scope) -> EdgeFilter:
    """Points of a kind that pass a caller's filter, in a scope: all three at the root, all three required."""
    parts: list[Condition] = [_scope(scope), _condition(where)]
    if kind is not None:
        parts.append(_any_of("kind", [kind]))
    return EdgeFilter(must=parts)


def _scope(scope: Scope) -> EdgeFilter:
    # Never `should`: an empty one, like an empty `must`, matches everything. MatchAny([]) matches nothing.
    match scope:
        case Readers():
            names = sorted(scope.principals)
            return EdgeFilter(must=[_any_of("acl.allow", names)], must_not=[_any_of("acl.deny", names)])
        case Managers():
            return EdgeFilter(must=[_any_of("owner", sorted(scope.principals))])
        case Administrator():
            return EdgeFilter()


def _condition(where: Filter) -> Condition:
    match where:
        case In("id", values):
            # What is no id of ours is an error to the engine, and to us a point that is not there.
            return HasIdCondition({str(value) for value in values if _ID.fullmatch(str(value))})
        case In(field, values):
            return _in(field, values)
        case Range():
            bounds = RangeFloat(gte=where.gte, gt=where.gt, lte=where.lte, lt=where.lt)
            return FieldCondition(where.field, range=bounds)
        case And(parts):
            return EdgeFilter(must=[_condition(part) for part in parts])
        case Or(()):
            return HasIdCondition(set())
        case Or(parts):
            return EdgeFilter(should=[_condition(part) for part in parts])
        case Not(part):
            return EdgeFilter(must_not=[_condition(part)])
        case _:
            raise TypeError(f"no filter {type(where).__name__}")


def _in(field: str, values: tuple[str | int, ...]) -> Condition:
    # One MatchAny takes one type; a mix is a TypeError there.
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int)]
    if texts and numbers:
        return EdgeFilter(should=[_any_of(field, texts), _any_of(field, numbers)])
    return _any_of(field, numbers or texts)


def _any_of(field: str, values: list[Any]) -> Condition:
    return FieldCondition(field, match=MatchAny(values))
