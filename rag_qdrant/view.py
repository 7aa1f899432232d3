"""An index as one principal may see it: the only way to a chunk, and it supplies the scope."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rag_qdrant.domain.access import Administrator, Managers, Principals, Readers, Scope
from rag_qdrant.domain.documents import Chunk, DocumentRecord, IndexMeta, Kind, Point, SourceRecord
from rag_qdrant.domain.filters import ALL, Filter, In, Not, both, checked
from rag_qdrant.domain.retrieval import Hit, Matrix, Query, Vector
from rag_qdrant.errors import NothingFound
from rag_qdrant.ports import Index

LIVE = In("live", (1,))
LISTED = Not(In("revision", ("",)))
"""Documents with content: a failed or unfinished first attempt has none."""


@dataclass(frozen=True)
class View:
    """Reads go under `reading`, the ledger and changes under `managing`; there is no view without both."""

    index: Index
    reading: Scope
    managing: Scope

    @classmethod
    def administrator(cls, index: Index) -> "View":
        """Everything, readable and changeable."""
        return cls(index, Administrator(), Administrator())

    @classmethod
    def of(cls, index: Index, principals: Principals) -> "View":
        """What somebody who is all of `principals` may read, and the sources that they own."""
        return cls(index, Readers(principals), Managers(principals))

    @property
    def meta(self) -> IndexMeta:
        """What the collection says of itself."""
        return self.index.meta

    @property
    def is_administrator(self) -> bool:
        """Whether this view narrows nothing."""
        return isinstance(self.reading, Administrator)

    # Content, as the viewer may read it.

    def search(self, query: Query) -> list[Hit]:
        """The best hits among the live chunks that may be read."""
        checked(query.where)
        return self.index.search(query, self.reading)

    def chunks(
        self, where: Filter = ALL, *, vectors: Sequence[str] = ()
    ) -> Iterator[tuple[Chunk, Mapping[str, Vector]]]:
        """The live chunks that may be read, by id."""
        checked(where)
        for point, found in self.index.scan("chunk", both(LIVE, where), self.reading, vectors=vectors):
            assert isinstance(point, Chunk)
            yield point, found

    def documents(self, where: Filter = ALL) -> Iterator[DocumentRecord]:
        """The records of the documents that may be read."""
        checked(where)
        for point, _ in self.index.scan("document", both(LISTED, where), self.reading):
            assert isinstance(point, DocumentRecord)
            yield point

    def count_chunks(self, where: Filter = ALL) -> int:
        """How many live chunks may be read."""
        checked(where)
        return self.index.count("chunk", both(LIVE, where), self.reading)

    def chunk_counts(self, field: str, where: Filter = ALL) -> dict[str, int]:
        """How many live chunks may be read, by the values of a field."""
        checked(where)
        return self.index.facet(field, "chunk", both(LIVE, where), self.reading)

    # The ledger, as the owner of a source may change it.

    def ledger(self, where: Filter = ALL) -> Iterator[DocumentRecord]:
        """The records of the documents that may be managed, in every state."""
        for point, _ in self.index.scan("document", where, self.managing):
            assert isinstance(point, DocumentRecord)
            yield point

    def sources(self, where: Filter = ALL) -> Iterator[SourceRecord]:
        """The records of the sources that may be managed."""
        for point, _ in self.index.scan("source", where, self.managing):
            assert isinstance(point, SourceRecord)
            yield point

    def manages(self, owner: str | None) -> bool:
        """Whether what belongs to `owner` may be changed under this view."""
        return isinstance(self.managing, Administrator) or (
            isinstance(self.managing, Managers) and owner in self.managing.principals
        )

    def is_taken(self, source_id: str) -> bool:
        """Whether there is a source of this id, whoever manages it; told to nobody."""
        return self.index.count("source", In("id", (source_id,)), Administrator()) > 0

    def managed_vectors(self, where: Filter) -> Iterator[tuple[Chunk, Mapping[str, Vector]]]:
        """The chunks that may be managed, with their vectors and no text: what a move needs."""
        for point, vectors in self.index.scan("chunk", where, self.managing, vectors=("dense",)):
            assert isinstance(point, Chunk)
            yield point, vectors

    def put(self, points: Sequence[Point], vectors: Mapping[str, Matrix] | None = None) -> None:
        """Write points of a source that may be managed; another's is NothingFound."""
        if not all(self.manages(owner) for owner in {point.owner for point in points}):
            raise NothingFound("no such source, or not yours")
        self.index.put(points, vectors or {})

    def patch(self, kind: Kind | None, where: Filter, fields: Mapping[str, object]) -> int:
        """Replace fields of the points that may be managed."""
        return self.index.patch(kind, where, self.managing, fields)

    def delete(self, where: Filter) -> int:
        """Remove points that may be managed."""
        return self.index.delete(where, self.managing)

    def count_managed(self, kind: Kind, where: Filter) -> int:
        """How many points of a kind may be managed."""
        return self.index.count(kind, where, self.managing)

    def flush(self) -> None:
        """Make all that was written survive a power cut."""
        self.index.flush()
