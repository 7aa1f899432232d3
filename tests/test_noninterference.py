"""ACCESS.md's proofs: what a viewer may not read changes no byte of any answer, and each known mutant is caught."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import qdrant_edge as qe
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_qdrant.adapters.indexes import edge, memory
from rag_qdrant.adapters.indexes.edge import conditions, shard
from rag_qdrant.adapters.indexes.memory import MemoryStore
from rag_qdrant.adapters.indexes.stored import StoredIndex
from rag_qdrant.domain import documents as values
from rag_qdrant.domain.access import Administrator, Readers, Scope
from rag_qdrant.domain.filters import ALL, In
from rag_qdrant.ports import Index
from rag_qdrant.testing import worlds
from rag_qdrant.testing.index_contract import assert_same, fill
from tests.proofs import observe, readable, world_and_viewer

EXAMPLES = 150


@pytest.fixture(scope="module", params=["memory", "edge"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One index for the whole module: each example empties it, so that what was deleted is part of the proof."""
    with _opened(request.param, tmp_path_factory.mktemp("index")) as opened:
        yield opened


def _opened(kind: str, folder: Path) -> Index:
    opener = {"memory": memory.open_index, "edge": edge.open_index}[kind]
    place = str(folder) if kind == "edge" else folder.name
    return opener(place, collection="proofs", create=worlds.META)


def metamorphic(index: Index, seed: int) -> None:
    """Observe, add what the viewer may not read, observe, delete it, observe: the same bytes."""
    world, viewer, queries, names = world_and_viewer(seed)
    index.delete(ALL, Administrator())
    seen, hidden = readable(world, viewer, wanted=True), readable(world, viewer, wanted=False)
    fill(index, seen)
    before = observe(index, viewer, queries, names)
    fill(index, hidden)
    assert observe(index, viewer, queries, names) == before
    index.delete(In("document_id", tuple(record.id for record in hidden.documents)), Administrator())
    assert observe(index, viewer, queries, names) == before


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_a_viewer_may_not_read_changes_no_byte(index: Index, seed: int) -> None:
    metamorphic(index, seed)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_answers_are_those_of_an_index_that_holds_the_readable_documents_alone(index: Index, seed: int) -> None:
    world, viewer, queries, _ = world_and_viewer(seed)
    index.delete(ALL, Administrator())
    for part in (False, True):
        fill(index, readable(world, viewer, wanted=part))
    alone = StoredIndex(MemoryStore(worlds.META))
    fill(alone, readable(world, viewer, wanted=True))
    for query in queries:
        assert_same(index.search(query, Readers(viewer)), alone.search(query, Readers(viewer)))


def test_the_oracle_holds_after_deleting_rebuilding_and_reopening(tmp_path: Path) -> None:
    for seed in range(4):
        world, viewer, queries, _ = world_and_viewer(seed)
        seen, hidden = readable(world, viewer, wanted=True), readable(world, viewer, wanted=False)
        alone = StoredIndex(MemoryStore(worlds.META))
        fill(alone, seen)
        with _opened("edge", tmp_path / str(seed)) as index:
            fill(index, hidden)
            fill(index, seen)
            index.delete(In("id", tuple(chunk.id for chunk in hidden.chunks[::2])), Administrator())
            index.purge()
        with _opened("edge", tmp_path / str(seed)) as index:
            for query in queries:
                assert_same(index.search(query, Readers(viewer)), alone.search(query, Readers(viewer)))


# Mutants: each is a way in which peers leak. The proof must fail under every one of them.


def _global_idf(monkeypatch: pytest.MonkeyPatch) -> None:
    real = qe.IdfParams
    monkeypatch.setattr(qe, "IdfParams", lambda corpus: real(None))


def _should_instead_of_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_scope", lambda scope: qe.Filter(should=[]))


def _no_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    real = conditions._scope

    def scope_without_deny(scope: Scope) -> qe.Filter:
        if isinstance(scope, Readers):
            return qe.Filter(must=[conditions._any_of("acl.allow", sorted(scope.principals))])
        return real(scope)

    monkeypatch.setattr(conditions, "_scope", scope_without_deny)


def _ids_from_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "chunk_id", lambda document, revision, ordinal: values._id("chunk", revision))


def _global_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shard.EdgeShard.count
    monkeypatch.setattr(
        shard.EdgeShard, "count", lambda self, kind, where, scope: real(self, kind, where, Administrator())
    )


def _global_facet(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shard.EdgeShard.facet
    monkeypatch.setattr(
        shard.EdgeShard,
        "facet",
        lambda self, field, kind, where, scope: real(self, field, kind, where, Administrator()),
    )


@pytest.mark.parametrize(
    "mutate", [_global_idf, _should_instead_of_must, _no_deny, _ids_from_content, _global_count, _global_facet]
)
def test_every_known_leak_would_be_caught(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mutate(monkeypatch)
    with _opened("edge", tmp_path) as index:
        for seed in range(EXAMPLES):
            try:
                metamorphic(index, seed)
            except AssertionError:
                return
    pytest.fail("the proof did not notice")
