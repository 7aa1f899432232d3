"""A Qdrant Edge shard in this process: validated input, room on the disk, exact answers, its errors stopped."""

import array
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe

from rag_qdrant.adapters.indexes.edge.conditions import compiled
from rag_qdrant.adapters.indexes.payload import (
    FLOAT_FIELDS,
    INTEGER_FIELDS,
    KEYWORD_FIELDS,
    TEXT_FIELDS,
    Payload,
    meta_from_payload,
    meta_to_payload,
)
from rag_qdrant.adapters.indexes.stored import PAGE, FoundRow, Rows, found_rows
from rag_qdrant.adapters.indexes.terms import TermEncoder
from rag_qdrant.domain.access import Managers, Scope
from rag_qdrant.domain.documents import IndexMeta, Kind
from rag_qdrant.domain.filters import And, Filter, In, both
from rag_qdrant.domain.retrieval import DEPTH, Matrix, Query, Scored, Vector
from rag_qdrant.errors import IndexDamaged, OutOfSpace, RagError

META_ID = "00000000-0000-5000-8000-000000000001"
BATCH = 256
"""Points a write: the engine holds the interpreter's lock for about 12 ms."""
EXACT_CHUNKS = 100_000
"""Views of at most this many chunks are searched exactly."""
ROOM = 64 << 20
"""Bytes that stay free: a full disk kills the process with SIGBUS, and the engine's log grows by 32 MB at a time."""
OPENING_ROOM = 8 << 20
"""Bytes that opening and removing need: who has a full disk must be able to look, and to make room."""
CREATION_ROOM = 160 << 20
"""An empty shard is 132 MB where the file system keeps no holes."""
_LIVE = In("live", (1,))
_ALL_VALUES = 1 << 30


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Stop the engine's errors: it raises bare Exception, and its panics are no Exception at all."""
    try:
        yield
    except RagError:
        raise
    except Exception as error:
        raise IndexDamaged(f"cannot {doing}: {error}") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise IndexDamaged(f"cannot {doing}: the engine panicked ({error}); run rag-qdrant doctor") from error
        raise


