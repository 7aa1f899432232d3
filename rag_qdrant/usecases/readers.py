"""New readers for documents: payloads only, revocations first, and never from a stale account."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rag_qdrant.domain.access import Acl, Overrides
from rag_qdrant.domain.documents import DocumentRecord
from rag_qdrant.domain.filters import And, In, Range
from rag_qdrant.errors import AccessNotApplied
from rag_qdrant.view import View

_ATTEMPTS = 5
_AT_ONCE = 500

Fields = Mapping[str, object]
Wanted = Callable[[DocumentRecord], tuple[Acl, Fields]]
"""The readers that a document should have, and the account of them in its record, from what is stored now."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was changed: documents, and the chunks that belong to them."""

    documents: int = 0
    chunks: int = 0


def set_readers(view: View, records: Iterable[DocumentRecord], wanted: Wanted) -> Change:
    """Give documents the readers that `wanted` says, chunks and record in one step; payloads only.

    Another process may change readers meanwhile: each change names the count it was computed from, and one that came
    too late is computed anew from what is stored then. The account goes first, so that a kill before the readers
    follow leaves a difference that the next sync or share sees and settles. `wanted` must give the same for what it
    has given already. Raises AccessNotApplied if it does not settle.
    """
    pending = list(records)
    documents = chunks = 0
    for _ in range(_ATTEMPTS):
        groups: dict[tuple[Acl, int], list[DocumentRecord]] = {}
        for record in pending:
            if not _is_so(record, wanted):
                groups.setdefault((wanted(record)[0], record.access), []).append(record)
        pending = []
        for (acl, access), members in sorted(groups.items(), key=lambda each: _widening(each[0][0], each[1])):
            for start in range(0, len(members), _AT_ONCE):
                part = members[start : start + _AT_ONCE]
                changed, late = _apply(view, part, acl, access, wanted)
                documents += len(part) - len(late)
                chunks += changed
                pending.extend(late)
        if not pending:
            return Change(documents=documents, chunks=chunks)
    raise AccessNotApplied(f"the readers of {pending[0].document} are being changed by somebody else: try again")


def _is_so(record: DocumentRecord, wanted: Wanted) -> bool:
    acl, fields = wanted(record)
    return acl == record.acl and all(getattr(record, name) == value for name, value in fields.items())


def put_out(view: View, records: Iterable[DocumentRecord], overrides: Overrides) -> Change:
    """Put out of documents whom the overrides of another put out: what was unshared goes with its text."""

    def wanted(record: DocumentRecord) -> tuple[Acl, Fields]:
        tight = record.overrides.tightened(overrides)
        return tight.apply(record.rules), {"overrides": tight}

    return set_readers(view, records, wanted)


def _apply(
    view: View, members: list[DocumentRecord], acl: Acl, access: int, wanted: Wanted
) -> tuple[int, list[DocumentRecord]]:
    """Change one group; the chunks changed, and the documents that had moved on, as they are now."""
    ids = tuple(record.id for record in members)
    accounted = 0
    for fields, alike in _alike((record, wanted(record)[1]) for record in members):
        accounted += view.patch("document", _exactly(*alike), {**fields, "access": access + 1})
    changed, wanting = 0, 0
    if any(record.acl != acl for record in members):
        won = members
        if accounted < len(members):
            stored = view.ledger(In("document_id", ids))
            won = [record for record in stored if record.access == access + 1 and wanted(record)[0] == acl]
        these = In("document_id", tuple(record.id for record in won))
        readers = {"acl": acl, "access": access + 2}
        changed = view.patch(None, And((these, Range(field="access", lt=access + 2))), readers) - len(won)
        wanting = sum(record.chunks for record in won)
    if accounted == len(members) and changed == wanting:
        # Nobody came between, and the index has read the readers back: that is all there is to see.
        return changed, []
    late = [record for record in list(view.ledger(In("document_id", ids))) if not _is_so(record, wanted)]
    return max(changed, 0), late


def _alike(accounts: Iterable[tuple[DocumentRecord, Fields]]) -> list[tuple[Fields, list[DocumentRecord]]]:
    """The records that get the same fields, together: one write for many."""
    found: dict[tuple[tuple[str, object], ...], tuple[Fields, list[DocumentRecord]]] = {}
    for record, fields in accounts:
        found.setdefault(tuple(fields.items()), (fields, []))[1].append(record)
    return list(found.values())


def _exactly(*records: DocumentRecord) -> And:
    """These documents, while their count of changes is what it is now; it is the same for all of them."""
    return And((In("document_id", tuple(record.id for record in records)), In("access", (records[0].access,))))


def _widening(acl: Acl, members: list[DocumentRecord]) -> bool:
    """Whether anybody is let in: changes that only put somebody out come first."""
    return any(acl.allow - record.acl.allow or record.acl.deny - acl.deny for record in members)
