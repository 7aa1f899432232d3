"""`memory:`: an exact index in this process's memory, the reference that the others are compared with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rag_qdrant.adapters.indexes.payload import TEXT_FIELDS, Payload
from rag_qdrant.adapters.indexes.stored import PAGE, FoundRow, Rows, StoredIndex, found_rows
from rag_qdrant.adapters.indexes.terms import TermEncoder
from rag_qdrant.domain.access import Administrator, Managers, Readers, Scope, acl_from_payload
from rag_qdrant.domain.documents import IndexMeta, Kind
from rag_qdrant.domain.filters import ALL, Filter, In, both
from rag_qdrant.domain.retrieval import DEPTH, Matrix, Query, Scored, Vector, in_order
from rag_qdrant.errors import NothingFound, UsageError

_LIVE = In("live", (1,))


@dataclass
class _Row:
    payload: Payload
    vectors: dict[str, Vector]
    terms: dict[int, float] = field(default_factory=dict)


class MemoryStore:
    """Payloads in a dictionary; every answer is computed from the definition."""

    def __init__(self, meta: IndexMeta) -> None:
        self.meta = meta
        self._encoder = TermEncoder(language=meta.language, average_length=meta.average_length)
        self._rows: dict[str, _Row] = {}

    def put(self, rows: Rows, vectors: Mapping[str, Matrix]) -> None:
        """Write points whole."""
        for number, (point_id, payload) in enumerate(rows):
            row = _Row(payload=dict(payload), vectors={name: matrix[number] for name, matrix in vectors.items()})
            if payload["kind"] == "chunk":
                ids, weights = self._encoder.document(f"{payload['header']}\n{payload['text']}")
                row.terms = dict(zip(ids.tolist(), weights.tolist(), strict=True))
            self._rows[point_id] = row

    def search(self, query: Query, scope: Scope) -> list[FoundRow]:
        """The fused hits, best first."""
        corpus = self._passing("chunk", _LIVE, scope)
        where = query.where or ALL
        wanted = {point_id: row for point_id, row in corpus.items() if _passes(row, point_id, where)}
        depth = max(DEPTH, query.limit)
        legs: dict[str, list[Scored]] = {}
        for leg in query.legs:
            scored = self._dense(query, wanted) if leg == "dense" else self._keyword(query, wanted, corpus)
            legs[leg] = in_order(scored)[:depth]
        return found_rows(query, legs, lambda ids: {point_id: self._rows[point_id].payload for point_id in ids})

    def _dense(self, query: Query, rows: Mapping[str, _Row]) -> list[Scored]:
        assert query.vector is not None
        ids = [point_id for point_id, row in rows.items() if "dense" in row.vectors]
        if not ids:
            return []
        matrix = np.stack([rows[point_id].vectors["dense"] for point_id in ids])
        return list(zip(ids, (matrix @ query.vector).tolist(), strict=True))

    def _keyword(self, query: Query, rows: Mapping[str, _Row], corpus: Mapping[str, _Row]) -> list[Scored]:
        terms = self._encoder.query(query.text).tolist()
        found = {term: sum(term in row.terms for row in corpus.values()) for term in terms}
        idf = {term: math.log((len(corpus) - df + 0.5) / (df + 0.5) + 1.0) for term, df in found.items()}
        scored = []
        for point_id, row in rows.items():
            shared = [term for term in terms if term in row.terms]
            if shared:
                scored.append((point_id, sum(idf[term] * row.terms[term] for term in shared)))
        return scored

    def page(
        self, kind: Kind, where: Filter, scope: Scope, vectors: Sequence[str], after: str | None
    ) -> tuple[Rows, dict[str, list[Vector | None]], str | None]:
        """Up to PAGE points by id."""
        ids = sorted(each for each in self._passing(kind, where, scope) if after is None or each >= after)
        chosen, rest = ids[:PAGE], ids[PAGE:]
        hidden = TEXT_FIELDS if isinstance(scope, Managers) else ()
        rows = [
            (each, {name: value for name, value in self._rows[each].payload.items() if name not in hidden})
            for each in chosen
        ]
        columns = {name: [self._rows[each].vectors.get(name) for each in chosen] for name in vectors}
        return rows, columns, rest[0] if rest else None

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, Any]) -> list[str]:
        """Replace payload fields, None removes one; the ids of the points that passed."""
        passing = self._passing(kind, where, scope)
        for row in passing.values():
            row.payload.update(fields)
            for name in [name for name, value in fields.items() if value is None]:
                del row.payload[name]
        return list(passing)

    def readers(self, ids: Sequence[str]) -> list[Any]:
        """The distinct stored `acl` objects."""
        found: list[Any] = []
        for point_id in ids:
            acl = self._rows[point_id].payload.get("acl")
            if acl not in found:
                found.append(acl)
        return found

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove points; how many."""
        passing = self._passing(None, where, scope)
        for point_id in passing:
            del self._rows[point_id]
        return len(passing)

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many, exactly."""
        return len(self._passing(kind, where, scope))

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """A field's values with their exact numbers."""
        found: dict[str, int] = {}
        for row in self._passing(kind, where, scope).values():
            value = row.payload.get(field)
            for element in value if isinstance(value, list) else () if value is None else (value,):
                found[str(element)] = found.get(str(element), 0) + 1
        return found

    def _passing(self, kind: Kind | None, where: Filter, scope: Scope) -> dict[str, _Row]:
        condition = both(In("kind", (kind,)) if kind else None, where)
        return {
            point_id: row
            for point_id, row in self._rows.items()
            if _in_scope(row.payload, scope) and _passes(row, point_id, condition)
        }

    def flush(self) -> None:
        """Nothing outlives the process."""

    def purge(self) -> None:
        """Nothing removed is kept."""

    def close(self) -> None:
        """Nothing is held."""


def _passes(row: _Row, point_id: str, where: Filter) -> bool:
    return where.matches({**row.payload, "id": point_id})


def _in_scope(payload: Payload, scope: Scope) -> bool:
    match scope:
        case Readers():
            return acl_from_payload(payload.get("acl")).readable_by(scope.principals)
        case Managers():
            return payload.get("owner") in scope.principals
        case Administrator():
            return True


_OPEN: dict[tuple[str, str], MemoryStore] = {}


def open_index(place: str, *, collection: str, create: IndexMeta | None) -> StoredIndex:
    """`memory:` or `memory:NAME`; lives as long as the process."""
    if "/" in place:
        raise UsageError(f"memory:{place} names a folder; nothing is stored there: write memory: or edge:{place}")
    if (place, collection) not in _OPEN:
        if create is None:
            raise NothingFound("nothing is in memory: yet; it lives as long as the process that ingests")
        _OPEN[place, collection] = MemoryStore(create)
    return StoredIndex(_OPEN[place, collection])