def check_room(folder: Path, wanted: int, *, spare: int = ROOM) -> None:
    """Refuse what could fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < spare + wanted:
        raise OutOfSpace(
            f"nothing was changed, {free >> 20} MB are free where the index lies ({folder}) and "
            f"{(spare + wanted) >> 20} MB are needed: free some, or choose another --index"
        )


def _config(dim: int) -> qe.EdgeConfig:
    # m=0 and int8: no graph is ever built; past EXACT_CHUNKS the quantised vectors are scanned and rescored.
    # Measured at 200,000 x 384: 2.1 CPU seconds to optimise against 433 with HNSW, recall 1.0, 4.6 ms a query.
    return qe.EdgeConfig(
        vectors={"dense": qe.EdgeVectorParams(size=dim, distance=qe.Distance.Cosine)},
        sparse_vectors={"terms": qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)},
        hnsw_config=qe.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
        quantization_config=qe.ScalarQuantizationConfig(type=qe.ScalarType.Int8, quantile=0.99, always_ram=True),
        max_search_threads=2,
    )


class EdgeShard:
    """A Store on one open shard; whoever makes it holds the folder's lock."""

    def __init__(self, folder: Path, shard: qe.EdgeShard, meta: IndexMeta) -> None:
        self.meta = meta
        self._folder = folder
        self._shard: qe.EdgeShard | None = shard
        self._encoder = TermEncoder(language=meta.language, average_length=meta.average_length)
        self._known_points: int | None = None
        self.on_close: Callable[[], None] = lambda: None

    @classmethod
    def create(cls, folder: Path, meta: IndexMeta) -> "EdgeShard":
        """A new shard with its payload indexes made before the first point, and the collection's account in it."""
        check_room(folder.parent, CREATION_ROOM)
        with translated("create the index"):
            shard = qe.EdgeShard.create(str(folder), _config(meta.dim))
            for fields, kind in (
                (KEYWORD_FIELDS, qe.PayloadSchemaType.Keyword),
                (INTEGER_FIELDS, qe.PayloadSchemaType.Integer),
                (FLOAT_FIELDS, qe.PayloadSchemaType.Float),
            ):
                for field in fields:
                    shard.update(qe.UpdateOperation.create_field_index(field, kind))
            shard.update(qe.UpdateOperation.upsert_points([qe.Point(META_ID, {}, meta_to_payload(meta))]))
            shard.flush()
        return cls(folder, shard, meta)

    @classmethod
    def load(cls, folder: Path) -> "EdgeShard | None":
        """The shard that lies there; None where making it was interrupted before it carried its account."""
        check_room(folder.parent, 0, spare=OPENING_ROOM)
        # A killed optimisation leaves these for ever.
        shutil.rmtree(folder / "temp_segments", ignore_errors=True)
        with translated(f"open the index at {folder.parent}"):
            shard = qe.EdgeShard.load(str(folder))
            found = shard.retrieve([META_ID], True, False)
            if not found:
                empty = shard.count(qe.CountRequest(exact=True)) == 0
                shard.close()
                if empty:
                    return None
                raise IndexDamaged(f"the index at {folder.parent} has lost its account of itself: restore a copy")
            return cls(folder, shard, meta_from_payload(found[0].payload or {}))

    @property
    def _open(self) -> qe.EdgeShard:
        if self._shard is None:
            raise IndexDamaged("the index is closed")
        return self._shard

    def put(self, rows: Rows, vectors: Mapping[str, Matrix]) -> None:
        """Write points whole, in batches; a chunk's terms are weighed here."""
        self._known_points = None
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            parts = {name: np.ascontiguousarray(m[start : start + BATCH], np.float32) for name, m in vectors.items()}
            points = [self._point(row, {n: m[i] for n, m in parts.items()}) for i, row in enumerate(batch)]
            check_room(self._folder, sum(4 * m.size for m in parts.values()) + 4096 * len(batch))
            with translated("write to the index"):
                self._open.update(qe.UpdateOperation.upsert_points(points))

    def _point(self, row: tuple[str, Payload], vectors: Mapping[str, Vector]) -> qe.Point:
        point_id, payload = row
        # array.array is read about six times as fast as a NumPy row.
        named: dict[str, Any] = {name: array.array("f", vector.tobytes()) for name, vector in vectors.items()}
        if payload["kind"] == "chunk":
            ids, weights = self._encoder.document(f"{payload['header']}\n{payload['text']}")
            named["terms"] = qe.SparseVector(ids.tolist(), weights.tolist())
        return qe.Point(point_id, named, payload)

    def search(self, query: Query, scope: Scope) -> list[FoundRow]:
        """The legs in one batch, each under the scope; the keyword leg's statistics are the scope's own."""
        condition = compiled("chunk", both(_LIVE, query.where), scope)
        corpus = compiled("chunk", _LIVE, scope)
        depth = max(DEPTH, query.limit)
        requests = [self._leg(leg, query, condition, corpus, depth) for leg in query.legs]
        with translated("search the index"):
            answers = self._open.query_batch(qe.QueryBatchRequest(requests))
        legs: dict[str, list[Scored]] = {
            leg: [(str(point.id), point.score) for point in answer]
            for leg, answer in zip(query.legs, answers, strict=True)
        }
        return found_rows(query, legs, lambda ids: self._fetch(ids, scope))

    def _leg(self, leg: str, query: Query, condition: qe.Filter, corpus: qe.Filter, depth: int) -> qe.QueryRequest:
        if leg == "keyword":
            ids = self._encoder.query(query.text).tolist()
            sparse = qe.SparseVector(ids, [1.0] * len(ids))
            params = qe.SearchParams(exact=True, idf=qe.IdfParams(corpus))
            nearest = qe.Query.Nearest(sparse, using="terms")
            return qe.QueryRequest(limit=depth, query=nearest, filter=condition, params=params)
        assert query.vector is not None
        nearest = qe.Query.Nearest(query.vector.tolist(), using="dense")
        return qe.QueryRequest(limit=depth, query=nearest, filter=condition, params=self._dense_params(condition))

    def _dense_params(self, condition: qe.Filter) -> qe.SearchParams:
        with translated("count the view"):
            if (
                self._points() <= EXACT_CHUNKS
                or self._open.count(qe.CountRequest(exact=True, filter=condition)) <= EXACT_CHUNKS
            ):
                return qe.SearchParams(exact=True)
        return qe.SearchParams(quantization=qe.QuantizationSearchParams(rescore=True, oversampling=2.0))

    def _points(self) -> int:
        if self._known_points is None:
            self._known_points = self._open.count(qe.CountRequest(exact=True))
        return self._known_points

    def _fetch(self, ids: list[str], scope: Scope) -> dict[str, Payload]:
        # By a filter that has the scope in it: reading by id takes none.
        condition = compiled("chunk", In("id", tuple(ids)), scope)
        with translated("read hits"):
            records, _ = self._open.scroll(qe.ScrollRequest(limit=len(ids) or 1, filter=condition, with_payload=True))
        return {str(record.id): record.payload or {} for record in records}

    def page(
        self, kind: Kind, where: Filter, scope: Scope, vectors: Sequence[str], after: str | None
    ) -> tuple[Rows, dict[str, list[Vector | None]], str | None]:
        """Up to PAGE points by id; a manager's come without their text."""
        condition = compiled(kind, where, scope)
        payload: Any = qe.PayloadSelector.Exclude(list(TEXT_FIELDS)) if isinstance(scope, Managers) else True
        request = qe.ScrollRequest(
            limit=PAGE, offset=after, filter=condition, with_payload=payload, with_vector=list(vectors) or False
        )
        with translated("read the index"):
            records, following = self._open.scroll(request)
            rows = [(str(record.id), record.payload or {}) for record in records]
            columns = {name: [_dense(record.vector, name) for record in records] for name in vectors}
        return rows, columns, str(following) if following is not None else None

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, Any]) -> list[str]:
        """Replace payload fields, None removes one; the ids of the points that passed."""
        condition = compiled(kind, And((where, _NOT_META)), scope)
        given = {name: value for name, value in fields.items() if value is not None}
        removed = [name for name, value in fields.items() if value is None]
        check_room(self._folder, 0)
        with translated("change the index"):
            # Counted and named first: a field that the filter asks for may be one that changes.
            records, _ = self._open.scroll(
                qe.ScrollRequest(limit=_ALL_VALUES, filter=condition, with_payload=False, with_vector=False)
            )
            ids = [record.id for record in records]
            # One operation, whatever its size: it is one entry of the log, so that a kill leaves all of it or nothing.
            if ids and given:
                self._open.update(qe.UpdateOperation.set_payload(ids, given))
            if ids and removed:
                self._open.update(qe.UpdateOperation.delete_payload(ids, removed))
        return [str(each) for each in ids]

    def readers(self, ids: Sequence[str]) -> list[Any]:
        """The distinct stored `acl` objects."""
        request = qe.ScrollRequest(
            limit=len(ids),
            filter=qe.Filter(must=[qe.HasIdCondition(set(ids))]),
            with_payload=qe.PayloadSelector.Include(["acl"]),
        )
        with translated("read readers back"):
            records, _ = self._open.scroll(request)
        found: list[Any] = []
        for record in records:
            acl = (record.payload or {}).get("acl")
            if acl not in found:
                found.append(acl)
        return found

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove points; how many."""
        condition = compiled(None, And((where, _NOT_META)), scope)
        check_room(self._folder, 0, spare=OPENING_ROOM)
        self._known_points = None
        with translated("remove from the index"):
            number: int = self._open.count(qe.CountRequest(exact=True, filter=condition))
            if number:
                self._open.update(qe.UpdateOperation.delete_points_by_filter(condition))
        return number

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many, exactly."""
        with translated("count"):
            number: int = self._open.count(qe.CountRequest(exact=True, filter=compiled(kind, where, scope)))
            return number

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """A field's values with their exact numbers."""
        request = qe.FacetRequest(field, limit=_ALL_VALUES, exact=True, filter=compiled(kind, where, scope))
        with translated(f"count by {field}"):
            return {str(hit.value): hit.count for hit in self._open.facet(request).hits}

    def flush(self) -> None:
        """The only fsync there is; past EXACT_CHUNKS, what is new is quantised too."""
        with translated("flush the index"):
            self._open.flush()

    def optimize(self) -> None:
        """Quantise what is new, where the collection is too large for exact search."""
        if self._points() > EXACT_CHUNKS:
            check_room(self._folder, 2 * sum(each.stat().st_blocks * 512 for each in self._folder.rglob("*")))
            with translated("optimise the index"):
                self._open.optimize()
                # Without the flush the replaced segments stay on the disk.
                self._open.flush()

    def purge(self) -> None:
        """Copy what is there into a new shard and put it in the old one's place: removed text stays in none."""
        fresh, old = (self._folder.with_name(f"{self._folder.name}.{suffix}") for suffix in ("new", "old"))
        size = sum(each.stat().st_blocks * 512 for each in self._folder.rglob("*"))
        check_room(self._folder, size)
        shutil.rmtree(fresh, ignore_errors=True)
        copy = EdgeShard.create(fresh, self.meta)
        with translated("rebuild the index"):
            after: Any = None
            while True:
                request = qe.ScrollRequest(limit=BATCH, offset=after, with_payload=True, with_vector=True)
                records, after = self._open.scroll(request)
                points = [qe.Point(record.id, record.vector or {}, record.payload or {}) for record in records]
                copy._open.update(qe.UpdateOperation.upsert_points(points))
                if after is None:
                    break
        copy.close()
        with translated("close the index"):
            self._open.close()
        self._folder.rename(old)
        fresh.rename(self._folder)
        shutil.rmtree(old)
        with translated("reopen the index"):
            self._shard = qe.EdgeShard.load(str(self._folder))

    def close(self) -> None:
        """Flush what was written and let go."""
        if self._shard is not None:
            shard, self._shard = self._shard, None
            try:
                with translated("close the index"):
                    shard.close()
            finally:
                self.on_close()


_NOT_META = In("kind", ("chunk", "document", "source"))


def _dense(vectors: Any, name: str) -> Vector | None:
    found = (vectors or {}).get(name)
    return None if found is None else np.asarray(found, dtype=np.float32)


def recover(folder: Path) -> None:
    """Finish or undo a purge that was killed: the shard's folder is whole after this, or was never there."""
    fresh, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    if old.exists() and not folder.exists():
        # Killed between the two renames: the copy was complete before the first of them.
        (fresh if fresh.exists() else old).rename(folder)
    for leftover in (fresh, old):
        if folder.exists():
            shutil.rmtree(leftover, ignore_errors=True)
