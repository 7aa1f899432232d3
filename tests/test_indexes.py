"""The index contract on every index, and what each engine needs besides."""

from pathlib import Path

from rag_qdrant.adapters.indexes import edge, memory
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.ports import Index
from rag_qdrant.testing.index_contract import DurableIndexContract, IndexContract


class TestMemory(IndexContract):
    def open_index(self, folder: Path, create: IndexMeta | None) -> Index:
        return memory.open_index(folder.name, collection=str(folder), create=create)


class TestEdge(DurableIndexContract):
    def open_index(self, folder: Path, create: IndexMeta | None) -> Index:
        return edge.open_index(str(folder), collection="docs", create=create)


class TestEdgeHeldByAProcess(DurableIndexContract):
    def open_index(self, folder: Path, create: IndexMeta | None) -> Index:
        index = edge.open_index(str(folder), collection="docs", create=create)
        index.linger()
        return index
