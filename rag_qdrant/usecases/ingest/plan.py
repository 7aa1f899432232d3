"""What a sync would do, from the tree, its rules and the ledger alone: no file is opened for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from rag_qdrant.domain.access import Acl
from rag_qdrant.domain.documents import DocumentRecord, SourceRecord
from rag_qdrant.domain.filters import In
from rag_qdrant.domain.rules import Decision, RuleFile, decide, parse_rules, root_rule
from rag_qdrant.domain.where import tag_entry
from rag_qdrant.errors import StateConflict, UsageError
from rag_qdrant.ports import FoundFile, Tree
from rag_qdrant.usecases.ingest.sources import check_root
from rag_qdrant.view import View

MANY = 10
"""Fewer removals than this are asked about only when they are all of a source."""


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What was asked for, beside the trees; None keeps what the source was told before."""

    source: str | None = None
    owner: str | None = None
    """A new owner, of what is there too; `default_owner` is that of a new source alone."""
    default_owner: str | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    tags: Mapping[str, str] | None = None
    encoding: str | None = None
    retry_failed: bool = False
    confirm_removals: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class FileTask:
    """One file to read: new, or changed as far as its size and time tell."""

    file: FoundFile
    tree: Tree
    decision: Decision
    record: DocumentRecord | None

    @property
    def is_new(self) -> bool:
        """Whether the index holds no text of it: it was never read whole, or was gone."""
        return self.record is None or not self.record.revision


@dataclass(kw_only=True)
class Plan:
    """The work of one sync, in the order in which it is done."""

    source: SourceRecord
    ledger: Sequence[DocumentRecord] = ()
    """What is stored of the source, as the plan found it."""
    looked_at: list[DocumentRecord] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    removed: list[DocumentRecord] = field(default_factory=list)
    gone: list[DocumentRecord] = field(default_factory=list)
    tasks: list[FileTask] = field(default_factory=list)
    unchanged: list[DocumentRecord] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def make_plan(view: View, source: SourceRecord, trees: Sequence[Tree], request: IngestRequest, current: str) -> Plan:
    """Compare trees with the ledger of a source; `current` starts the revisions of chunks as they would be made now.

    Folders that cannot be read, or whose rules cannot, keep their old state and are failures. Raises StateConflict
    where so much has gone that it looks like half a checkout, unless removals are confirmed.
    """
    ledger = {record.document: record for record in view.ledger(In("source_id", (source.id,)))}
    gone = [record for record in ledger.values() if record.state == "gone"]
    plan = Plan(source=source, ledger=tuple(ledger.values()), gone=gone)
    for tree in trees:
        if not request.confirm_removals:
            check_root(source, tree.name, str(tree.root))
        _plan_tree(plan, tree, ledger, request, current)
    if not (request.confirm_removals or request.dry_run):
        _check_removals(plan, len(ledger) - len(plan.gone))
    return plan


def check_whole(plan: Plan, stored: SourceRecord) -> None:
    """Refuse to change a source's owner or own readers by a sync of a part of it: the rest would not be told."""
    told = plan.source
    if (told.owner, told.allow, told.deny) == (stored.owner, stored.allow, stored.deny):
        return
    seen = {*plan.decisions, *(record.id for record in (*plan.removed, *plan.gone))}
    others = [record for record in plan.ledger if record.id not in seen]
    if others:
        raise UsageError(
            f"--owner, --allow and --deny change all of source {told.source!r}, and this sync does not look at "
            f"{others[0].document} and {len(others) - 1} more: ingest all of its folders together"
        )


def plan_readers(view: View, source: SourceRecord, tree: Tree) -> Plan:
    """The decisions of a tree's rules for those of its files that are stored, and nothing else.

    Of a document whose file is not in the tree nobody looked at the rules beside it: it keeps its readers.
    """
    check_root(source, tree.name, str(tree.root))
    rules, broken = _parsed(tree)
    root = root_rule(source.allow, source.deny)
    plan = Plan(source=source, failed=[(f"{tree.name}/{folder}".rstrip("/"), reason) for folder, reason in broken])
    present = {file.document: file for file in tree.files}
    for record in view.ledger(In("source_id", (source.id,))):
        file = present.get(record.document)
        if file is not None and not _under(file.relative, broken):
            decision = _decided(
                plan, record, file, partial(decide, file.relative, rules, root=root, owner=source.owner)
            )
            if decision is not None:
                plan.decisions[record.id] = decision
                plan.looked_at.append(record)
    return plan


