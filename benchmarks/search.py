"""`python -m benchmarks.search`: a filtered hybrid search in a view, against the same two legs on the bare engine."""

import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe

from benchmarks import bare
from benchmarks.corpus import META, corpus, passage, sentences, unit_rows
from benchmarks.pairs import Pair, Timed, compare, seconds
from rag_qdrant.adapters.indexes.edge import open_index
from rag_qdrant.adapters.indexes.payload import to_payload
from rag_qdrant.domain.access import Groups, principals
from rag_qdrant.domain.filters import In
from rag_qdrant.domain.retrieval import DEPTH, Query
from rag_qdrant.view import View

CHUNKS = 5_000
QUERIES = 50
LIMIT = 10
VIEWER = Groups().of(principals(["user:ana", "group:staff"]))
WANTED = ("handbook", "finance")


def main() -> None:
    made = corpus(CHUNKS)
    queries = _queries()
    with tempfile.TemporaryDirectory() as folder:
        shard = bare.shard(Path(folder) / "bare")
        bare.upsert(shard, [(chunk.id, to_payload(chunk)) for chunk in made.chunks], made.matrix)
        with open_index(folder, collection="ours", create=META) as index:
            index.put(made.chunks, {"dense": made.matrix})
            view = View.of(index, VIEWER)
            print(
                f"{view.count_chunks()} of {CHUNKS} chunks may be read, {view.count_chunks(_where())} pass the filter"
            )
            ours = _in_turn([_ours(view, each) for each in queries])
            legs = _in_turn([_bare(shard, each) for each in queries])
            name = f"search {CHUNKS} chunks, hybrid, filtered"
            compare([Pair(name=name, ours=ours, bare=legs, target=2.0)], rounds=20 * QUERIES, warmups=QUERIES)
        shard.close()


def _in_turn(calls: list[Callable[[], object]]) -> Timed:
    """One call at each time, of the next query."""
    coming = cycle(calls)
    return lambda: seconds(next(coming))


def _where() -> In:
    return In("source", WANTED)


def _queries() -> list[Query]:
    rng = np.random.default_rng(11)
    known = sentences()
    texts = (" ".join(passage(rng, known).split()[:words]) for words in cycle((4, 6, 8, 10)))
    return [
        Query(text=text, vector=vector, where=_where(), limit=LIMIT)
        for text, vector in zip(texts, unit_rows(rng, QUERIES), strict=False)
    ]


def _ours(view: View, query: Query) -> Callable[[], object]:
    return lambda: view.search(query)


def _any_of(field: str, values: list[str] | list[int]) -> Any:
    return qe.FieldCondition(field, match=qe.MatchAny(values))


def _bare(shard: qe.EdgeShard, query: Query) -> Callable[[], object]:
    """One batch of two legs, all of it built beforehand, and the payloads of as many points as there are hits."""
    assert query.vector is not None
    names = sorted(VIEWER)
    live = [_any_of("kind", ["chunk"]), _any_of("live", [1]), _any_of("acl.allow", names)]
    denied = [_any_of("acl.deny", names)]
    corpus_of_viewer = qe.Filter(must=live, must_not=denied)
    condition = qe.Filter(must=[*live, _any_of("source", list(WANTED))], must_not=denied)
    terms = bare.encoder().embed_query(query.text)
    batch = qe.QueryBatchRequest(
        [
            qe.QueryRequest(
                limit=DEPTH,
                query=qe.Query.Nearest(query.vector.tolist(), using="dense"),
                filter=condition,
                params=qe.SearchParams(exact=True),
            ),
            qe.QueryRequest(
                limit=DEPTH,
                query=qe.Query.Nearest(terms, using="terms"),
                filter=condition,
                params=qe.SearchParams(exact=True, idf=qe.IdfParams(corpus_of_viewer)),
            ),
        ]
    )

    def run() -> None:
        dense, _ = shard.query_batch(batch)
        shard.retrieve([point.id for point in dense[:LIMIT]], True, False)

    return run


if __name__ == "__main__":
    main()
