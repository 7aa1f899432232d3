"""Points to the payloads that an engine stores, and back; the layout of schema 1."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from rag_qdrant.domain.access import Acl, Overrides, acl_from_payload
from rag_qdrant.domain.documents import SCHEMA, Chunk, DocumentRecord, IndexMeta, Point, SourceRecord, State
from rag_qdrant.errors import IndexDamaged, StateConflict

Payload = dict[str, Any]

KEYWORD_FIELDS = (
    "kind",
    "acl.allow",
    "acl.deny",
    "document_id",
    "document",
    "source_id",
    "source",
    "owner",
    "type",
    "title",
    "tags",
    "state",
    "revision",
)
INTEGER_FIELDS = ("live",)
FLOAT_FIELDS = ("modified",)
TEXT_FIELDS = ("text", "header", "gaps")
"""What a document says: left out for who manages a source without reading it."""


def to_payload(point: Point) -> Payload:
    """What is stored of a point beside its id and vectors."""
    match point:
        case Chunk():
            return _chunk_payload(point)
        case DocumentRecord():
            return _document_payload(point)
        case SourceRecord():
            return _source_payload(point)


def _chunk_payload(chunk: Chunk) -> Payload:
    # Field by field: asdict copies deeply, and this runs once for every chunk of an ingest.
    return {
        "kind": "chunk",
        "live": int(chunk.live),
        "document_id": chunk.document_id,
        "document": chunk.document,
        "source_id": chunk.source_id,
        "source": chunk.source,
        "owner": chunk.owner,
        "revision": chunk.revision,
        "ordinal": chunk.ordinal,
        "type": chunk.type,
        "title": chunk.title,
        "section": list(chunk.section),
        "pages": list(chunk.pages) if chunk.pages else None,
        "lines": list(chunk.lines) if chunk.lines else None,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "header": chunk.header,
        "tags": tags_to_payload(chunk.tags),
        "modified": chunk.modified,
        "acl": chunk.acl.as_payload(),
        "access": chunk.access,
    }


def _document_payload(record: DocumentRecord) -> Payload:
    return {
        "kind": "document",
        "document_id": record.id,
        "document": record.document,
        "source_id": record.source_id,
        "source": record.source,
        "owner": record.owner,
        "type": record.type,
        "title": record.title,
        "state": record.state,
        "reason": record.reason,
        "revision": record.revision,
        "content_hash": record.content_hash,
        "bytes": record.bytes,
        "mtime_ns": record.mtime_ns,
        "modified": record.modified,
        "chunks": record.chunks,
        "gaps": record.gaps,
        "pages": list(record.pages),
        "tags": tags_to_payload(record.tags),
        "own_tags": tags_to_payload(record.own_tags),
        "embedded_allow": list(record.embedded_allow),
        "acl": record.acl.as_payload(),
        "access": record.access,
        "rules": record.rules.as_payload(),
        "trail": list(record.trail),
        "overrides": overrides_to_payload(record.overrides),
        "warnings": list(record.warnings),
    }


def _source_payload(source: SourceRecord) -> Payload:
    return {
        "kind": "source",
        "source": source.source,
        "owner": source.owner,
        "created": source.created,
        "synced": source.synced,
        "roots": dict(source.roots),
        "allow": list(source.allow),
        "deny": list(source.deny),
        "tags": tags_to_payload(source.tags),
        "lease": source.lease,
        "leased": source.leased,
        "acl": source.acl.as_payload(),
    }


def field_to_payload(name: str, value: object) -> object:
    """One field of a patch as it is stored."""
    match value:
        case Acl():
            return value.as_payload()
        case Overrides():
            return overrides_to_payload(value)
        case Mapping() if name in ("tags", "own_tags"):
            return tags_to_payload(value)
        case tuple():
            return list(value)
        case _:
            return value


def overrides_to_payload(overrides: Overrides) -> dict[str, list[str]]:
    """What is stored of the overrides."""
    return {"shared": sorted(overrides.shared), "unshared": sorted(overrides.unshared)}


def tags_to_payload(tags: Mapping[str, str]) -> list[str]:
    """Tags as one keyword list, so that one payload index serves every name."""
    return sorted(f"{name}={value}" for name, value in tags.items())


def from_payload(point_id: str, payload: Mapping[str, Any]) -> Point:
    """The point again; a payload of another layout is IndexDamaged."""
    try:
        match payload["kind"]:
            case "chunk":
                return _chunk(point_id, payload)
            case "document":
                return _document(point_id, payload)
            case "source":
                return _source(point_id, payload)
            case other:
                raise IndexDamaged(f"a point of kind {other!r} in the collection: something else wrote to it")
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"point {point_id} is not as this version writes it ({error!r}): was it edited?") from error


def _chunk(point_id: str, p: Mapping[str, Any]) -> Chunk:
    return Chunk(
        id=point_id,
        document_id=p["document_id"],
        document=p["document"],
        source_id=p["source_id"],
        source=p["source"],
        owner=p.get("owner"),
        revision=p["revision"],
        ordinal=p["ordinal"],
        live=bool(p["live"]),
        type=p["type"],
        title=p["title"],
        section=tuple(p["section"]),
        pages=_pair(p.get("pages")),
        lines=_pair(p.get("lines")),
        start=p["start"],
        end=p["end"],
        text=p.get("text", ""),
        header=p.get("header", ""),
        tags=_tags(p["tags"]),
        modified=float(p["modified"]),
        acl=acl_from_payload(p.get("acl")),
        access=p["access"],
    )


def _document(point_id: str, p: Mapping[str, Any]) -> DocumentRecord:
    overrides = p["overrides"]
    return DocumentRecord(
        id=point_id,
        document=p["document"],
        source_id=p["source_id"],
        source=p["source"],
        owner=p.get("owner"),
        type=p["type"],
        title=p["title"],
        state=cast(State, p["state"]),
        reason=p.get("reason"),
        revision=p["revision"],
        content_hash=p["content_hash"],
        bytes=p["bytes"],
        mtime_ns=p["mtime_ns"],
        modified=float(p["modified"]),
        chunks=p["chunks"],
        gaps=p.get("gaps", ""),
        pages=tuple(p["pages"]),
        tags=_tags(p["tags"]),
        own_tags=_tags(p["own_tags"]),
        embedded_allow=tuple(p["embedded_allow"]),
        acl=acl_from_payload(p.get("acl")),
        access=p["access"],
        rules=acl_from_payload(p.get("rules")),
        trail=tuple(p["trail"]),
        overrides=Overrides(shared=frozenset(overrides["shared"]), unshared=frozenset(overrides["unshared"])),
        warnings=tuple(p["warnings"]),
    )


def _source(point_id: str, p: Mapping[str, Any]) -> SourceRecord:
    return SourceRecord(
        id=point_id,
        source=p["source"],
        owner=p.get("owner"),
        created=float(p["created"]),
        synced=p.get("synced"),
        roots=dict(p["roots"]),
        allow=tuple(p["allow"]),
        deny=tuple(p["deny"]),
        tags=_tags(p["tags"]),
        lease=p["lease"],
        leased=float(p["leased"]),
        acl=acl_from_payload(p.get("acl")),
    )


def _tags(entries: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _pair(value: list[int] | None) -> tuple[int, int] | None:
    return (value[0], value[1]) if value else None


def meta_to_payload(meta: IndexMeta) -> Payload:
    """What a collection carries of itself."""
    return {"kind": "meta", **asdict(meta)}


def meta_from_payload(payload: Mapping[str, Any]) -> IndexMeta:
    """The collection's own account; another schema version is a StateConflict."""
    if payload.get("schema") != SCHEMA:
        raise StateConflict(
            f"this index has layout {payload.get('schema')!r}, this program reads {SCHEMA}: use the version that made "
            "it, or ingest into another --index"
        )
    return IndexMeta(**{name: value for name, value in payload.items() if name != "kind"})