def _decided(
    plan: Plan, record: DocumentRecord | None, file: FoundFile, make: Callable[[], Decision]
) -> Decision | None:
    """The readers of one file; if there are too many, that file alone fails and keeps what it had."""
    try:
        decision = make()
        if record is not None:
            readers_of(record, decision)
    except UsageError as error:
        plan.failed.append((file.document, str(error)))
        return None
    return decision


def _stale(record: DocumentRecord, current: str) -> bool:
    """Whether a file must be read again though it did not change: its chunks are unfinished, or made otherwise."""
    return record.state == "pending" or (record.state == "ready" and not record.revision.startswith(current))


def _plan_tree(
    plan: Plan, tree: Tree, ledger: Mapping[str, DocumentRecord], request: IngestRequest, current: str
) -> None:
    rules, broken = _parsed(tree)
    source = plan.source
    root = root_rule(source.allow, source.deny)
    plan.failed.extend((f"{tree.name}/{folder}".rstrip("/"), reason) for folder, reason in broken)
    plan.skipped.extend((f"{tree.name}/{name}", reason) for name, reason in tree.skipped)
    seen = set()
    for file in tree.files:
        seen.add(file.document)
        if _under(file.relative, broken):
            continue
        record = ledger.get(file.document)
        decision = _decided(plan, record, file, partial(decide, file.relative, rules, root=root, owner=source.owner))
        if decision is None:
            continue
        _plan_file(plan, FileTask(file=file, tree=tree, decision=decision, record=record), request, current)
    if tree.whole:
        prefix = f"{tree.name}/"
        for document, record in ledger.items():
            relative = document.removeprefix(prefix)
            known = document.startswith(prefix) and record.state != "gone"
            if known and document not in seen and not _under(relative, broken):
                plan.removed.append(record)


def _plan_file(plan: Plan, task: FileTask, request: IngestRequest, current: str) -> None:
    record, file = task.record, task.file
    if record is None:
        plan.tasks.append(task)
        return
    plan.decisions[record.id] = task.decision
    plan.looked_at.append(record)
    same = record.bytes == file.bytes and record.mtime_ns == file.mtime_ns
    if not same or _stale(record, current) or (record.reason and (request.retry_failed or request.encoding)):
        plan.tasks.append(task)
    elif record.reason:
        plan.failed.append((record.document, record.reason))
    else:
        plan.unchanged.append(record)


def _parsed(tree: Tree) -> tuple[list[RuleFile], list[tuple[str, str]]]:
    rules: list[RuleFile] = []
    broken = list(tree.broken)
    for folder, text in tree.rules:
        try:
            rules.append(parse_rules(text, folder=folder))
        except UsageError as error:
            broken.append((folder, str(error)))
    return rules, broken


def _under(relative: str, broken: Sequence[tuple[str, str]]) -> bool:
    return any(not folder or relative == folder or relative.startswith(f"{folder}/") for folder, _ in broken)


def _check_removals(plan: Plan, documents: int) -> None:
    # A file that went to another place is found again by its size; the exact look comes when it is read.
    sizes = [task.file.bytes for task in plan.tasks if task.is_new]
    gone = 0
    for record in plan.removed:
        if record.bytes in sizes:
            sizes.remove(record.bytes)
        else:
            gone += 1
    if gone * 5 > documents and (gone >= MANY or gone == documents > 1):
        raise StateConflict(
            f"{gone} of {documents} documents of source {plan.source.source!r} are gone from the folder, more than a "
            "fifth; nothing was changed: pass --confirm-removals if they should leave the index too"
        )


def readers_of(record: DocumentRecord, decision: Decision) -> tuple[Acl, dict[str, object]]:
    """The readers that the rules give a stored document now, and the account of them."""
    rules = with_embedded(decision, record.embedded_allow)
    return record.overrides.apply(rules), {"rules": rules, "trail": decision.trail}


def with_embedded(decision: Decision, allow: Sequence[str]) -> Acl:
    """The rules' readers, with those that the document names for itself where the rules trust it."""
    if not decision.trust_embedded or not allow:
        return decision.acl
    return Acl(allow=decision.acl.allow | frozenset(allow), deny=decision.acl.deny)


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with their names and values as they are stored."""
    return dict(tag_entry(name, value).split("=", 1) for name, value in tags.items())
