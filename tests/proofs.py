"""What a viewer can observe through a view, all of it, as bytes: what the access proofs compare."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace

import numpy as np

from rag_qdrant.domain import documents as values
from rag_qdrant.domain.access import Principals
from rag_qdrant.domain.documents import Chunk, DocumentRecord
from rag_qdrant.domain.filters import In
from rag_qdrant.domain.retrieval import MODES, Query
from rag_qdrant.errors import NothingFound
from rag_qdrant.ports import Index
from rag_qdrant.testing import worlds
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases import ask, catalog
from rag_qdrant.view import View

EMBEDDER = HashEmbedder(dim=worlds.DIM)


def observe(index: Index, viewer: Principals, queries: Iterable[Query], names: Iterable[str]) -> bytes:
    """Every answer that a viewer gets; `names` are documents and chunks that exist or not, readable or not."""
    view = View.of(index, viewer)
    seen: list[object] = []
    for query in queries:
        for mode in MODES:
            seen.append([_hit(hit) for hit in view.search(replace(query, mode=mode))])
        try:
            answer = ask.ask(view, replace(query, vector=None), embedder=EMBEDDER)
            seen.append([answer.text, [_hit(hit) for hit in answer.passages], [asdict(c) for c in answer.citations]])
        except NothingFound as nothing:
            seen.append(str(nothing))
    seen.append([asdict(record) for record in view.documents()])
    seen.append([[asdict(chunk), vectors["dense"].tolist()] for chunk, vectors in view.chunks(vectors=("dense",))])
    seen.append([asdict(row) for row in catalog.sources(view)])
    seen.append([asdict(row) for row in catalog.documents(view)])
    seen.append(view.count_chunks())
    seen.append([view.chunk_counts(field) for field in ("source", "type", "tags", "document_id")])
    for name in names:
        try:
            shown = catalog.show(view, name)
            seen.append([shown.text, shown.record.document])
        except NothingFound as nothing:
            seen.append(str(nothing))
        seen.append([view.delete(In("document", (name,))), view.patch(None, In("id", (name,)), {"live": 0})])
    return json.dumps(seen, default=_plain, sort_keys=True).encode()


def _hit(hit: object) -> object:
    return asdict(hit)  # type: ignore[call-overload]


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(type(value).__name__)


def readable(world: worlds.World, viewer: Principals, *, wanted: bool) -> worlds.World:
    """The part of a world that a viewer may read, or that they may not; ids are drawn anew, as ingest draws them."""
    documents = [record for record in world.documents if record.acl.readable_by(viewer) == wanted]
    kept = {record.id for record in documents}
    places = [number for number, chunk in enumerate(world.chunks) if chunk.document_id in kept]
    chunks = [_with_id(world.chunks[number]) for number in places]
    return worlds.World(chunks, world.matrix[places], documents, [])


def _with_id(chunk: Chunk) -> Chunk:
    # Through the module, so that a mutant of the way ids are drawn is used here too.
    drawn = values.chunk_id(chunk.document_id, values.revision(chunk.text), chunk.ordinal)
    return replace(chunk, id=drawn, owner=None)


def owned_by_nobody(world: worlds.World) -> worlds.World:
    """The same world without owners: the viewer manages none of it."""
    documents: list[DocumentRecord] = [replace(record, owner=None) for record in world.documents]
    return worlds.World([replace(chunk, owner=None) for chunk in world.chunks], world.matrix, documents, [])


def world_and_viewer(seed: int) -> tuple[worlds.World, Principals, list[Query], list[str]]:
    """A random world, somebody who reads part of it, what they ask, and names to look up."""
    rng = np.random.default_rng(seed)
    world = owned_by_nobody(worlds.world(rng, int(rng.integers(4, 22))))
    viewer = worlds.viewer(rng)
    queries = [worlds.query(rng) for _ in range(2)]
    names = [world.documents[0].document, world.documents[-1].id, "no/such.txt", _with_id(world.chunks[0]).id]
    return world, viewer, queries, names
