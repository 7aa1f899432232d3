"""`python -m benchmarks.sharing`: new readers for 2,000 chunks, against a bare set_payload on the same points."""

import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import qdrant_edge as qe

from benchmarks import bare
from benchmarks.corpus import META, corpus
from benchmarks.pairs import Pair, Timed, compare, seconds
from rag_qdrant.adapters.indexes.edge import open_index
from rag_qdrant.adapters.indexes.payload import to_payload
from rag_qdrant.domain.access import Acl, principal
from rag_qdrant.domain.documents import Point
from rag_qdrant.ports import Index
from rag_qdrant.usecases.share import share
from rag_qdrant.view import View

CHUNKS = 2_000


def main() -> None:
    made = corpus(CHUNKS)
    records: list[Point] = [*made.documents, *made.sources]
    with tempfile.TemporaryDirectory() as folder:
        shard = bare.shard(Path(folder) / "bare")
        bare.upsert(shard, [(chunk.id, to_payload(chunk)) for chunk in made.chunks], made.matrix)
        shard.update(qe.UpdateOperation.upsert_points([qe.Point(each.id, {}, to_payload(each)) for each in records]))
        shard.flush()
        with open_index(folder, collection="ours", create=META) as index:
            index.put(made.chunks, {"dense": made.matrix})
            index.put(records, {})
            index.flush()
            name = f"share {CHUNKS} chunks of {len(made.documents)} documents"
            points = [*(each.id for each in made.chunks), *(each.id for each in made.documents)]
            compare([Pair(name=name, ours=_ours(index), bare=_bare(shard, points), target=3.0)], rounds=15)
        shard.close()


def _ours(index: Index) -> Timed:
    """Each time somebody else is let in, so that each time every point changes."""
    view, names = View.administrator(index), (principal(f"user:new{number}") for number in count())

    def run() -> float:
        added = frozenset({next(names)})
        return seconds(lambda: share(view, "*", added))

    return run


def _bare(shard: qe.EdgeShard, points: list[Any]) -> Timed:
    numbers = count(1)

    def run() -> float:
        number = next(numbers)
        acl = Acl(allow=frozenset({"group:staff", *(f"user:new{each}" for each in range(number))})).as_payload()

        def change() -> None:
            shard.update(qe.UpdateOperation.set_payload(points, {"acl": acl, "access": number}))
            shard.flush()

        return seconds(change)

    return run


if __name__ == "__main__":
    main()
