"""A folder, an index and a sync of the one into the other, as tests of ingest need them."""

import atexit
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag_qdrant.adapters.files import Selection, find_tree
from rag_qdrant.adapters.indexes.payload import to_payload
from rag_qdrant.adapters.readers.pool import ReaderPool
from rag_qdrant.domain.access import Administrator, Principals
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.domain.filters import ALL
from rag_qdrant.ports import Embedder, Extractor, Index
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases.ingest import IngestReport, IngestRequest, Silent, ingest
from rag_qdrant.view import View

_POOL: list[ReaderPool] = []


def pool() -> ReaderPool:
    """One pool of readers for all tests: its processes take a while to start."""
    if not _POOL:
        _POOL.append(ReaderPool(children=1))
        atexit.register(_POOL[0].close)
    return _POOL[0]


def meta(embedder: Embedder) -> IndexMeta:
    return IndexMeta(embedder=embedder.spec, fingerprint=embedder.fingerprint, dim=embedder.dim)


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Make files, with the folders that they lie in."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def sync(
    index: Index,
    *roots: Path,
    embedder: HashEmbedder | None = None,
    extractor: Extractor | None = None,
    viewer: Principals | None = None,
    **request: Any,
) -> IngestReport:
    view = View.administrator(index) if viewer is None else View.of(index, viewer)
    trees = [find_tree(root, Selection()) for root in roots]
    return ingest(
        view,
        trees,
        IngestRequest(**request),
        embedder=embedder or HashEmbedder(),
        extractor=extractor or pool(),
        progress=Silent(),
    )


_TIMES = {"roots", "created", "synced", "lease", "leased", "modified", "mtime_ns", "access"}


def contents(index: Index) -> dict[str, Any]:
    """All that is stored, but for times: two indexes that answer alike have the same."""
    found = {}
    for kind in ("chunk", "document", "source"):
        for point, vectors in index.scan(kind, ALL, Administrator(), vectors=("dense",)):
            payload = {name: value for name, value in to_payload(point).items() if name not in _TIMES}
            found[point.id] = payload | {name: vector.round(5).tolist() for name, vector in vectors.items()}
    return found


def texts(index: Index, viewer: Principals) -> dict[str, str]:
    """What somebody may read, by document."""
    found: dict[str, str] = {}
    for chunk, _ in sorted(View.of(index, viewer).chunks(), key=lambda each: each[0].start):
        found[chunk.document] = f"{found.get(chunk.document, '')} {chunk.text}".strip()
    return found
