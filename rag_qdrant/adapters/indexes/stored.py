"""One Index over any store of payloads: what memory, Edge here, Edge next door and a server have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from rag_qdrant.adapters.indexes.payload import Payload, field_to_payload, from_payload, to_payload
from rag_qdrant.domain.access import Acl, Managers, Readers, Scope
from rag_qdrant.domain.documents import Chunk, IndexMeta, Kind, Point
from rag_qdrant.domain.filters import Filter, In
from rag_qdrant.domain.retrieval import Hit, LegScore, Matrix, Query, Scored, Vector, fuse, leg_ranks
from rag_qdrant.errors import AccessNotApplied, UsageError

PAGE = 1000

Rows = list[tuple[str, Payload]]
FoundRow = tuple[str, Payload, float, dict[str, dict[str, float]]]
"""An id, its payload, its score, and each leg's rank and raw score."""


class Store(Protocol):
    """Payloads with vectors; scopes are compiled where the store is, so that no row outside one is ever sent."""

    @property
    def meta(self) -> IndexMeta:
        """What the collection says of itself."""
        ...

    def put(self, rows: Rows, vectors: Mapping[str, Matrix]) -> None:
        """Write points whole, a chunk's term vector included."""
        ...

    def search(self, query: Query, scope: Scope) -> list[FoundRow]:
        """The fused hits, best first."""
        ...

    def page(
        self, kind: Kind, where: Filter, scope: Scope, vectors: Sequence[str], after: str | None
    ) -> tuple[Rows, dict[str, list[Vector | None]], str | None]:
        """Up to PAGE points by id, from `after` on, and where the next page starts."""
        ...

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, Any]) -> list[str]:
        """Replace payload fields, None removes one; the ids of the points that passed."""
        ...

    def readers(self, ids: Sequence[str]) -> list[Any]:
        """The distinct stored `acl` objects of points."""
        ...

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove points; how many."""
        ...

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many, exactly."""
        ...

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """A field's values with their exact numbers."""
        ...

    def flush(self) -> None:
        """Make all that was acknowledged durable."""
        ...

    def purge(self) -> None:
        """Rebuild the storage."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


def nobody(scope: Scope) -> bool:
    """Whether the scope is empty: answered without asking the engine, where an empty condition may match all."""
    return isinstance(scope, Readers | Managers) and not scope.principals


def found_rows(
    query: Query, legs: Mapping[str, Sequence[Scored]], fetch: Callable[[list[str]], Mapping[str, Payload]]
) -> list[FoundRow]:
    """The fused answer of the legs with the payloads of its hits; `fetch` reads them in the same scope again."""
    best = fuse(legs, query.weights, query.limit)
    ranks = leg_ranks(legs, [point for point, _ in best])
    payloads = fetch([point for point, _ in best])
    return [
        (point, payloads[point], score, {name: asdict(leg) for name, leg in ranks[point].items()})
        for point, score in best
        if point in payloads
    ]


class StoredIndex:
    """ports.Index over a Store."""

    def __init__(self, store: Store, *, linger: Callable[[Store], Store] = lambda store: store) -> None:
        self._store = store
        self._linger = linger

    @property
    def meta(self) -> IndexMeta:
        """What the collection says of itself."""
        return self._store.meta

    def put(self, points: Sequence[Point], vectors: Mapping[str, Matrix]) -> None:
        """Write points whole; see ports.Index."""
        for name, matrix in vectors.items():
            _validate(name, matrix, len(points), self.meta.dim)
        self._store.put([(point.id, to_payload(point)) for point in points], vectors)

    def search(self, query: Query, scope: Scope) -> list[Hit]:
        """The best live chunks in the scope; see ports.Index."""
        if query.limit < 1 or nobody(scope):
            return []
        if query.vector is not None:
            _validate("the query", query.vector[None], 1, self.meta.dim)
        elif "dense" in query.legs:
            raise UsageError(f"mode {query.mode} needs the query's vector")
        hits = []
        for point_id, payload, score, legs in self._store.search(query, scope):
            chunk = from_payload(point_id, payload)
            if isinstance(chunk, Chunk) and _seen(chunk.acl, scope):
                hits.append(Hit(chunk=chunk, score=score, legs=_leg_scores(legs)))
        return hits

    def scan(
        self, kind: Kind, where: Filter, scope: Scope, *, vectors: Sequence[str] = ()
    ) -> Iterator[tuple[Point, Mapping[str, Vector]]]:
        """Every point of a kind that passes, by id; see ports.Index."""
        after: str | None = None
        while not nobody(scope):
            rows, found, after = self._store.page(kind, where, scope, tuple(vectors), after)
            for number, (point_id, payload) in enumerate(rows):
                point = from_payload(point_id, payload)
                if _seen(point.acl, scope):
                    own = ((name, column[number]) for name, column in found.items())
                    yield point, {name: vector for name, vector in own if vector is not None}
            if after is None:
                return

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, object]) -> int:
        """Replace fields of the points that pass; new readers are read back; see ports.Index."""
        if nobody(scope):
            return 0
        stored = {name: field_to_payload(name, value) for name, value in fields.items()}
        changed = self._store.patch(kind, where, scope, stored)
        if "acl" in stored and changed and self._store.readers(changed) != [stored["acl"]]:
            self._store.patch(kind, In("id", tuple(changed)), scope, {"acl": Acl().as_payload()})
            raise AccessNotApplied("the readers read back differ from those written: closed to everybody; try again")
        return len(changed)

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove the points that pass; see ports.Index."""
        return 0 if nobody(scope) else self._store.delete(where, scope)

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many points of a kind pass, exactly."""
        return 0 if nobody(scope) else self._store.count(kind, where, scope)

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """The values of a field among the points that pass, with their exact numbers."""
        return {} if nobody(scope) else self._store.facet(field, kind, where, scope)

    def linger(self) -> None:
        """Let others get at the index while the caller stays."""
        self._store = self._linger(self._store)

    def flush(self) -> None:
        """Make all that was acknowledged survive a power cut."""
        self._store.flush()

    def purge(self) -> None:
        """Rebuild the storage, so that nothing removed stays on disk."""
        self._store.purge()

    def close(self) -> None:
        """Flush and let go."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leg_scores(legs: Mapping[str, Mapping[str, float]]) -> dict[str, LegScore]:
    return {name: LegScore(rank=int(leg["rank"]), score=leg["score"]) for name, leg in legs.items()}


def _seen(acl: Acl, scope: Scope) -> bool:
    """The definition once more, after the engine: a stored object that is malformed reads as nobody here."""
    return not isinstance(scope, Readers) or acl.readable_by(scope.principals)


def _validate(name: str, matrix: Matrix, rows: int, dim: int) -> None:
    """Refuse what an engine would store in silence, or break on: other shapes, NaN, zero rows."""
    if matrix.shape != (rows, dim):
        raise UsageError(f"the vectors of {name} have shape {matrix.shape}; this index takes {(rows, dim)}")
    norms = np.linalg.norm(matrix, axis=1)
    if not np.all(np.isfinite(norms)) or np.any(norms < 1e-6):
        raise UsageError(f"the vectors of {name} hold NaN, infinite or zero rows; the embedder failed")
