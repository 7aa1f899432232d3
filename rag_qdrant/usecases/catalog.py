"""What is in the index, as the viewer may know it: sources, documents, one document or passage, and removal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag_qdrant.domain.documents import Chunk, DocumentRecord, SourceRecord, text_of
from rag_qdrant.domain.filters import ALL, Filter, In
from rag_qdrant.errors import NothingFound, StateConflict, UsageError
from rag_qdrant.usecases.removal import take_out
from rag_qdrant.usecases.share import managed
from rag_qdrant.view import View


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One source; `failed` and `synced` are known to its owner and the administrator alone."""

    source: str
    owner: str | None
    documents: int
    chunks: int
    failed: int | None
    synced: float | None


def sources(view: View) -> list[SourceRow]:
    """The sources with anything that the viewer may read, and those that the viewer owns."""
    rows: dict[str, SourceRow] = {}
    for source in view.sources():
        failed = sum(record.reason is not None for record in view.ledger(In("source_id", (source.id,))))
        rows[source.id] = SourceRow(
            source=source.source, owner=source.owner, documents=0, chunks=0, failed=failed, synced=source.synced
        )
    for record in view.documents():
        row = rows.get(record.source_id) or SourceRow(
            source=record.source, owner=record.owner, documents=0, chunks=0, failed=None, synced=None
        )
        rows[record.source_id] = replace(row, documents=row.documents + 1, chunks=row.chunks + record.chunks)
    return sorted(rows.values(), key=lambda row: (row.source, row.owner or ""))


def documents(view: View, where: Filter = ALL, *, failed: bool = False) -> list[DocumentRecord]:
    """The documents that the viewer may read, and the state of those that the viewer manages.

    Of one that is managed but not readable nothing is told that its text says; of one that is read but not managed
    nothing that only its owner needs.
    """
    mine = {record.id: record for record in view.ledger(where) if record.state != "gone"}
    found = {record.id: replace(record, state="ready", reason=None) for record in view.documents(where)}
    for record_id, record in mine.items():
        readable = found.get(record_id)
        unread = replace(
            record, title="", tags={name: v for name, v in record.tags.items() if name not in record.own_tags}
        )
        found[record_id] = record if readable else unread
    rows = [record for record in found.values() if not failed or record.reason is not None]
    return sorted(rows, key=lambda record: (record.document, record.id))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A document, or a passage with its neighbours, as text with its exact place."""

    record: DocumentRecord
    text: str
    start: int
    chunk: Chunk | None


def show(view: View, name: str, *, around: int = 1) -> Shown:
    """A document by its name or id, or a passage by its id with `around` neighbours on each side.

    Unknown and forbidden are the same NothingFound.
    """
    records = list(view.documents(In("document", (name,)))) or list(view.documents(In("document_id", (name,))))
    if len(records) > 1:
        raise UsageError(f"{len(records)} documents are called {name!r}: show one by its id, from documents --json")
    if records:
        chunks = [chunk for chunk, _ in view.chunks(In("document_id", (records[0].id,)))]
        return Shown(record=records[0], text=text_of(records[0], chunks), start=0, chunk=None)
    for chunk, _ in view.chunks(In("id", (name,))):
        record = next(iter(view.documents(In("document_id", (chunk.document_id,)))), None)
        if record is not None:
            return _passage(view, record, chunk, around)
    raise NothingFound(f"no document or passage {name!r}")


def _passage(view: View, record: DocumentRecord, chunk: Chunk, around: int) -> Shown:
    siblings = sorted(
        (each for each, _ in view.chunks(In("document_id", (chunk.document_id,)))), key=lambda each: each.ordinal
    )
    near = [each for each in siblings if abs(each.ordinal - chunk.ordinal) <= around]
    whole = text_of(record, siblings)
    start = min(each.start for each in near)
    return Shown(record=record, text=whole[start : max(each.end for each in near)], start=start, chunk=chunk)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What was removed."""

    documents: int
    chunks: int


def to_remove(view: View, targets: Sequence[str]) -> list[DocumentRecord]:
    """The documents that targets name (names, ids, globs, `source:NAME`), for the question before `remove`."""
    found: dict[str, DocumentRecord] = {}
    for target in targets:
        source = _source(view, target)
        records = managed(view, target) if source is None else list(view.ledger(In("source_id", (source.id,))))
        found |= {record.id: record for record in records if record.state != "gone"}
    return list(found.values())


def _source(view: View, target: str) -> SourceRecord | None:
    if not target.startswith("source:"):
        return None
    found = list(view.sources(In("source", (target.removeprefix("source:"),))))
    if not found:
        raise NothingFound(
            f"no source {target.removeprefix('source:')!r} that you manage; rag-qdrant sources lists them"
        )
    if len(found) > 1:
        raise UsageError("several sources have this name: act as one owner with --as")
    return found[0]


def remove(view: View, targets: Sequence[str]) -> Removed:
    """Take documents out of the index; a whole source goes with its own record and all that it remembered."""
    records = to_remove(view, targets)
    chunks = view.count_managed("chunk", In("document_id", tuple(record.id for record in records)))
    sources = [source for source in (_source(view, target) for target in targets) if source is not None]
    take_out(view, records)
    for source in sources:
        view.delete(In("source_id", (source.id,)))
        view.delete(In("id", (source.id,)))
    view.flush()
    return Removed(documents=len(records), chunks=chunks)


def purge(view: View) -> None:
    """Rebuild the storage, so that nothing removed stays on the disk; the administrator's alone."""
    if not view.is_administrator:
        raise UsageError("purge rebuilds the whole index: leave --as out")
    busy = [source for source in view.sources() if source.lease]
    if busy:
        raise StateConflict(f"source {busy[0].source!r} is being synced: purge when that is done")
    view.index.purge()
