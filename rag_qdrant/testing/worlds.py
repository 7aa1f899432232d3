"""Small random collections in which access, filters and ties matter: many readers, shared words, copies of text."""

from dataclasses import dataclass

import numpy as np

from rag_qdrant.domain import documents as values
from rag_qdrant.domain.access import Acl, Principals
from rag_qdrant.domain.documents import Chunk, DocumentRecord, IndexMeta, SourceRecord
from rag_qdrant.domain.filters import And, Filter, In, Not, Or, Range
from rag_qdrant.domain.retrieval import Matrix, Mode, Query

DIM = 12
META = IndexMeta(embedder="fake:hash", fingerprint="worlds", dim=DIM, average_length=12.0)
PEOPLE = ("user:ana", "user:ben", "user:cy", "group:hr", "group:it", "everyone", "public")
WORDS = tuple("pay rise leave office tide gauge buoy calm drift 潮位 設置 naïve report wing flow lab".split())
SOURCES = ("hr", "lab", "board")
TYPES = ("text", "markdown", "pdf")


@dataclass(frozen=True)
class World:
    """Chunks with their vectors, the records of their documents, and their sources."""

    chunks: list[Chunk]
    matrix: Matrix
    documents: list[DocumentRecord]
    sources: list[SourceRecord]


def unit(rng: np.random.Generator, rows: int) -> Matrix:
    """Random unit rows."""
    matrix = rng.standard_normal((rows, DIM)).astype(np.float32)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float32)


def acl(rng: np.random.Generator) -> Acl:
    """Random readers: few let in, now and then somebody denied, now and then nobody at all."""
    allow = rng.choice(PEOPLE, size=int(rng.integers(0, 3)), replace=False).tolist()
    deny = rng.choice(PEOPLE, size=1).tolist() if rng.random() < 0.25 else []
    return Acl(allow=frozenset(allow), deny=frozenset(deny))


def viewer(rng: np.random.Generator) -> Principals:
    """A random viewer; sometimes nobody."""
    return frozenset(rng.choice(PEOPLE, size=int(rng.integers(0, 4)), replace=False).tolist())


def world(rng: np.random.Generator, documents: int, *, name: str = "w", readers: Acl | None = None) -> World:
    """`documents` random documents of one to three passages; every fourth passage repeats another one's text."""
    sources = [
        SourceRecord(id=values.source_id("user:ana", each), source=each, owner="user:ana", created=1.0)
        for each in SOURCES
    ]
    chunks: list[Chunk] = []
    records: list[DocumentRecord] = []
    for number in range(documents):
        source = sources[int(rng.integers(len(sources)))]
        record = _record(rng, source, number, name, readers if readers is not None else acl(rng))
        records.append(record)
        for ordinal in range(record.chunks):
            again = bool(chunks) and rng.random() < 0.25
            fresh = " ".join(rng.choice(WORDS, int(rng.integers(2, 14))))
            text = chunks[int(rng.integers(len(chunks)))].text if again else fresh
            chunks.append(_chunk(record, ordinal, text, live=bool(rng.random() < 0.9)))
    return World(chunks, unit(rng, len(chunks)), records, sources)


def _record(rng: np.random.Generator, source: SourceRecord, number: int, name: str, readers: Acl) -> DocumentRecord:
    document = f"{source.source}/{name}{number}.txt"
    return DocumentRecord(
        id=values.document_id(source.id, document),
        document=document,
        source_id=source.id,
        source=source.source,
        owner=("user:ana", "user:ben", None)[int(rng.integers(3))],
        type=TYPES[int(rng.integers(len(TYPES)))],
        title=f"Title {number}",
        revision="r",
        content_hash=f"{number:x}",
        bytes=number,
        mtime_ns=10**18 + number,
        modified=float(rng.integers(0, 1000)),
        chunks=int(rng.integers(1, 4)),
        gaps="\n\n",
        tags={"team": str(rng.choice(["red", "blue"]))} if rng.random() < 0.5 else {},
        acl=readers,
        rules=readers,
        trail=("a rule",),
    )


def _chunk(record: DocumentRecord, ordinal: int, text: str, *, live: bool) -> Chunk:
    paged = record.type == "pdf"
    return Chunk(
        id=values.chunk_id(record.id, f"r-{text}", ordinal),
        document_id=record.id,
        document=record.document,
        source_id=record.source_id,
        source=record.source,
        owner=record.owner,
        revision="r",
        ordinal=ordinal,
        live=live,
        type=record.type,
        title=record.title,
        section=("One", "Two"),
        pages=(1, 2) if paged else None,
        lines=None if paged else (3, 4),
        start=ordinal * 100,
        end=ordinal * 100 + len(text),
        text=text,
        header="head",
        tags=record.tags,
        modified=record.modified,
        acl=record.acl,
    )


def condition(rng: np.random.Generator, depth: int = 2) -> Filter:
    """A random filter over the fields that callers may name."""
    kind = int(rng.integers(7 if depth else 4))
    if kind < 4:
        return _leaf(rng, kind)
    if kind == 4:
        return Not(condition(rng, depth - 1))
    parts = tuple(condition(rng, depth - 1) for _ in range(int(rng.integers(0, 3))))
    return And(parts) if kind == 5 else Or(parts)


def _leaf(rng: np.random.Generator, kind: int) -> Filter:
    if kind == 0:
        return In("source", tuple(rng.choice(SOURCES, size=int(rng.integers(0, 3)), replace=False).tolist()))
    if kind == 1:
        return In("type", (str(rng.choice(TYPES)),))
    if kind == 2:
        return In("tags", ("team=red",))
    low = float(rng.integers(0, 1000))
    return Range(field="modified", gte=low, lt=low + float(rng.integers(1, 900)))


def query(rng: np.random.Generator, *, mode: Mode | None = None) -> Query:
    """A random query with a random filter."""
    chosen: Mode = mode or ("hybrid", "dense", "keyword")[int(rng.integers(3))]
    return Query(
        text=" ".join(rng.choice(WORDS, int(rng.integers(1, 5)))),
        vector=unit(rng, 1)[0],
        mode=chosen,
        where=condition(rng) if rng.random() < 0.5 else None,
        limit=int(rng.integers(1, 25)),
    )
