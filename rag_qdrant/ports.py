"""The whole plug-in API: protocols without code, and the values they exchange."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol, Self

from rag_qdrant.domain.access import Scope
from rag_qdrant.domain.documents import Extracted, IndexMeta, Kind, Point
from rag_qdrant.domain.filters import Filter
from rag_qdrant.domain.retrieval import Hit, Matrix, Query, Vector

Role = Literal["query", "document"]


class Embedder(Protocol):
    """Texts to vectors."""

    @property
    def spec(self) -> str:
        """What was asked for, `onnx:all-MiniLM-L6-v2`; stored with the index and compared at every open."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that would change the vectors: weights, tokenizer, prefixes, dimension."""
        ...

    @property
    def dim(self) -> int:
        """The length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The most tokens of one text, prefix and special tokens included."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """What each text costs as a document, prefix and special tokens included; exact, or never too low."""
        ...

    def embed(self, texts: Sequence[str], *, role: Role) -> Matrix:
        """(len(texts), dim) float32, unit rows, in the order of the texts; a text over max_tokens is an error."""
        ...


class Reranker(Protocol):
    """Second-stage scores of the top candidates."""

    def score(self, query: str, texts: Sequence[str]) -> Vector:
        """(len(texts),) float32, higher is better, in the order of the texts."""
        ...


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatModel(Protocol):
    """Messages to an answer."""

    @property
    def spec(self) -> str:
        """What was asked for, `ollama:llama3.2`."""
        ...

    @property
    def context_tokens(self) -> int:
        """The most tokens of prompt and answer together."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """What the messages cost; exact, or never too low."""
        ...

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """The answer, piece by piece; an answer that breaks off is an error."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a reader is told beside the file: its name, and the encoding for text that is not UTF-8."""

    name: str
    encoding: str | None = None


class Reader(Protocol):
    """One file format; runs in a child process with limits, on an open regular file."""

    @property
    def type(self) -> str:
        """The format's name, `pdf`; what `--type` filters by."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The file names' endings, in lower case with the dot."""
        ...

    def claims(self, head: bytes) -> bool:
        """Whether the first 4 KiB are surely of this format, whatever the file is called."""
        ...

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:
        """The text, blocks and metadata; what cannot be read is a DocumentError."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileToRead:
    """One file for an Extractor; nothing outside `root` is opened, links are not followed."""

    path: Path
    root: Path
    options: ReadOptions
    known_hash: str | None = None
    """The hash of the content that is stored; if it is still the same, nothing is parsed."""


@dataclass(frozen=True, kw_only=True)
class FileRead:
    """What came of it: `extracted`, or an `error`, or neither where the content is the known one."""

    file: FileToRead
    content_hash: str = ""
    bytes: int = 0
    extracted: Extracted | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """One regular file of a tree."""

    document: str
    """Its name in the index: the root's own name, then the path below it, with `/`."""
    relative: str
    """Its path below the root, with `/`: what rules and globs are matched against."""
    path: Path
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What was found under one PATH: a folder, or a single file as part of its folder."""

    name: str
    root: Path
    files: tuple[FoundFile, ...]
    rules: tuple[tuple[str, str], ...] = ()
    """The folder (relative, `/`) and text of each rules file."""
    broken: tuple[tuple[str, str], ...] = ()
    """Folders that could not be read, or whose rules could not, each with the reason: what they hold stays as it is."""
    skipped: tuple[tuple[str, str], ...] = ()
    """What is no document, each with the reason: links, devices, media."""
    whole: bool = True
    """Whether files that are not in it have gone; a single file says nothing of its neighbours."""


class Extractor(Protocol):
    """Files to text, by the readers, in child processes with limits."""

    def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
        """One result a file, in order; a file that breaks its reader is an error, and the others go on."""
        ...

    def close(self) -> None:
        """End the child processes."""
        ...


class Index(Protocol):
    """Points with named vectors; every read and change happens in a scope."""

    @property
    def meta(self) -> IndexMeta:
        """What the collection says of itself."""
        ...

    def put(self, points: Sequence[Point], vectors: Mapping[str, Matrix]) -> None:
        """Write points whole; each matrix has one row a point, and no matrices means no vectors."""
        ...

    def search(self, query: Query, scope: Scope) -> list[Hit]:
        """The best live chunks in the scope, with term statistics over the scope's chunks alone."""
        ...

    def scan(
        self, kind: Kind, where: Filter, scope: Scope, *, vectors: Sequence[str] = ()
    ) -> Iterator[tuple[Point, Mapping[str, Vector]]]:
        """Every point of a kind that passes, by id, with the vectors named; chunks that are not live too."""
        ...

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, object]) -> int:
        """Replace fields (as `payload` writes them) of the points that pass; how many. `acl` is read back."""
        ...

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove the points that pass, of every kind; how many."""
        ...

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many points of a kind pass, exactly."""
        ...

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """The values of a field among the points that pass, each with its exact number."""
        ...

    def linger(self) -> None:
        """Say that the caller stays long: from here on others must get at the index meanwhile."""
        ...

    def flush(self) -> None:
        """Make all that was acknowledged survive a power cut."""
        ...

    def purge(self) -> None:
        """Rebuild the storage, so that nothing removed stays on disk."""
        ...

    def close(self) -> None:
        """Flush and let go; closing twice is nothing."""
        ...

    def __enter__(self) -> Self:
        """The index itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


class Opener(Protocol):
    """What an index's entry point names: opens a collection at a place."""

    def __call__(self, place: str, *, collection: str, create: IndexMeta | None) -> Index:
        """Open, or make with `create` where there is none (NothingFound without it)."""
        ...
