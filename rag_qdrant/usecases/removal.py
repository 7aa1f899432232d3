"""Documents out of the index, without forgetting whom somebody had put out of them."""

from collections.abc import Sequence

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
    """Remove documents; of one with overrides a line without text stays, in case its file comes back or moved."""
    remembered = tuple(record.id for record in records if record.overrides)
    forgotten = tuple(record.id for record in records if not record.overrides)
    if remembered:
        view.patch("document", In("document_id", remembered), _TRACELESS)
        view.delete(And((In("kind", ("chunk",)), In("document_id", remembered))))
    if forgotten:
        view.delete(In("document_id", forgotten))
