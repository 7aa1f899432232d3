"""Files to live chunks, in groups: read ahead, embed, write unlive, make live, and only then let the old ones go."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import PurePosixPath

import numpy as np

from rag_qdrant.domain.access import Acl, Overrides, principals
from rag_qdrant.domain.chunking import VERSION, passages
from rag_qdrant.domain.documents import (
    Chunk,
    DocumentRecord,
    Extracted,
    chunk_id,
    document_id,
    gaps_between,
    revision,
    title_from_name,
)
from rag_qdrant.domain.filters import And, In, Not, Range
from rag_qdrant.domain.retrieval import Matrix, Vector
from rag_qdrant.errors import UsageError
from rag_qdrant.ports import Embedder, Extractor, FileRead, FileToRead, ReadOptions
from rag_qdrant.usecases.ingest.plan import FileTask, IngestRequest, Plan, readers_of, with_embedded
from rag_qdrant.usecases.ingest.sources import renew
from rag_qdrant.usecases.ingest.work import Outcome, Progress, Work
from rag_qdrant.usecases.readers import set_readers
from rag_qdrant.view import View

GROUP_CHUNKS = 64
"""Documents are committed together once they make so many chunks, or after FLUSH_S."""
SLICE = 64
"""Chunks embedded and written at a time, within a large document too."""
FLUSH_S = 2.0


def current_revision(embedder: Embedder) -> str:
    """What the revisions of chunks made now start with: chunker, limit and embedder."""
    return revision(VERSION, str(embedder.max_tokens), embedder.fingerprint)[:12]


class Pipeline:
    """Takes the tasks of a plan through; `dry` reads and counts but writes nothing."""

    def __init__(
        self,
        view: View,
        plan: Plan,
        request: IngestRequest,
        *,
        embedder: Embedder,
        extractor: Extractor,
        progress: Progress,
    ) -> None:
        self.outcome = Outcome(failed=[], warnings=[], changes=[])
        self._view = view
        self._plan = plan
        self._request = request
        self._embedder = embedder
        self._extractor = extractor
        self._progress = progress
        self._revision = current_revision(embedder)
        self._away: dict[str, list[DocumentRecord]] = {}
        overrides: dict[str, list[Overrides]] = {}
        removed = {record.id for record in plan.removed}
        for record in plan.ledger:
            if record.id in removed:
                self._away.setdefault(record.content_hash, []).append(record)
                overrides.setdefault(record.content_hash, []).append(record.overrides)
            elif record.overrides.unshared:
                # Its text may come, or stay, at another place: whom it was taken from stays out of it there too.
                taken = Overrides(unshared=record.overrides.unshared)
                overrides.setdefault(record.content_hash, []).append(taken)
        self._overrides = {name: reduce(Overrides.merged, each) for name, each in overrides.items() if name}
        self._flushed = time.monotonic()

    def run(self) -> dict[str, str]:
        """Bring every file in; the removed documents that were found again, to what they are now, by id."""
        group: list[Work] = []
        moved: dict[str, str] = {}
        for work in self._prepared():
            if work.moved_from is not None:
                moved[work.moved_from.id] = work.record.id
            group.append(work)
            if sum(len(each.chunks) for each in group) >= GROUP_CHUNKS or self._due():
                self._commit(group)
                group = []
        self._commit(group)
        return moved

    def _due(self) -> bool:
        return time.monotonic() - self._flushed > FLUSH_S

    def _prepared(self) -> Iterator[Work]:
        tasks = {task.file.path: task for task in self._plan.tasks}
        files = (self._to_read(task) for task in self._plan.tasks)
        for read in self._extractor.extract(files):
            task = tasks[read.file.path]
            work = self._work(task, read)
            if work is not None:
                yield work
            self._progress.advance(task.file.bytes, task.file.document)

    def _to_read(self, task: FileTask) -> FileToRead:
        record = task.record
        current = record is not None and record.state == "ready" and record.revision.startswith(self._revision)
        # One that failed is read whatever its hash: it may be what it was before it broke.
        known = record.content_hash if record is not None and current and not record.reason else None
        options = ReadOptions(name=task.file.document, encoding=self._request.encoding)
        return FileToRead(path=task.file.path, root=task.tree.root, options=options, known_hash=known)

    def _work(self, task: FileTask, read: FileRead) -> Work | None:
        if read.error is not None:
            self._fail(task, read, read.error)
            return None
        if read.extracted is None:
            # Only the time differs: the content is the known one, and nothing is written of it.
            self.outcome.touched += 1
            return None
        try:
            embedded = tuple(sorted(principals(read.extracted.allow)))
        except UsageError as error:
            if task.decision.trust_embedded:
                self._fail(task, read, f"its front matter: {error}")
                return None
            embedded = ()
        try:
            return self._chunked(task, read, read.extracted, embedded)
        except UsageError as error:
            self._fail(task, read, str(error))
            return None

    def _fail(self, task: FileTask, read: FileRead, reason: str) -> None:
        """Keep the reason; what is stored of the document stays, unless the file says nothing any more."""
        self.outcome.failed.append((task.file.document, reason))
        if self._request.dry_run:
            return
        stat = {"bytes": task.file.bytes, "mtime_ns": task.file.mtime_ns, "content_hash": read.content_hash}
        if task.record is None:
            record = self._record(task, None, read)
            self._view.put([replace(record, state="failed", reason=reason, revision="", chunks=0, gaps="")])
            return
        this = In("document_id", (task.record.id,))
        if task.record.revision and read.bytes:
            # The stored content stays as it was, and so does the hash that it had.
            del stat["content_hash"]
            self._view.patch("document", this, {**stat, "reason": reason})
            return
        # Its text first: cut off here, the file still differs from the record, and is read again. And never the whole
        # record: its readers may have been changed meanwhile.
        self._view.delete(And((In("kind", ("chunk",)), this)))
        if task.record.state == "gone":
            del stat["content_hash"]
        source = self._plan.source
        empty = {"state": "failed", "reason": reason, "revision": "", "chunks": 0, "gaps": "", "pages": ()}
        plain = {"type": "", "title": title_from_name(task.file.document), "tags": source.tags, "own_tags": {}}
        self._view.patch("document", this, {**stat, **empty, **plain, "warnings": ()})

    def _record(self, task: FileTask, extracted: Extracted | None, read: FileRead) -> DocumentRecord:
        source, file = self._plan.source, task.file
        own_tags = dict(extracted.tags) if extracted else {}
        base = task.record or DocumentRecord(
            id=document_id(source.id, file.document),
            document=file.document,
            source_id=source.id,
            source=source.source,
            owner=source.owner,
        )
        acl, _ = readers_of(base, task.decision)
        return replace(
            base,
            type=extracted.type if extracted else base.type,
            title=(extracted.title if extracted else None) or title_from_name(file.document),
            content_hash=read.content_hash,
            bytes=file.bytes,
            mtime_ns=file.mtime_ns,
            modified=file.mtime_ns / 1e9,
            tags={**own_tags, **source.tags},
            own_tags=own_tags,
            acl=base.acl if task.record else acl,
            rules=with_embedded(task.decision, base.embedded_allow),
            trail=task.decision.trail,
            reason=None,
            warnings=extracted.warnings if extracted else (),
            pages=extracted.pages if extracted else (),
        )

    def _chunked(self, task: FileTask, read: FileRead, extracted: Extracted, embedded: tuple[str, ...]) -> Work:
        record = replace(self._record(task, extracted, read), embedded_allow=embedded)
        inherited = self._overrides.get(read.content_hash, Overrides())
        moved = self._origin(task, read) if task.is_new else None
        overrides = inherited if task.record is None else record.overrides
        rules = with_embedded(task.decision, embedded)
        full = self._full_revision(record, read)
        acl = overrides.apply(rules) if task.record is None else record.acl
        record = replace(record, overrides=overrides, rules=rules, acl=acl, revision=full, state="ready")
        cut = passages(
            extracted, record.title, max_tokens=self._embedder.max_tokens, count_tokens=self._embedder.count_tokens
        )
        spans = [(each.start, each.end) for each in cut]
        record = replace(record, chunks=len(cut), gaps=gaps_between(extracted.text, spans))
        chunks = [
            Chunk(
                id=chunk_id(record.id, full, ordinal),
                document_id=record.id,
                document=record.document,
                source_id=record.source_id,
                source=record.source,
                owner=record.owner,
                revision=full,
                ordinal=ordinal,
                live=False,
                type=record.type,
                title=record.title,
                section=each.section,
                pages=each.pages,
                lines=each.lines,
                start=each.start,
                end=each.end,
                text=extracted.text[each.start : each.end],
                header=each.header,
                tags=record.tags,
                modified=record.modified,
                acl=record.acl,
                access=record.access,
            )
            for ordinal, each in enumerate(cut)
        ]
        self.outcome.warnings.extend((record.document, warning) for warning in extracted.warnings)
        vectors = self._moved_vectors(moved, record, read, len(chunks)) if moved else None
        return Work(task=task, record=record, chunks=chunks, vectors=vectors, moved_from=moved, put_out=inherited)

    def _origin(self, task: FileTask, read: FileRead) -> DocumentRecord | None:
        """The removed document that a new file was, by its content; of several the one of its name, if there is one."""
        candidates = self._away.get(read.content_hash, [])
        if not candidates:
            return None
        name = PurePosixPath(task.file.document).name
        found = min(candidates, key=lambda record: PurePosixPath(record.document).name != name)
        candidates.remove(found)
        return found

    def _full_revision(self, record: DocumentRecord, read: FileRead) -> str:
        """The revision of one document: with its id, because another may have held the same text before."""
        parts = (record.id, read.content_hash, record.title, self._request.encoding or "")
        return f"{self._revision}-{revision(*parts)[:20]}"

    def _moved_vectors(
        self, moved: DocumentRecord, record: DocumentRecord, read: FileRead, number: int
    ) -> Matrix | None:
        """The vectors of the document at its old place; None if its text was embedded under another title."""
        if moved.revision != self._full_revision(replace(record, id=moved.id), read):
            return None
        condition = And((In("document_id", (moved.id,)), In("revision", (moved.revision,))))
        found: dict[int, Vector] = {
            chunk.ordinal: vectors["dense"] for chunk, vectors in self._view.managed_vectors(condition) if vectors
        }
        return np.stack([found[i] for i in range(number)]) if set(found) == set(range(number)) and found else None

    def _commit(self, group: Sequence[Work]) -> None:
        """Make a group of documents findable: unfinished until all of it is written, then all at once."""
        for work in group:
            change = "moved" if work.moved_from else "added" if work.task.is_new else "updated"
            self.outcome.changes.append((change, work.record.document))
        if not group or self._request.dry_run:
            return
        self._tighten(group)
        self._begin(group)
        self._write(group)
        group = self._settled(group)
        ids = tuple(work.record.id for work in group)
        revisions = tuple(work.record.revision for work in group)
        chunk, these = In("kind", ("chunk",)), In("document_id", ids)
        self._view.patch("chunk", In("revision", revisions), {"live": 1})
        if any(work.task.record for work in group):
            self._view.delete(And((chunk, these, Not(In("revision", revisions)))))
        # Before the record says that all is done.
        self._let_in(group)
        for work in group:
            self._view.patch("document", In("document_id", (work.record.id,)), _content(work.record))
        renew(self._view, self._plan.source)
        if self._due():
            self._view.flush()
            self._flushed = time.monotonic()

    def _begin(self, group: Sequence[Work]) -> None:
        """Record what is under way: a crash from here on is seen and repaired by the next sync."""
        self._view.put(
            [
                replace(work.record, state="pending", revision="", chunks=0, gaps="")
                for work in group
                if work.task.record is None
            ]
        )
        known = tuple(work.record.id for work in group if work.task.record is not None)
        if known:
            self._view.patch("document", In("document_id", known), {"state": "pending"})

    def _write(self, group: Sequence[Work]) -> None:
        chunks = [(chunk, work, place) for work in group for place, chunk in enumerate(work.chunks)]
        for start in range(0, len(chunks), SLICE):
            part = chunks[start : start + SLICE]
            began = time.monotonic()
            missing = [chunk.indexed_text for chunk, work, _ in part if work.vectors is None]
            made = iter(self._embedder.embed(missing, role="document")) if missing else iter(())
            rows = [work.vectors[place] if work.vectors is not None else next(made) for _, work, place in part]
            embedded = time.monotonic()
            self._view.put([chunk for chunk, _, _ in part], {"dense": np.stack(rows)})
            self._progress.embedded(part[-1][0].document, start + len(part), len(chunks))
            self.outcome.embedded += len(missing)
            self.outcome.seconds_embed += embedded - began
            self.outcome.seconds_write += time.monotonic() - embedded

    def _settled(self, group: Sequence[Work]) -> list[Work]:
        """Give the new chunks the readers that their records have by now: somebody may have shared meanwhile.

        Who shares from here on finds the chunks, and changes them too. A document that was removed meanwhile stays
        away: the rest of the group is returned.
        """
        given = {work.record.id: work.record.access for work in group}
        while True:
            stored = {record.id: record for record in self._view.ledger(In("document_id", tuple(given)))}
            late = [record for record in stored.values() if record.access != given[record.id]]
            for record in late:
                older = And((In("document_id", (record.id,)), Range(field="access", lt=record.access)))
                self._view.patch("chunk", older, {"acl": record.acl, "access": record.access})
                given[record.id] = record.access
            if not late:
                break
        lost = tuple(name for name in given if name not in stored or stored[name].state == "gone")
        if lost:
            self._view.delete(And((In("kind", ("chunk",)), In("document_id", lost))))
        return [work for work in group if work.record.id not in lost]

    def _tighten(self, group: Sequence[Work]) -> None:
        """Put out of the stored documents whom the new content puts out, before it comes."""
        for work in group:
            if work.task.record is None or not (work.names_readers_anew or work.put_out.unshared):
                continue
            both = sorted(set(work.record.embedded_allow) & set(work.task.record.embedded_allow))
            self._set_readers(work, tuple(both))

    def _let_in(self, group: Sequence[Work]) -> None:
        """Let in whom the new content lets in, now that it is there."""
        for work in group:
            if work.names_readers_anew:
                self._set_readers(work, work.record.embedded_allow)

    def _set_readers(self, work: Work, embedded: tuple[str, ...]) -> None:
        rules = with_embedded(work.task.decision, embedded)

        def wanted(record: DocumentRecord) -> tuple[Acl, dict[str, object]]:
            overrides = record.overrides.tightened(work.put_out)
            account = {"rules": rules, "overrides": overrides, "embedded_allow": embedded}
            return overrides.apply(rules), account

        set_readers(self._view, self._view.ledger(In("document_id", (work.record.id,))), wanted)


_CONTENT = (
    "type", "title", "state", "reason", "revision", "content_hash", "bytes", "mtime_ns", "modified", "chunks", "gaps",
    "pages", "tags", "own_tags", "warnings",
)  # fmt: skip
"""What a sync writes of a record that is there: never its readers, which others change meanwhile."""


def _content(record: DocumentRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in _CONTENT}
