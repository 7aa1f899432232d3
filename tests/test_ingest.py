"""Ingest as a sync: what changed is read, what is gone leaves, and readers come first."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from rag_qdrant.adapters.indexes import memory
from rag_qdrant.domain.access import principals
from rag_qdrant.domain.filters import In
from rag_qdrant.errors import IndexBusy, NothingFound, StateConflict, UsageError
from rag_qdrant.ports import FileRead, FileToRead, Index
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases import catalog, share
from rag_qdrant.view import View
from tests.syncing import contents, meta, pool, sync, texts, write

ANA = principals(["user:ana"])
BEN = principals(["user:ben"])
STAFF = principals(["user:ben", "group:staff"])
FILES = {
    "a.md": "# Alpha\n\nThe tide gauge reads the level.\n\n## Beta\n\nThe buoy measures waves.\n",
    "sub/b.txt": "Plain notes about leave.\n\nFive days carry over.\n",
    "sub/c.html": "<html><head><title>See</title></head><body><h1>Gamma</h1><p>Office in Lisbon.</p></body></html>",
}


@pytest.fixture
def index(embedder: HashEmbedder, tmp_path: Path) -> Index:
    return memory.open_index("", collection=str(tmp_path), create=meta(embedder))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "handbook"
    write(root, FILES)
    return root


def test_files_of_several_formats_come_in_with_their_places(index: Index, root: Path) -> None:
    report = sync(index, root, allow=("everyone",))
    assert (report.source, report.added, report.documents, report.failed) == ("handbook", 3, 3, ())
    assert report.readers == {"everyone": 3}
    view = View.administrator(index)
    for record in view.documents():
        shown = catalog.show(view, record.document)
        for chunk, _ in view.chunks(In("document_id", (record.id,))):
            assert shown.text[chunk.start : chunk.end] == chunk.text
            assert chunk.lines is not None
            assert chunk.document.startswith("handbook/")
    assert catalog.show(view, "handbook/sub/b.txt").text == FILES["sub/b.txt"]


def test_a_second_sync_reads_nothing_embeds_nothing_and_writes_nothing(
    index: Index, root: Path, embedder: HashEmbedder
) -> None:
    sync(index, root, embedder=embedder, allow=("everyone",))
    before, embedded = contents(index), len(embedder.embedded)

    class Refusing:
        def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
            assert not list(files)
            return iter(())

        def close(self) -> None: ...

    report = sync(index, root, embedder=embedder, extractor=Refusing())
    assert (report.unchanged, report.added, report.updated, report.removed) == (3, 0, 0, 0)
    assert len(embedder.embedded) == embedded
    assert contents(index) == before


def test_a_touched_file_is_not_embedded_again(index: Index, root: Path, embedder: HashEmbedder) -> None:
    sync(index, root, embedder=embedder)
    before, embedded = contents(index), len(embedder.embedded)
    os.utime(root / "a.md")
    report = sync(index, root, embedder=embedder)
    assert (report.unchanged, report.updated) == (3, 0)
    assert len(embedder.embedded) == embedded
    assert contents(index) == before


def test_a_changed_file_replaces_its_old_text(index: Index, root: Path) -> None:
    sync(index, root, allow=("public",))
    write(root, {"sub/b.txt": "Seven days carry over.\n"})
    report = sync(index, root)
    assert (report.updated, report.unchanged) == (1, 2)
    assert texts(index, principals(["public"]))["handbook/sub/b.txt"] == "Seven days carry over."


def test_a_removed_file_leaves(index: Index, root: Path) -> None:
    sync(index, root, allow=("public",))
    (root / "a.md").unlink()
    report = sync(index, root)
    assert (report.removed, report.documents) == (1, 2)
    assert "handbook/a.md" not in texts(index, principals(["public"]))


@pytest.mark.parametrize("name", ["archive/a.md", "sub/renamed.md"])
def test_a_moved_file_costs_no_embedding(index: Index, root: Path, embedder: HashEmbedder, name: str) -> None:
    sync(index, root, embedder=embedder, allow=("public",))
    embedded = len(embedder.embedded)
    (root / name).parent.mkdir(exist_ok=True)
    (root / "a.md").rename(root / name)
    report = sync(index, root, embedder=embedder)
    assert (report.moved, report.added, report.removed, report.documents) == (1, 0, 0, 3)
    assert len(embedder.embedded) == embedded
    fresh = memory.open_index("", collection=f"fresh-{name}-{root}", create=index.meta)
    sync(fresh, root, allow=("public",))
    assert contents(index) == contents(fresh)


def test_what_was_unshared_stays_out_when_the_file_moves(index: Index, root: Path) -> None:
    sync(index, root, allow=("group:staff",))
    share.unshare(View.administrator(index), "handbook/a.md", BEN)
    (root / "a.md").rename(root / "sub" / "a.md")
    sync(index, root)
    assert "handbook/sub/a.md" not in texts(index, STAFF)
    assert "handbook/sub/b.txt" in texts(index, STAFF)


def test_most_of_a_folder_gone_is_asked_about(index: Index, tmp_path: Path) -> None:
    root = tmp_path / "big"
    write(root, {f"{number}.txt": f"File number {number} of many." + "x" * number for number in range(30)})
    sync(index, root, allow=("public",))
    for number in range(12):
        (root / f"{number}.txt").unlink()
    before = contents(index)
    with pytest.raises(StateConflict, match=r"12 of 30 .*--confirm-removals"):
        sync(index, root)
    assert contents(index) == before
    assert sync(index, root, confirm_removals=True).removed == 12


def test_an_empty_folder_does_not_empty_the_source(index: Index, root: Path) -> None:
    sync(index, root)
    for path in list(root.rglob("*.*")):
        path.unlink()
    with pytest.raises(StateConflict, match="3 of 3"):
        sync(index, root)


def test_failures_are_listed_remembered_and_retried_on_demand(index: Index, root: Path) -> None:
    write(root, {"empty.txt": "", "bad.txt": b"\x00\x01\x02 binary", "blank.md": "   \n\n"})
    report = sync(index, root)
    assert report.added == 3
    assert [name for name, _ in report.failed] == ["handbook/bad.txt", "handbook/blank.md", "handbook/empty.txt"]
    assert all(reason for _, reason in report.failed)
    again = sync(index, root)
    assert again.failed == report.failed
    assert [record.document for record in catalog.documents(View.administrator(index), failed=True)] == [
        name for name, _ in report.failed
    ]
    write(root, {"empty.txt": "Now it says something."})
    assert (sync(index, root).added, len(sync(index, root, retry_failed=True).failed)) == (1, 2)


def test_a_file_that_breaks_keeps_its_old_text_and_says_so(index: Index, root: Path) -> None:
    sync(index, root, allow=("public",))
    write(root, {"a.md": b"\x00\x00 broken"})
    report = sync(index, root)
    assert [name for name, _ in report.failed] == ["handbook/a.md"]
    assert "tide gauge" in texts(index, principals(["public"]))["handbook/a.md"]
    write(root, {"a.md": FILES["a.md"]})
    assert sync(index, root).failed == ()


def test_a_file_that_was_emptied_takes_its_old_text_with_it(index: Index, root: Path) -> None:
    sync(index, root, allow=("public",))
    write(root, {"a.md": ""})
    sync(index, root)
    assert "handbook/a.md" not in texts(index, principals(["public"]))


def test_rules_in_the_tree_decide_and_a_subfolder_cannot_lift_a_denial(index: Index, root: Path) -> None:
    write(
        root,
        {
            ".ragacl.toml": 'default = ["group:staff"]\n[[rule]]\npath = "sub/**"\ndeny = ["user:ben"]\n',
            "sub/.ragacl.toml": '[[rule]]\npath = "b.txt"\nallow = ["user:ben", "everyone"]\n',
        },
    )
    sync(index, root)
    assert set(texts(index, STAFF)) == {"handbook/a.md"}
    assert set(texts(index, principals(["everyone", "user:cy"]))) == {"handbook/sub/b.txt"}


def test_rules_written_on_windows_are_read(index: Index, root: Path) -> None:
    write(root, {".ragacl.toml": '\ufeffdefault = "public"\r\n[[rule]]\r\npath = "sub/"\r\nallow = "private"\r\n'})
    sync(index, root)
    assert set(texts(index, principals(["public"]))) == {"handbook/a.md"}


def test_without_rules_a_source_is_its_owners_alone(index: Index, root: Path) -> None:
    report = sync(index, root, owner="user:ana")
    assert report.readers == {"user:ana": 3}
    assert set(texts(index, ANA)) == {"handbook/a.md", "handbook/sub/b.txt", "handbook/sub/c.html"}
    assert texts(index, principals(["public", "everyone", "user:ben"])) == {}


def test_without_an_owner_it_is_nobodys(index: Index, root: Path) -> None:
    report = sync(index, root)
    assert (report.readers, report.unreadable) == ({}, 3)


@pytest.mark.parametrize(
    "broken", ["default = [", 'defualt = "public"', 'default = ["ana"]', '[[rule]]\npath = "x"', "[rule]\npath = 'x'"]
)
def test_rules_that_cannot_be_read_stop_their_subtree_and_leave_the_old_state(
    index: Index, root: Path, broken: str
) -> None:
    write(root, {"sub/.ragacl.toml": 'default = ["user:ben"]'})
    sync(index, root, allow=("public",))
    write(
        root, {"sub/.ragacl.toml": broken, "sub/new.txt": "A new secret.", "sub/b.txt": "Changed.", "d.txt": "Deltas."}
    )
    report = sync(index, root)
    assert report.failed[0][0] == "handbook/sub"
    assert report.added == 1
    public = texts(index, principals(["public"]))
    assert set(public) == {"handbook/a.md", "handbook/d.txt"}
    assert "leave" in texts(index, BEN)["handbook/sub/b.txt"]


def test_changed_rules_need_no_reading_and_no_embedding(index: Index, root: Path, embedder: HashEmbedder) -> None:
    sync(index, root, embedder=embedder, allow=("public",))
    embedded = len(embedder.embedded)
    write(root, {".ragacl.toml": 'default = ["user:ben"]'})
    report = sync(index, root, embedder=embedder)
    assert (report.readers_changed, report.unchanged, len(embedder.embedded)) == (3, 3, embedded)
    assert texts(index, principals(["public"])) == {}
    assert len(texts(index, BEN)) == 3


def test_what_share_and_unshare_changed_survives_every_sync(index: Index, root: Path) -> None:
    sync(index, root, allow=("group:staff",))
    view = View.administrator(index)
    share.share(view, "handbook/a.md", principals(["user:guest"]))
    share.unshare(view, "handbook/sub/b.txt", BEN)
    write(
        root,
        {"a.md": "# Alpha\n\nRewritten.\n", "sub/b.txt": "Rewritten too.\n", ".ragacl.toml": 'default = "everyone"'},
    )
    sync(index, root)
    assert set(texts(index, principals(["user:guest"]))) == {"handbook/a.md"}
    assert "handbook/sub/b.txt" not in texts(index, principals(["user:ben", "group:staff", "everyone"]))
    assert "handbook/sub/b.txt" in texts(index, principals(["user:cy", "everyone"]))
    share.reset(view, "handbook/*.*")
    assert "handbook/sub/b.txt" in texts(index, principals(["user:ben", "everyone"]))
    assert texts(index, principals(["user:guest"])) == {}


def test_a_revocation_in_the_middle_of_a_sync_is_not_undone_by_it(index: Index, root: Path) -> None:
    sync(index, root, allow=("group:staff",))
    write(root, {"a.md": "# Alpha\n\nRewritten.\n"})

    class Revoking:
        """Somebody unshares after the sync has read the ledger, and before it writes."""

        def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
            for read in pool().extract(files):
                share.unshare(View.administrator(index), "handbook/a.md", principals(["group:staff"]))
                yield read

        def close(self) -> None: ...

    sync(index, root, extractor=Revoking())
    assert "handbook/a.md" not in texts(index, STAFF)
    sync(index, root)
    assert "handbook/a.md" not in texts(index, STAFF)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(index: Index, root: Path) -> None:
    dry = sync(index, root, dry_run=True)
    assert (dry.added, dry.documents) == (3, 0)
    assert contents(index) == {}
    sync(index, root, allow=("public",))
    before = contents(index)
    write(root, {"a.md": "# Other\n\nText.\n", "new.txt": "New text.", ".ragacl.toml": 'default = "private"'})
    (root / "sub" / "b.txt").unlink()
    dry = sync(index, root, dry_run=True)
    assert contents(index) == before
    real = sync(index, root)
    assert (dry.added, dry.updated, dry.removed, dry.failed) == (real.added, real.updated, real.removed, real.failed)


def test_a_second_sync_of_one_source_is_told_who_is_at_it(index: Index, root: Path) -> None:
    seen: list[str] = []

    class Nested:
        def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
            with pytest.raises(IndexBusy, match=rf"'handbook' is being synced by process {os.getpid()}") as busy:
                sync(index, root)
            seen.append(str(busy.value))
            return pool().extract(files)

        def close(self) -> None: ...

    assert sync(index, root, extractor=Nested()).added == 3
    assert seen


def test_a_sync_whose_process_died_does_not_block_the_next(index: Index, root: Path) -> None:
    sync(index, root)
    dead = f"{socket.gethostname()}/{2**22 + 1}/abc"
    index.patch("source", In("source", ("handbook",)), View.administrator(index).managing, {"lease": dead})
    assert sync(index, root).unchanged == 3
    elsewhere = {"lease": "other-host/1/abc", "leased": time.time()}
    index.patch("source", In("source", ("handbook",)), View.administrator(index).managing, elsewhere)
    with pytest.raises(IndexBusy, match="other-host"):
        sync(index, root)


def test_another_folder_of_the_same_name_is_refused(index: Index, root: Path, tmp_path: Path) -> None:
    sync(index, root)
    other = tmp_path / "elsewhere" / "handbook"
    write(other, {"z.txt": "Something else."})
    with pytest.raises(StateConflict, match="another folder"):
        sync(index, other)
    assert sync(index, other, source="second").added == 1
    assert sync(index, root).unchanged == 3


def test_two_folders_and_a_single_file_make_one_source(index: Index, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "policies"
    write(other, {"p.txt": "A policy."})
    assert sync(index, root, other, source="all").documents == 4
    assert sync(index, root, source="all").removed == 0
    assert sync(index, root / "a.md", source="all").unchanged == 1
    assert {name.split("/")[0] for name in texts(index, principals(["public"]))} == set()
    with pytest.raises(UsageError, match="two of the paths"):
        sync(index, root, root)


def test_what_a_source_was_told_is_kept_until_it_is_told_otherwise(index: Index, root: Path) -> None:
    sync(index, root, allow=("everyone",), tags={"team": "red"}, owner="user:ana")
    report = sync(index, root)
    assert report.readers == {"everyone": 3, "user:ana": 3}
    assert all(record.tags["team"] == "red" for record in View.administrator(index).documents())
    report = sync(index, root, allow=("private",), tags={"team": "blue"}, owner="user:ben")
    assert report.readers == {"user:ben": 3}
    assert all(record.tags["team"] == "blue" for record in View.administrator(index).documents())


def test_another_owners_source_cannot_be_synced_shared_or_removed(index: Index, root: Path) -> None:
    sync(index, root, owner="user:ana")
    view = View.of(index, BEN)
    for attempt in (lambda: share.share(view, "handbook/a.md", BEN), lambda: catalog.remove(view, ["source:handbook"])):
        with pytest.raises(NothingFound):
            attempt()
    report = sync(index, root, viewer=BEN, owner="user:ben")
    assert report.added == 3
    assert len(texts(index, ANA)) == 3
    assert len(list(View.administrator(index).sources())) == 2


def test_front_matter_grants_nothing_unless_the_folder_trusts_it(index: Index, root: Path) -> None:
    write(root, {"f.md": "---\nallow: [public]\ntitle: F\n---\nOpen text.\n"})
    sync(index, root)
    assert texts(index, principals(["public"])) == {}
    write(root, {".ragacl.toml": "trust_embedded = true\n"})
    sync(index, root)
    assert set(texts(index, principals(["public"]))) == {"handbook/f.md"}


def test_links_and_devices_are_passed_over_and_said(index: Index, root: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside.txt": "Outside."})
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.txt")
    report = sync(index, root)
    assert {name for name, _ in report.skipped} == {"handbook/link.txt", "handbook/away", "handbook/pipe.txt"}
    assert report.documents == 3
