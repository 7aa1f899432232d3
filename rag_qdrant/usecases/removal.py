"""Documents out of the index, without forgetting whom somebody had put out of them."""

from collections.abc import Sequence

from rag_qdrant.domain.access import Overrides
from rag_qdrant.domain.documents import DocumentRecord
from rag_qdrant.domain.filters import And, In
from rag_qdrant.view import View

_TRACELESS = {
    "state": "gone",
    "reason": None,
    "revision": "",
    "title": "",
    "chunks": 0,
    "gaps": "",
    "pages": (),
    "tags": (),
    "own_tags": (),
    "warnings": (),
    "bytes": -1,
}


def take_out(view: View, records: Sequence[DocumentRecord]) -> None:
    """Remove documents; of one that somebody was put out of a line without text stays, in case its file comes back."""
    remembered = [record for record in records if record.overrides.unshared]
    forgotten = tuple(record.id for record in records if not record.overrides.unshared)
    if remembered:
        ids = In("document_id", tuple(record.id for record in remembered))
        # Unfinished until its text is gone: a kill in between is seen by the next sync.
        view.patch("document", ids, {"state": "pending"})
        view.delete(And((In("kind", ("chunk",)), ids)))
    for record in remembered:
        # Whom it was shared with is forgotten: another text may come under its name.
        kept = Overrides(unshared=record.overrides.unshared)
        view.patch("document", In("document_id", (record.id,)), {**_TRACELESS, "overrides": kept})
    if forgotten:
        view.delete(In("document_id", forgotten))
