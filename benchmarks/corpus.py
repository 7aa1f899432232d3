"""Chunks as a real ingest makes them, without a model: sentences of the tour's documents, random unit vectors."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import rag_qdrant
from rag_qdrant.domain.access import Acl
from rag_qdrant.domain.documents import Chunk, DocumentRecord, IndexMeta, SourceRecord, chunk_id, document_id, source_id
from rag_qdrant.domain.retrieval import Matrix

DIM = 384
WORDS = 150
PARTS = 10
"""Chunks a document."""
OWNER = "user:owner"
SOURCES = ("handbook", "engineering", "finance", "board")
META = IndexMeta(embedder="fake:random", fingerprint="random", dim=DIM)


@dataclass(frozen=True)
class Corpus:
    """Live chunks with their vectors, and the records of their documents and sources."""

    chunks: list[Chunk]
    matrix: Matrix
    documents: list[DocumentRecord]
    sources: list[SourceRecord]


def unit_rows(rng: np.random.Generator, rows: int) -> Matrix:
    """Random unit rows, (rows, DIM)."""
    matrix = rng.standard_normal((rows, DIM)).astype(np.float32)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float32)


def sentences() -> list[str]:
    """The sentences of the tour's text and Markdown documents."""
    folder = Path(rag_qdrant.__file__).parent / "tour" / "documents"
    files = sorted([*folder.rglob("*.md"), *folder.rglob("*.txt")])
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in files)
    found = (" ".join(each.split()) for each in re.split(r"(?<=[.!?])\s|\n\s*\n", text))
    return [each for each in found if len(each.split()) > 3]


def passage(rng: np.random.Generator, known: list[str]) -> str:
    """About WORDS words."""
    parts: list[str] = []
    count = 0
    while count < WORDS:
        parts.append(known[int(rng.integers(len(known)))])
        count += len(parts[-1].split())
    return " ".join(parts)


def corpus(number: int, *, seed: int = 7) -> Corpus:
    """`number` chunks in documents of PARTS; about half of them let in `group:staff`, and a few deny `user:ben`."""
    rng = np.random.default_rng(seed)
    known = sentences()
    sources = [
        SourceRecord(
            id=source_id(OWNER, name), source=name, owner=OWNER, created=1.0, acl=Acl(allow=frozenset({OWNER}))
        )
        for name in SOURCES
    ]
    documents = [_document(rng, place, sources[place % len(sources)]) for place in range(-(-number // PARTS))]
    chunks = [_chunk(documents[place // PARTS], place % PARTS, passage(rng, known)) for place in range(number)]
    return Corpus(chunks, unit_rows(rng, number), documents, sources)


def _document(rng: np.random.Generator, place: int, source: SourceRecord) -> DocumentRecord:
    name = f"{source.source}/notes/{place:05}.md"
    group = "group:staff" if rng.random() < 0.5 else "group:hr"
    acl = Acl(allow=frozenset({OWNER, group}), deny=frozenset({"user:ben"} if rng.random() < 0.05 else ()))
    return DocumentRecord(
        id=document_id(source.id, name),
        document=name,
        source_id=source.id,
        source=source.source,
        owner=OWNER,
        type="markdown",
        title=f"Notes {place:05}",
        revision="f3b1c2d4e5f6-0123456789abcdef0123",
        content_hash=f"{place:064x}",
        bytes=9000 + place,
        mtime_ns=1_767_225_600_000_000_000 + place,
        modified=1_767_225_600.0 + place,
        chunks=PARTS,
        gaps="\n\n" * PARTS,
        tags={"team": "red"},
        acl=acl,
        rules=acl,
        trail=(".ragacl.toml rule 1",),
    )


def _chunk(record: DocumentRecord, ordinal: int, text: str) -> Chunk:
    return Chunk(
        id=chunk_id(record.id, record.revision, ordinal),
        document_id=record.id,
        document=record.document,
        source_id=record.source_id,
        source=record.source,
        owner=record.owner,
        revision=record.revision,
        ordinal=ordinal,
        live=True,
        type=record.type,
        title=record.title,
        section=("Procedures", "What to do"),
        pages=None,
        lines=(ordinal * 12 + 1, ordinal * 12 + 11),
        start=ordinal * 1000,
        end=ordinal * 1000 + len(text),
        text=text,
        header=f"{record.title} > Procedures > What to do",
        tags=record.tags,
        modified=record.modified,
        acl=record.acl,
    )
