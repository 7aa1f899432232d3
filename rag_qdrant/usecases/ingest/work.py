"""What passes through the pipeline, what comes of it, and who is told."""

from dataclasses import dataclass, field
from typing import Protocol

from rag_qdrant.domain.access import Overrides
from rag_qdrant.domain.documents import Chunk, DocumentRecord
from rag_qdrant.domain.retrieval import Matrix
from rag_qdrant.usecases.ingest.plan import FileTask


class Progress(Protocol):
    """Told how a sync goes on."""

    def start(self, files: int, size: int) -> None:
        """So many files and bytes are to be read."""
        ...

    def advance(self, size: int, document: str) -> None:
        """A file is read."""
        ...

    def embedded(self, document: str, done: int, passages: int) -> None:
        """So many of the passages that are waiting are embedded; the document is the last one of them."""
        ...

    def close(self) -> None:
        """It is over."""
        ...


@dataclass(kw_only=True)
class Work:
    """One file on its way into the index."""

    task: FileTask
    record: DocumentRecord
    chunks: list[Chunk]
    vectors: Matrix | None = None
    """Those of the document that it was moved from; None means that they are to be made."""
    moved_from: DocumentRecord | None = None
    put_out: Overrides = field(default_factory=Overrides)
    """Those of other documents that held this content: who was put out of one stays out of the text."""

    @property
    def names_readers_anew(self) -> bool:
        """Whether the file itself names other readers than it did."""
        return self.task.record is not None and self.record.embedded_allow != self.task.record.embedded_allow


@dataclass(kw_only=True)
class Outcome:
    """What came of the files."""

    changes: list[tuple[str, str]]
    """What happened to which document: added, updated, moved."""
    touched: int = 0
    failed: list[tuple[str, str]]
    embedded: int = 0
    seconds_embed: float = 0.0
    seconds_write: float = 0.0
    warnings: list[tuple[str, str]]
