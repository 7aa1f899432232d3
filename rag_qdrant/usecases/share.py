"""Change and explain who may read: overrides that survive every sync, payloads only."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from rag_qdrant.domain.access import Acl, Overrides, Principals
from rag_qdrant.domain.documents import DocumentRecord
from rag_qdrant.domain.filters import And, In
from rag_qdrant.errors import NothingFound, UsageError
from rag_qdrant.ports import Tree
from rag_qdrant.usecases.ingest.plan import Plan, plan_readers, readers_of
from rag_qdrant.usecases.readers import Change, set_readers
from rag_qdrant.view import View


def managed(view: View, target: str) -> list[DocumentRecord]:
    """The documents that a target names among those the viewer manages: a name, an id, a glob or `source:NAME`.

    None, and another's, are both NothingFound with the same words.
    """
    if target.startswith("source:"):
        found = list(view.ledger(In("source", (target.removeprefix("source:"),))))
        if len({record.source_id for record in found}) > 1:
            owners = ", ".join(sorted({str(record.owner or "nobody") for record in found}))
            raise UsageError(f"several sources have this name, owned by {owners}: act as one owner with --as")
    elif any(sign in target for sign in "*?["):
        found = [record for record in view.ledger() if fnmatch.fnmatchcase(record.document, target)]
    else:
        found = list(view.ledger(In("document", (target,)))) or list(view.ledger(In("document_id", (target,))))
    found = [record for record in found if record.state != "gone"]
    if not found:
        raise NothingFound(f"no document {target!r} that you manage; rag-qdrant documents lists them")
    return found


def share(view: View, target: str, added: Principals) -> Change:
    """Let principals in, over what the rules say."""
    return _override(view, managed(view, target), lambda overrides: overrides.share(added))


def unshare(view: View, target: str, taken: Principals) -> Change:
    """Put principals out; they stay out whatever the rules grant, until `share` or `reset`."""
    return _override(view, managed(view, target), lambda overrides: overrides.unshare(taken))


def reset(view: View, target: str) -> Change:
    """Drop the overrides, and what stayed of removed documents of the same text: the rules alone hold again."""
    records = managed(view, target)
    for record in records:
        gone = And((In("source_id", (record.source_id,)), In("state", ("gone",))))
        view.delete(And((gone, In("content_hash", (record.content_hash,)))))
    return _override(view, records, lambda _: Overrides())


def _override(view: View, records: Sequence[DocumentRecord], change: Callable[[Overrides], Overrides]) -> Change:
    def wanted(record: DocumentRecord) -> tuple[Acl, Mapping[str, object]]:
        overrides = change(record.overrides)
        return overrides.apply(record.rules), {"overrides": overrides}

    changed = set_readers(view, records, wanted)
    view.flush()
    return changed


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Whether somebody may read a document, and every step that led there."""

    document: str
    readable: bool
    by: tuple[str, ...]
    """The viewer's principals that are let in."""
    against: tuple[str, ...]
    """The viewer's principals that are denied; any of them wins."""
    rules: tuple[str, ...]
    overrides: Overrides
    acl: Acl


def explain(view: View, target: str, viewer: Principals) -> list[Explanation]:
    """Say of each document that a target names why somebody may or may not read it."""
    return [
        Explanation(
            document=record.document,
            readable=record.acl.readable_by(viewer),
            by=tuple(sorted(record.acl.allow & viewer)),
            against=tuple(sorted(record.acl.deny & viewer)),
            rules=record.trail,
            overrides=record.overrides,
            acl=record.acl,
        )
        for record in managed(view, target)
    ]


@dataclass(frozen=True, kw_only=True)
class RulesReport:
    """What applying rules changed, and the folders whose rules could not be read."""

    changed: Change = field(default_factory=Change)
    failed: tuple[tuple[str, str], ...] = ()


def _by_rules(plan: Plan, record: DocumentRecord) -> tuple[Acl, Mapping[str, object]]:
    return readers_of(record, plan.decisions[record.id])


def sync_rules(view: View, trees: Sequence[Tree], source: str | None) -> RulesReport:
    """Apply changed rules to what is stored; payloads only, no file but the rules' is opened."""
    documents = chunks = 0
    failed: list[tuple[str, str]] = []
    for tree in trees:
        sources = [each for each in view.sources(In("source", (source or tree.name,))) if tree.name in each.roots]
        if not sources:
            raise NothingFound(f"no source that you manage holds {tree.name}/; rag-qdrant sources lists them")
        for each in sources:
            plan = plan_readers(view, each, tree)
            changed = set_readers(view, plan.looked_at, partial(_by_rules, plan))
            documents, chunks = documents + changed.documents, chunks + changed.chunks
            failed.extend(plan.failed)
    view.flush()
    return RulesReport(changed=Change(documents=documents, chunks=chunks), failed=tuple(failed))
