"""Files into the index, as a sync: readers first, then what went, then what is new or changed."""

import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from rag_qdrant.domain.documents import DocumentRecord, SourceRecord
from rag_qdrant.domain.filters import And, In
from rag_qdrant.domain.rules import root_rule
from rag_qdrant.errors import UsageError
from rag_qdrant.ports import Embedder, Extractor, Tree
from rag_qdrant.usecases.ingest.pipeline import Pipeline, current_revision
from rag_qdrant.usecases.ingest.plan import IngestRequest, Plan, check_whole, checked_tags, make_plan, readers_of
from rag_qdrant.usecases.ingest.sources import default_owner, find_source, leased, note, owner_acl
from rag_qdrant.usecases.ingest.work import Progress
from rag_qdrant.usecases.readers import Change, put_out, set_readers
from rag_qdrant.usecases.removal import take_out
from rag_qdrant.view import View

__all__ = ["IngestReport", "IngestRequest", "Progress", "Silent", "default_owner", "ingest"]


_TOLD = ("owner", "acl", "allow", "deny", "tags")
"""What a sync tells a source about itself."""


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What a sync did, and who can read what is in the source now."""

    source: str
    added: int
    updated: int
    unchanged: int
    moved: int
    removed: int
    failed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    changes: tuple[tuple[str, str], ...]
    """What happened to which document: added, updated, moved, removed."""
    warnings: tuple[tuple[str, str], ...]
    documents: int
    chunks: int
    embedded: int
    readers_changed: int
    readers: Mapping[str, int] = field(default_factory=dict)
    """For each principal, how many documents let it in."""
    unreadable: int = 0
    """How many documents nobody can read."""
    seconds: Mapping[str, float] = field(default_factory=dict)


def ingest(
    view: View,
    trees: Sequence[Tree],
    request: IngestRequest,
    *,
    embedder: Embedder,
    extractor: Extractor,
    progress: Progress,
) -> IngestReport:
    """Bring a source up to date with folders and files.

    A kill at any moment loses no document that was finished and leaves none half; the next sync repairs the rest.
    Raises StateConflict for another folder of the same name or for too many removals, IndexBusy while somebody else
    syncs the source.
    """
    began = time.monotonic()
    names = [tree.name for tree in trees]
    if len(set(names)) < len(names):
        raise UsageError(f"two of the paths are called {max(names, key=names.count)!r}: ingest them as two sources")
    owner = request.owner or request.default_owner
    source = find_source(view, request.source or names[0], owner, now=time.time())
    told = _told(source, request)
    if not view.manages(told.owner):
        raise UsageError(f"only an administrator gives a source to somebody else: leave --owner {told.owner} out")
    with nullcontext(source) if request.dry_run else leased(view, told) as held:
        plan = make_plan(view, _told(held, request), trees, request, current_revision(embedder))
        check_whole(plan, held)
        planned = time.monotonic()
        progress.start(len(plan.tasks), sum(task.file.bytes for task in plan.tasks))
        pipeline = Pipeline(view, plan, request, embedder=embedder, extractor=extractor, progress=progress)
        if request.dry_run:
            moved = pipeline.run()
            return _report(view, plan, pipeline, Change(), {"plan": planned - began}, moved)
        # Before anything else: a sync that is cut off must not forget whom it was told to keep out.
        note(view, plan.source, {name: getattr(plan.source, name) for name in _TOLD})
        if plan.tasks:
            view.index.linger()
        if plan.gone:
            # What a kill left of them.
            gone = In("document_id", tuple(record.id for record in plan.gone))
            view.delete(And((In("kind", ("chunk",)), gone)))
        changed = _readers(view, plan)
        _hide(view, plan)
        take_out(view, [record for record in plan.removed if not _may_have_moved(record, plan)])
        moved = pipeline.run()
        _take_out_moved(view, plan, moved)
        _synced(view, plan, trees)
        view.flush()
        seconds = {"plan": planned - began, "total": time.monotonic() - began}
        return _report(view, plan, pipeline, changed, seconds, moved)


class Silent:
    """A Progress that tells nobody."""

    def start(self, files: int, size: int) -> None:
        """Nothing is said."""

    def advance(self, size: int, document: str) -> None:
        """Nothing is said."""

    def embedded(self, document: str, done: int, passages: int) -> None:
        """Nothing is said."""

    def close(self) -> None:
        """Nothing is said."""


def _told(source: SourceRecord, request: IngestRequest) -> SourceRecord:
    """The source with what was said this time; what was not said stays."""
    told = replace(
        source,
        owner=request.owner or source.owner,
        allow=source.allow if request.allow is None else request.allow,
        deny=source.deny if request.deny is None else request.deny,
        tags=source.tags if request.tags is None else checked_tags(request.tags),
    )
    root_rule(told.allow, told.deny)  # refuses a bad principal before anything is stored
    return replace(told, acl=owner_acl(told.owner))


def _readers(view: View, plan: Plan) -> Change:
    """Changed rules, owners and tags of what is stored, before any content: revocations first."""
    source = plan.source
    if any(record.owner != source.owner for record in plan.ledger):
        view.patch(None, In("source_id", (source.id,)), {"owner": source.owner})
    for record in plan.looked_at:
        tags = {**record.own_tags, **source.tags}
        if tags != dict(record.tags):
            view.patch(None, In("document_id", (record.id,)), {"tags": tags})
    return set_readers(view, plan.looked_at, lambda record: readers_of(record, plan.decisions[record.id]))


def _may_have_moved(record: DocumentRecord, plan: Plan) -> bool:
    return any(task.file.bytes == record.bytes for task in plan.tasks)


def _hide(view: View, plan: Plan) -> None:
    """Take what is gone out of sight at once; its vectors stay until it is known whether it only moved."""
    waiting = tuple(record.id for record in plan.removed if _may_have_moved(record, plan))
    if waiting:
        view.patch("chunk", In("document_id", waiting), {"live": 0})
        view.patch("document", In("document_id", waiting), {"state": "pending"})


def _take_out_moved(view: View, plan: Plan, moved: Mapping[str, str]) -> None:
    """Remove what was hidden; who was put out of it meanwhile is put out of it at its new place too."""
    ids = tuple(record.id for record in plan.removed if _may_have_moved(record, plan))
    if not ids:
        return
    for record in list(view.ledger(In("document_id", ids))):
        if record.id in moved and record.overrides.unshared:
            put_out(view, view.ledger(In("document_id", (moved[record.id],))), record.overrides)
    take_out(view, list(view.ledger(In("document_id", ids))))


def _synced(view: View, plan: Plan, trees: Sequence[Tree]) -> None:
    source = plan.source
    roots = {**source.roots, **{tree.name: f"{socket.gethostname()}:{tree.root}" for tree in trees}}
    note(view, source, {"synced": time.time(), "roots": roots})


def _report(
    view: View,
    plan: Plan,
    pipeline: Pipeline,
    changed: Change,
    seconds: dict[str, float],
    moved: Mapping[str, str],
) -> IngestReport:
    outcome = pipeline.outcome
    same = not (plan.tasks or plan.removed or changed.documents)
    stored = plan.ledger if same else tuple(view.ledger(In("source_id", (plan.source.id,))))
    listed = [record for record in stored if record.revision]
    removed = [("removed", record.document) for record in plan.removed if record.id not in moved]
    changes = sorted(outcome.changes + removed, key=lambda each: each[::-1])
    count = Counter(change for change, _ in changes)
    readers = Counter(name for record in listed for name in record.acl.allow - record.acl.deny)
    return IngestReport(
        source=plan.source.source,
        added=count["added"],
        updated=count["updated"],
        unchanged=len(plan.unchanged) + outcome.touched,
        moved=count["moved"],
        removed=count["removed"],
        changes=tuple(changes),
        failed=tuple(sorted({**dict(plan.failed), **dict(outcome.failed)}.items())),
        skipped=tuple(plan.skipped),
        warnings=tuple(outcome.warnings),
        documents=len(listed),
        chunks=sum(record.chunks for record in listed),
        embedded=outcome.embedded,
        readers_changed=changed.documents,
        readers=dict(readers),
        unreadable=sum(not record.acl.allow - record.acl.deny for record in listed),
        seconds={**seconds, "embed": outcome.seconds_embed, "write": outcome.seconds_write},
    )
