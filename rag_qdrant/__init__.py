"""Search your files and ask them questions on Qdrant, each person seeing exactly what they may see.

The Python API: few names, imported when they are first used.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "App": "rag_qdrant.app",
    "open_app": "rag_qdrant.app",
    "View": "rag_qdrant.view",
    "Query": "rag_qdrant.domain.retrieval",
    "Hit": "rag_qdrant.domain.retrieval",
    "IngestRequest": "rag_qdrant.usecases.ingest",
    "ingest": "rag_qdrant.usecases.ingest",
    "search": "rag_qdrant.usecases.search",
    "ask": "rag_qdrant.usecases.ask",
    "share": "rag_qdrant.usecases.share",
    "unshare": "rag_qdrant.usecases.share",
    "RagError": "rag_qdrant.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'rag_qdrant' has no attribute {name!r}; it has {', '.join(sorted(_NAMES))}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_NAMES)
