"""`acl test`: plant documents of known readers in the index itself, and look whether anybody sees another's."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rag_qdrant.domain.access import EVERYONE, PUBLIC, Acl, Principals
from rag_qdrant.domain.documents import Chunk, DocumentRecord, SourceRecord, chunk_id, document_id, source_id
from rag_qdrant.domain.filters import In
from rag_qdrant.domain.retrieval import MODES, Query
from rag_qdrant.errors import UsageError
from rag_qdrant.view import View

WORD = "canaryword"


@dataclass(frozen=True, kw_only=True)
class CanaryReport:
    """How many looks were taken, and each that showed what it must not, or did not show what it must."""

    viewers: int
    looks: int
    wrong: tuple[str, ...]


def check_access(view: View) -> CanaryReport:
    """Plant canaries, look at them through every way to a chunk as each of their readers, and take them away."""
    if not view.is_administrator:
        raise UsageError("acl test plants documents for made-up readers: leave --as out")
    run = uuid.uuid4().hex[:8]
    ana, ben, team = f"user:canary-{run}-a", f"user:canary-{run}-b", f"group:canary-{run}"
    # Nobody else is let in: a canary must not come up in a colleague's search meanwhile.
    lists = [
        Acl(allow=frozenset({ana})),
        Acl(allow=frozenset({ben})),
        Acl(allow=frozenset({team})),
        Acl(allow=frozenset({team}), deny=frozenset({ben})),
        Acl(allow=frozenset({ana, ben}), deny=frozenset({team})),
        Acl(),
    ]
    viewers: list[Principals] = [
        frozenset({PUBLIC, EVERYONE, ana}),
        frozenset({PUBLIC, EVERYONE, ben, team}),
        frozenset({PUBLIC, EVERYONE, ben}),
        frozenset({PUBLIC, EVERYONE, team}),
        frozenset({PUBLIC}),
        frozenset(),
    ]
    with _planted(view, run, lists) as chunks:
        wrong: list[str] = []
        looks = 0
        for viewer in viewers:
            allowed = {chunk.id for chunk in chunks if chunk.acl.readable_by(viewer)}
            for way, seen in _ways(View.of(view.index, viewer), chunks):
                looks += 1
                if seen != allowed:
                    more, less = len(seen - allowed), len(allowed - seen)
                    wrong.append(f"{way} as {sorted(viewer)}: {more} seen that must not be, {less} missing")
    return CanaryReport(viewers=len(viewers), looks=looks, wrong=tuple(wrong))


def _ways(view: View, chunks: Sequence[Chunk]) -> Iterator[tuple[str, set[str]]]:
    """Each way to a chunk, with the canaries that it showed."""
    ours = In("source_id", (chunks[0].source_id,))
    ids = {chunk.id for chunk in chunks}
    by_document = {chunk.document_id: chunk.id for chunk in chunks}
    direction = np.ones(view.meta.dim, np.float32) / np.sqrt(np.float32(view.meta.dim))
    for mode in MODES:
        # Without a filter as well: the scope must hold by itself.
        for where in (None, In("source", (chunks[0].source,))):
            hits = view.search(Query(text=WORD, vector=direction, mode=mode, where=where, limit=200))
            yield f"search ({mode})", {hit.chunk.id for hit in hits} & ids
    yield "scan", {chunk.id for chunk, _ in view.chunks(In("id", tuple(ids)))}
    yield "documents", {by_document[record.id] for record in view.documents() if record.source_id == ours.values[0]}
    counted = view.chunk_counts("document_id", In("source", (chunks[0].source,)))
    yield "facet", {by_document[name] for name in counted}
    number = view.count_chunks(In("source", (chunks[0].source,)))
    yield "count", set(sorted(ids & {by_document[name] for name in counted})[:number])


@contextmanager
def _planted(view: View, run: str, lists: Sequence[Acl]) -> Iterator[list[Chunk]]:
    name = f"canaries-{run}"
    source = SourceRecord(id=source_id(None, name), source=name, owner=None, created=time.time())
    chunks = [_canary(source, number, acl) for number, acl in enumerate(lists)]
    records = [
        DocumentRecord(
            id=chunk.document_id,
            document=chunk.document,
            source_id=source.id,
            source=name,
            owner=None,
            type="text",
            title=chunk.title,
            revision=chunk.revision,
            chunks=1,
            acl=chunk.acl,
            rules=chunk.acl,
        )
        for chunk in chunks
    ]
    direction = np.ones((len(chunks), view.meta.dim), np.float32) / np.sqrt(np.float32(view.meta.dim))
    try:
        view.put([source, *records])
        view.put(chunks, {"dense": direction})
        yield chunks
    finally:
        view.delete(In("source_id", (source.id,)))
        view.delete(In("id", (source.id,)))


def _canary(source: SourceRecord, number: int, acl: Acl) -> Chunk:
    document = document_id(source.id, f"{number}")
    text = f"{WORD} number {number}"
    return Chunk(
        id=chunk_id(document, "canary", 0),
        document_id=document,
        document=f"{source.source}/{number}.txt",
        source_id=source.id,
        source=source.source,
        owner=None,
        revision="canary",
        ordinal=0,
        live=True,
        type="text",
        title=text,
        section=(),
        pages=None,
        lines=(1, 1),
        start=0,
        end=len(text),
        text=text,
        header="",
        tags={},
        modified=source.created,
        acl=acl,
    )
