"""Find passages: the query's vector where the mode needs one, the view's scope always."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rag_qdrant.domain.retrieval import Hit, Query
from rag_qdrant.errors import UsageError
from rag_qdrant.ports import Embedder, Reranker
from rag_qdrant.view import View

BATCH = 32
"""Queries embedded together."""


def search(view: View, query: Query, *, embedder: Embedder | None, reranker: Reranker | None = None) -> list[Hit]:
    """The best hits for a query, embedded here unless it carries a vector; reranked if there is a reranker."""
    (hits,) = search_many(view, [query], embedder=embedder)
    return hits if reranker is None else reranked(query, hits, reranker)


def reranked(query: Query, hits: Sequence[Hit], reranker: Reranker) -> list[Hit]:
    """The hits in the reranker's order, with its scores."""
    scores = reranker.score(query.text, [hit.chunk.indexed_text for hit in hits]).tolist() if hits else []
    ranked = sorted(zip(scores, hits, strict=True), key=lambda each: (-each[0], each[1].chunk.id))
    return [replace(hit, score=score) for score, hit in ranked]


def search_many(view: View, queries: Sequence[Query], *, embedder: Embedder | None) -> Iterator[list[Hit]]:
    """The hits of many queries, in their order, embedded in batches."""
    for query in queries:
        if not query.text.strip():
            raise UsageError("the query is empty; write what you look for")
        if query.limit < 1:
            raise UsageError(f"--limit {query.limit}; write 1 or more")
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        bare = [query for query in batch if "dense" in query.legs and query.vector is None]
        if bare and embedder is None:
            raise UsageError(f"mode {bare[0].mode} needs an embedder; write --mode keyword to do without")
        vectors = iter(embedder.embed([query.text for query in bare], role="query")) if bare and embedder else iter(())
        for query in batch:
            yield view.search(replace(query, vector=next(vectors)) if query in bare else query)
