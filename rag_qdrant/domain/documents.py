"""What is stored: chunks, the records of documents and sources, and how their ids are drawn."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from rag_qdrant.domain.access import NOBODY, Acl, Overrides

SCHEMA = 1
"""The version of the stored layout; an index of another version is refused."""

_NAMESPACE = uuid.UUID("8f0a2f0e-4b8c-5a37-9d53-5b8f7b1f6c10")

Kind = Literal["chunk", "document", "source"]
BlockKind = Literal["text", "heading", "list", "code", "table", "page"]
State = Literal["pending", "ready", "failed", "gone"]
"""`gone` is what stays of a removed document that somebody had shared or unshared: its overrides, and no text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A stretch of extracted text, in code points, that belongs together; `level` is a heading's, from 1."""

    start: int
    end: int
    kind: BlockKind = "text"
    level: int = 0


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What a reader took from one file: the text, its blocks in order, and what the file says of itself."""

    text: str
    type: str
    blocks: tuple[Block, ...]
    pages: tuple[int, ...] = ()
    """Where each page starts, in code points; empty where the format has no pages."""
    title: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    """Readers that the document names for itself; they count only where the rules trust it."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One passage: `text == extracted[start:end]`, in code points; `header` is embedded and indexed before it."""

    id: str
    document_id: str
    document: str
    source_id: str
    source: str
    owner: str | None
    revision: str
    ordinal: int
    live: bool
    type: str
    title: str
    section: tuple[str, ...]
    pages: tuple[int, int] | None
    lines: tuple[int, int] | None
    start: int
    end: int
    text: str
    header: str
    tags: Mapping[str, str]
    modified: float
    acl: Acl
    access: int = 0
    """Counts the changes of readers: a change computed from an older count is refused."""

    @property
    def indexed_text(self) -> str:
        """What the embedder and the keyword index are given."""
        return f"{self.header}\n{self.text}" if self.header else self.text


@dataclass(frozen=True, kw_only=True)
class DocumentRecord:
    """The ledger's line for one file: what a sync must know, and how its readers came about."""

    id: str
    document: str
    source_id: str
    source: str
    owner: str | None
    type: str = ""
    title: str = ""
    state: State = "ready"
    reason: str | None = None
    revision: str = ""
    content_hash: str = ""
    bytes: int = 0
    mtime_ns: int = 0
    modified: float = 0.0
    chunks: int = 0
    gaps: str = ""
    """The white space between the chunks, joined: with them it gives the extracted text back."""
    pages: tuple[int, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    own_tags: Mapping[str, str] = field(default_factory=dict)
    """The tags that the file itself gives; `tags` adds those of the sync."""
    embedded_allow: tuple[str, ...] = ()
    acl: Acl = NOBODY
    access: int = 0
    rules: Acl = NOBODY
    trail: tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """What is known of a source: who owns it, where it comes from, and who is syncing it now."""

    id: str
    source: str
    owner: str | None
    created: float
    synced: float | None = None
    roots: Mapping[str, str] = field(default_factory=dict)
    """The first part of its documents' names, to `host:path` of the folder that was synced last."""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    """What `--allow`, `--deny` and `--tag` said last: a sync without them keeps it."""
    lease: str = ""
    leased: float = 0.0
    acl: Acl = NOBODY


Point = Chunk | DocumentRecord | SourceRecord


@dataclass(frozen=True, kw_only=True)
class IndexMeta:
    """What a collection says of itself; another embedder or schema is refused."""

    embedder: str
    fingerprint: str
    dim: int
    language: str = "english"
    average_length: float = 100.0
    """BM25's average length in terms: a constant of the configuration, so that no hidden text moves a score."""
    schema: int = SCHEMA


def source_id(owner: str | None, name: str, number: int = 0) -> str:
    """A source's id, from its owner at creation and its name; `number` tells it from an earlier one of both."""
    return _id("source", owner or "", name, *([str(number)] if number else []))


def document_id(source: str, document: str) -> str:
    """A document's id, from its source's id and its name; never from its content, which two readers may share."""
    return _id("document", source, document)


def chunk_id(document: str, revision: str, ordinal: int) -> str:
    """A chunk's id, from its document's id, its revision and its place."""
    return _id("chunk", document, revision, str(ordinal))


def revision(*parts: str) -> str:
    """The hash of all that a document's chunks and vectors depend on: content, chunker, title, embedder."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


def title_from_name(document: str) -> str:
    """A title from a file's name, with its parts told apart.

    >>> title_from_name("filings/COSTCO_2023_8K_dated-2023-01-19.pdf")
    'COSTCO 2023 8K dated 2023-01-19'
    >>> title_from_name("AnnualReport2022.pdf")
    'Annual Report 2022'
    """
    stem = PurePosixPath(document).stem.replace("_", " ")
    stem = re.sub(r"(?<=[^\W\d])-|-(?=[^\W\d])", " ", stem)
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[a-z]{2})(?=\d)", " ", stem)
    return " ".join(stem.split()) or document


def text_of(record: DocumentRecord, chunks: Iterable[Chunk]) -> str:
    """The whole extracted text again, from a document's chunks and the white space between them."""
    parts: list[str] = []
    position = taken = 0
    for chunk in sorted(chunks, key=lambda each: each.start):
        if chunk.end <= position:
            continue
        gap = max(chunk.start - position, 0)
        parts.append(record.gaps[taken : taken + gap])
        taken += gap
        parts.append(chunk.text[max(position - chunk.start, 0) :])
        position = chunk.end
    parts.append(record.gaps[taken:])
    return "".join(parts)


def gaps_between(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """What `text_of` needs beside the chunks: the text outside the spans, joined."""
    parts: list[str] = []
    position = 0
    for start, end in sorted(spans):
        parts.append(text[position:start])
        position = max(position, end)
    parts.append(text[position:])
    return "".join(parts)
