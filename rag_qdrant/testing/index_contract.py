"""What every Index must do: a plug-in's tests subclass IndexContract and say how their index is opened."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag_qdrant.adapters.indexes.memory import MemoryStore
from rag_qdrant.adapters.indexes.stored import StoredIndex
from rag_qdrant.domain.access import Acl, Administrator, Managers, Readers, Scope
from rag_qdrant.domain.documents import Chunk, IndexMeta
from rag_qdrant.domain.filters import ALL, And, In, Not
from rag_qdrant.domain.retrieval import Hit, Query
from rag_qdrant.errors import UsageError
from rag_qdrant.ports import Index
from rag_qdrant.testing import worlds

LIVE = In("live", (1,))
SEEDS = range(6)


def fill(index: Index, world: worlds.World) -> None:
    """Put a world into an index."""
    index.put([*world.sources, *world.documents], {})
    index.put(world.chunks, {"dense": world.matrix})


def scopes(rng: np.random.Generator) -> list[Scope]:
    """Every kind of scope, with random principals."""
    return [Readers(worlds.viewer(rng)), Managers(frozenset({"user:ana"})), Administrator(), Readers(frozenset())]


def in_scope(chunk: Chunk, scope: Scope) -> bool:
    """The definition that an index's scopes are compared with."""
    match scope:
        case Readers():
            return chunk.acl.readable_by(scope.principals)
        case Managers():
            return chunk.owner in scope.principals
        case Administrator():
            return True


def fields(chunk: Chunk) -> dict[str, object]:
    """What filters see of a chunk."""
    return {
        "id": chunk.id,
        "source": chunk.source,
        "type": chunk.type,
        "tags": [f"{name}={value}" for name, value in chunk.tags.items()],
        "modified": chunk.modified,
        "live": int(chunk.live),
    }


