"""Qdrant Edge as somebody would use it without this program, storing what this program stores."""

from collections.abc import Sequence
from pathlib import Path

import qdrant_edge as qe

from benchmarks.corpus import DIM, META
from rag_qdrant.adapters.indexes.payload import FLOAT_FIELDS, INTEGER_FIELDS, KEYWORD_FIELDS, Payload
from rag_qdrant.domain.retrieval import Matrix

BATCH = 256


def shard(folder: Path) -> qe.EdgeShard:
    """A new shard with the vectors and payload indexes of ours."""
    folder.mkdir(parents=True)
    made = qe.EdgeShard.create(
        str(folder),
        qe.EdgeConfig(
            vectors={"dense": qe.EdgeVectorParams(size=DIM, distance=qe.Distance.Cosine)},
            sparse_vectors={"terms": qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)},
        ),
    )
    indexes = {
        qe.PayloadSchemaType.Keyword: KEYWORD_FIELDS,
        qe.PayloadSchemaType.Integer: INTEGER_FIELDS,
        qe.PayloadSchemaType.Float: FLOAT_FIELDS,
    }
    for kind, fields in indexes.items():
        for field in fields:
            made.update(qe.UpdateOperation.create_field_index(field, kind))
    return made


def encoder() -> qe.Bm25:
    """The engine's BM25 with the constants of ours."""
    return qe.Bm25(qe.Bm25Config(k=1.2, b=0.75, avg_len=META.average_length, language=META.language))


def upsert(into: qe.EdgeShard, rows: Sequence[tuple[str, Payload]], matrix: Matrix) -> None:
    """The loop that anybody writes: a batch of points, each with its payload, its vector and its terms."""
    bm25 = encoder()
    for start in range(0, len(rows), BATCH):
        points = []
        for (point_id, payload), row in zip(rows[start : start + BATCH], matrix[start : start + BATCH], strict=True):
            terms = bm25.embed_document(f"{payload['header']}\n{payload['text']}")
            points.append(qe.Point(point_id, {"dense": row.tolist(), "terms": terms}, payload))
        into.update(qe.UpdateOperation.upsert_points(points))
