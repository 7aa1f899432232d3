"""`doctor`: each part of the setup looked at, each failure with its fix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rag_qdrant.domain.documents import SCHEMA
from rag_qdrant.domain.filters import In
from rag_qdrant.errors import RagError
from rag_qdrant.ports import Embedder
from rag_qdrant.view import LIVE, View

_CANARIES = ("A cat sat on the mat.", "The cat was sitting on a mat.", "Quarterly revenue grew by eight percent.")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report; `fix` says what to do where it is not well."""

    name: str
    well: bool
    says: str
    fix: str | None = None


def guarded(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    """The checks of one part; an error of ours is a failed check, not the end of the report."""
    found: list[Check] = []
    try:
        found.extend(look())
    except RagError as error:
        says, _, fix = str(error).partition(": ")
        found.append(Check(name=name, well=False, says=says, fix=fix or None))
    return found


def check_embedder(embedder: Embedder) -> Iterator[Check]:
    """Whether the embedder answers, and tells like from unlike."""
    vectors = embedder.embed(_CANARIES, role="document")
    like, unlike = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    well = bool(np.isfinite(vectors).all()) and like > unlike + 0.1
    yield Check(
        name="embedder",
        well=well,
        says=f"{embedder.spec}, {embedder.dim} dimensions, {embedder.max_tokens} tokens; "
        f"like {like:.2f}, unlike {unlike:.2f}",
        fix=None if well else "the model does not tell like from unlike: choose another with --embed",
    )


def check_index(view: View) -> Iterator[Check]:
    """Whether the index is whole: its account, its records against its passages, what is unfinished or failed."""
    meta = view.meta
    passages = view.index.count("chunk", LIVE, view.managing)
    yield Check(name="index", well=True, says=f"layout {SCHEMA}, {meta.embedder}, {meta.language}, {passages} passages")
    stored = view.index.facet("document_id", "chunk", LIVE, view.managing)
    records = {record.id: record for record in view.ledger()}
    short = [record.document for record in records.values() if record.chunks != stored.get(record.id, 0)]
    orphans = sum(name not in records for name in stored)
    well = not short and not orphans
    yield Check(
        name="passages",
        well=well,
        says="each document has all of its passages"
        if well
        else f"{len(short)} documents lack passages ({', '.join(short[:3])}), {orphans} without a record",
        fix=None if well else "ingest their folders again",
    )
    pending = view.index.count("document", In("state", ("pending",)), view.managing)
    yield Check(
        name="unfinished",
        well=not pending,
        says=f"{pending} documents" if pending else "nothing",
        fix="ingest their folders again: what was interrupted goes on" if pending else None,
    )
    failed = [record.document for record in records.values() if record.reason is not None]
    yield Check(
        name="failed files",
        well=True,
        says=f"{len(failed)} ({', '.join(failed[:3])})" if failed else "none",
        fix="rag-qdrant documents --failed says why" if failed else None,
    )
    listed = [record for record in records.values() if record.revision]
    nobody = sum(not record.acl.allow - record.acl.deny for record in listed)
    yield Check(
        name="readers",
        well=True,
        says=f"{nobody} of {len(listed)} documents are readable by nobody",
    )