def assert_same(found: Sequence[Hit], wanted: Sequence[Hit]) -> None:
    """The same hits in the same order, scores and legs to 1e-5."""
    assert [hit.chunk for hit in found] == [hit.chunk for hit in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
        assert set(ours.legs) == set(theirs.legs)
        for name, leg in ours.legs.items():
            assert leg.score == pytest.approx(theirs.legs[name].score, abs=1e-5)


class IndexContract(ABC):
    """Subclass it in a test module, with `open_index`; every test gets a folder of its own."""

    @abstractmethod
    def open_index(self, folder: Path, create: IndexMeta | None) -> Index:
        """Open the index that lies in the folder, or make it."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[Index]:
        """A new, empty index."""
        with self.open_index(tmp_path, worlds.META) as index:
            yield index

    @pytest.mark.parametrize("seed", SEEDS)
    def test_hits_order_and_scores_are_those_of_the_exact_reference(self, index: Index, seed: int) -> None:
        rng = np.random.default_rng(seed)
        reference = StoredIndex(MemoryStore(worlds.META))
        world = worlds.world(rng, 60)
        for each in (index, reference):
            fill(each, world)
        for _ in range(12):
            query = worlds.query(rng)
            for scope in scopes(rng):
                assert_same(index.search(query, scope), reference.search(query, scope))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_filters_and_scopes_mean_what_their_definitions_say(self, index: Index, seed: int) -> None:
        rng = np.random.default_rng(seed)
        world = worlds.world(rng, 40)
        fill(index, world)
        for _ in range(12):
            where = worlds.condition(rng)
            for scope in scopes(rng):
                wanted = sorted(
                    chunk.id for chunk in world.chunks if in_scope(chunk, scope) and where.matches(fields(chunk))
                )
                assert [point.id for point, _ in index.scan("chunk", where, scope)] == wanted
                assert index.count("chunk", where, scope) == len(wanted)

    def test_facets_count_exactly_what_the_scope_holds(self, index: Index) -> None:
        rng = np.random.default_rng(1)
        world = worlds.world(rng, 40)
        fill(index, world)
        for scope in scopes(rng):
            inside = [chunk for chunk in world.chunks if in_scope(chunk, scope)]
            wanted = {source: sum(chunk.source == source for chunk in inside) for source in worlds.SOURCES}
            found = index.facet("source", "chunk", ALL, scope)
            assert found == {source: number for source, number in wanted.items() if number}

    def test_points_come_back_as_they_were_put(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(2), 12)
        fill(index, world)
        everything: Scope = Administrator()
        chunks = sorted(world.chunks, key=lambda each: each.id)
        assert [point for point, _ in index.scan("chunk", ALL, everything)] == chunks
        documents = [point for point, _ in index.scan("document", ALL, everything)]
        assert documents == sorted(world.documents, key=lambda each: each.id)
        sources = [point for point, _ in index.scan("source", ALL, everything)]
        assert sources == sorted(world.sources, key=lambda each: each.id)

    def test_vectors_come_back_with_a_scan_that_names_them(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(3), 5)
        fill(index, world)
        rows = {chunk.id: row for chunk, row in zip(world.chunks, world.matrix, strict=True)}
        for point, vectors in index.scan("chunk", ALL, Administrator(), vectors=("dense",)):
            assert vectors["dense"] == pytest.approx(rows[point.id], abs=1e-6)
        assert all(not vectors for _, vectors in index.scan("chunk", ALL, Administrator()))

    def test_who_manages_a_source_gets_no_text_back(self, index: Index) -> None:
        fill(index, worlds.world(np.random.default_rng(4), 10))
        points = [point for point, _ in index.scan("chunk", ALL, Managers(frozenset({"user:ana"})))]
        assert points
        assert all(isinstance(point, Chunk) and point.text == "" and point.header == "" for point in points)

    def test_a_scan_goes_on_past_a_page(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(5), 700)
        fill(index, world)
        assert len(world.chunks) > 1000
        found = [point.id for point, _ in index.scan("chunk", ALL, Administrator())]
        assert found == sorted(chunk.id for chunk in world.chunks)

    def test_more_hits_than_the_depth_of_a_leg_can_be_asked_for(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(6), 150)
        fill(index, world)
        live = sum(chunk.live for chunk in world.chunks)
        assert live > 150
        query = Query(text="pay", vector=world.matrix[0], limit=live + 10)
        assert len(index.search(query, Administrator())) == live

    def test_term_statistics_are_those_of_the_readable_chunks_alone(self, index: Index) -> None:
        rng = np.random.default_rng(7)
        seen = worlds.world(rng, 30, name="seen", readers=Acl(allow=frozenset({"user:ana"})))
        hidden = worlds.world(rng, 60, name="hidden", readers=Acl(allow=frozenset({"user:ben"})))
        alone = StoredIndex(MemoryStore(worlds.META))
        fill(alone, seen)
        fill(index, seen)
        fill(index, hidden)
        scope = Readers(frozenset({"user:ana"}))
        for _ in range(15):
            query = worlds.query(rng, mode="keyword")
            assert_same(index.search(query, scope), alone.search(query, scope))
        index.delete(In("document", tuple(record.document for record in hidden.documents)), Administrator())
        query = worlds.query(rng, mode="keyword")
        assert_same(index.search(query, scope), alone.search(query, scope))

    def test_a_patch_changes_what_passes_in_the_scope_and_nothing_else(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(8), 20)
        fill(index, world)
        scope = Managers(frozenset({"user:ben"}))
        where = And((In("source", ("hr",)), Not(In("type", ("pdf",)))))
        wanted = {chunk.id for chunk in world.chunks if in_scope(chunk, scope) and where.matches(fields(chunk))}
        assert index.patch("chunk", where, scope, {"title": "changed", "live": 0}) == len(wanted)
        for point, _ in index.scan("chunk", ALL, Administrator()):
            assert isinstance(point, Chunk)
            assert (point.title == "changed") == (point.id in wanted)

    def test_new_readers_replace_the_old_ones_whole(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(9), 10, readers=Acl(allow=frozenset({"public", "user:cy"})))
        fill(index, world)
        document = world.documents[0]
        where = In("document_id", (document.id,))
        closed = Acl(allow=frozenset({"user:ana"}), deny=frozenset({"user:ben"}))
        changed = index.patch(None, where, Administrator(), {"acl": closed, "access": 1})
        assert changed == 1 + document.chunks
        assert index.count("chunk", where, Readers(frozenset({"public", "user:cy"}))) == 0
        assert index.count("chunk", where, Readers(frozenset({"user:ana", "user:ben"}))) == 0
        assert index.count("chunk", where, Readers(frozenset({"user:ana"}))) == document.chunks
        assert {point.acl for point, _ in index.scan("document", where, Administrator())} == {closed}

    def test_a_field_set_to_none_is_gone(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(10), 3)
        fill(index, world)
        where = In("document_id", (world.documents[0].id,))
        index.patch("document", where, Administrator(), {"reason": "broken"})
        index.patch("document", where, Administrator(), {"reason": None})
        found = [point for point, _ in index.scan("document", where, Administrator())]
        assert found == [world.documents[0]]

    def test_a_deletion_takes_what_passes_in_the_scope_and_nothing_else(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(11), 20)
        fill(index, world)
        scope = Managers(frozenset({"user:ana"}))
        before = {point.id for point, _ in index.scan("chunk", ALL, Administrator())}
        gone = {chunk.id for chunk in world.chunks if in_scope(chunk, scope) and chunk.source == "lab"}
        records = sum(record.owner == "user:ana" and record.source == "lab" for record in world.documents)
        sources = sum(source.owner == "user:ana" and source.source == "lab" for source in world.sources)
        assert index.delete(In("source", ("lab",)), scope) == len(gone) + records + sources
        assert {point.id for point, _ in index.scan("chunk", ALL, Administrator())} == before - gone

    def test_a_point_put_again_replaces_the_old_one(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(12), 3)
        fill(index, world)
        changed = replace(world.chunks[0], text="潮位 only", live=True, acl=Acl(allow=frozenset({"user:cy"})))
        index.put([changed], {"dense": world.matrix[1:2]})
        assert index.count("chunk", ALL, Administrator()) == len(world.chunks)
        hits = index.search(Query(text="潮位", mode="keyword"), Readers(frozenset({"user:cy"})))
        assert changed in [hit.chunk for hit in hits]

    def test_nobody_sees_anything(self, index: Index) -> None:
        world = worlds.world(np.random.default_rng(13), 10, readers=Acl(allow=frozenset({"public"})))
        fill(index, world)
        for scope in (Readers(frozenset()), Managers(frozenset()), Readers(frozenset({"user:else"}))):
            assert index.search(Query(text="pay", vector=world.matrix[0]), scope) == []
            assert list(index.scan("chunk", ALL, scope)) == []
            assert index.count("document", ALL, scope) == 0
            assert index.facet("source", "chunk", ALL, scope) == {}
            assert index.patch(None, ALL, scope, {"live": 0}) == 0
            assert index.delete(ALL, scope) == 0
        assert index.count("chunk", ALL, Administrator()) == len(world.chunks)

    @pytest.mark.parametrize("broken", ["nan", "inf", "zero", "dim", "rows"])
    def test_vectors_that_are_none_are_refused_and_nothing_is_written(self, index: Index, broken: str) -> None:
        world = worlds.world(np.random.default_rng(14), 3)
        matrix = world.matrix.copy()
        if broken in ("nan", "inf", "zero"):
            matrix[-1, :] = {"nan": np.nan, "inf": np.inf, "zero": 0.0}[broken]
        matrix = matrix[:, :-1] if broken == "dim" else matrix[:-1] if broken == "rows" else matrix
        with pytest.raises(UsageError):
            index.put(world.chunks, {"dense": matrix})
        assert index.count("chunk", ALL, Administrator()) == 0
        index.put(world.chunks, {"dense": world.matrix})
        assert index.count("chunk", ALL, Administrator()) == len(world.chunks)

    def test_a_query_vector_that_is_none_is_refused(self, index: Index) -> None:
        with pytest.raises(UsageError, match="shape"):
            index.search(Query(text="x", vector=np.ones(3, np.float32)), Administrator())
        with pytest.raises(UsageError, match="vector"):
            index.search(Query(text="x"), Administrator())

    def test_an_empty_index_answers_emptily(self, index: Index) -> None:
        query = Query(text="pay", vector=worlds.unit(np.random.default_rng(0), 1)[0])
        assert index.search(query, Administrator()) == []
        assert list(index.scan("chunk", ALL, Administrator())) == []
        assert index.count("chunk", ALL, Administrator()) == 0
        assert index.meta == worlds.META

    def test_a_rebuilt_index_answers_as_before(self, index: Index) -> None:
        rng = np.random.default_rng(15)
        world = worlds.world(rng, 40)
        fill(index, world)
        index.delete(In("source", ("board",)), Administrator())
        queries = [worlds.query(rng) for _ in range(5)]
        before = [index.search(query, Readers(frozenset({"public"}))) for query in queries]
        index.purge()
        for query, wanted in zip(queries, before, strict=True):
            assert_same(index.search(query, Readers(frozenset({"public"}))), wanted)
        index.put(world.chunks[:1], {"dense": world.matrix[:1]})


class DurableIndexContract(IndexContract):
    """What an index that outlives its process must do besides."""

    def test_what_was_closed_is_there_when_it_is_opened_again(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(16)
        world = worlds.world(rng, 40)
        query, scope = worlds.query(rng), Readers(frozenset({"public", "everyone"}))
        with self.open_index(tmp_path, worlds.META) as index:
            fill(index, world)
            before = index.search(query, scope)
        with self.open_index(tmp_path, None) as index:
            assert index.meta == worlds.META
            assert_same(index.search(query, scope), before)
            assert [point for point, _ in index.scan("chunk", ALL, Administrator())] == sorted(
                world.chunks, key=lambda each: each.id
            )
