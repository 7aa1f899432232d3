"""Ways in which readers could be widened, late or lost: each was tried against this program once and must stay shut."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rag_qdrant.adapters.files import Selection, find_tree
from rag_qdrant.adapters.indexes import edge, memory
from rag_qdrant.domain.access import principals
from rag_qdrant.domain.filters import In
from rag_qdrant.errors import StateConflict, UsageError
from rag_qdrant.ports import FileRead, FileToRead, Index
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases import catalog, share
from rag_qdrant.usecases.share import sync_rules
from rag_qdrant.view import View
from tests.syncing import meta, pool, sync, texts, write

PUBLIC = principals(["public"])
BEN = principals(["public", "everyone", "user:ben"])
SECRET = "The secret merger closes in May.\n"


@pytest.fixture(params=["memory", "edge"])
def index(request: pytest.FixtureRequest, tmp_path: Path, embedder: HashEmbedder) -> Iterator[Index]:
    opener = {"memory": memory.open_index, "edge": edge.open_index}[request.param]
    place = str(tmp_path / "index") if request.param == "edge" else ""
    collection = "docs" if request.param == "edge" else str(tmp_path)
    with opener(place, collection=collection, create=meta(embedder)) as index:
        yield index


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def admin(index: Index) -> View:
    return View.administrator(index)


def sees(index: Index, viewer: frozenset[str] = BEN) -> str:
    return " ".join(texts(index, viewer).values())


def test_replaced_text_does_not_stay_because_another_file_holds_it_now(index: Index, root: Path) -> None:
    rules = 'default = "public"\n[[rule]]\npath = "private/**"\nallow = ["user:boss"]\n'
    write(root, {".ragacl.toml": rules, "report.md": f"# Report\n\n{SECRET}"})
    sync(index, root)
    write(root, {"private/full.md": f"# Report\n\n{SECRET}", "report.md": "# Report\n\nNothing to see.\n"})
    sync(index, root)
    assert "secret" not in sees(index)
    assert "secret" in sees(index, principals(["user:boss"]))


def test_rules_are_not_applied_to_documents_whose_own_rules_were_not_looked_at(index: Index, root: Path) -> None:
    write(
        root,
        {
            ".ragacl.toml": 'default = "everyone"',
            "a.md": "Open.",
            "fin/.ragacl.toml": 'default = "private"',
            "fin/p.md": SECRET,
        },
    )
    sync(index, root)
    sync_rules(admin(index), [find_tree(root / "a.md", Selection())], None)
    assert "secret" not in sees(index)
    write(root, {".ragignore": "fin/\n"})
    sync_rules(admin(index), [find_tree(root, Selection())], None)
    assert "secret" not in sees(index)


def test_the_rules_of_another_folder_of_the_same_name_are_refused(index: Index, root: Path, tmp_path: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root)
    other = tmp_path / "else" / "tree"
    write(other, {".ragacl.toml": 'default = "public"', "a.md": "x"})
    with pytest.raises(StateConflict, match="another folder"):
        sync_rules(admin(index), [find_tree(other, Selection())], None)
    assert sees(index) == ""


def test_front_matter_that_closes_a_document_closes_it_before_the_new_text_comes(index: Index, root: Path) -> None:
    write(root, {".ragacl.toml": "trust_embedded = true\n", "d.md": "---\nallow: [everyone]\n---\nHarmless.\n"})
    sync(index, root)
    assert "Harmless" in sees(index)
    write(root, {"d.md": f"---\nallow: [user:boss]\n---\n{SECRET}"})
    sync(index, root)
    assert sees(index) == ""
    assert "secret" in sees(index, principals(["user:boss"]))
    write(root, {"d.md": "---\nallow: [everyone]\n---\nOpen again.\n"})
    sync(index, root)
    assert "Open again" in sees(index)


CAFE_NFD = unicodedata.normalize("NFD", "café")


def test_broken_rules_in_a_folder_with_a_decomposed_name_fail_closed(index: Index, root: Path) -> None:
    write(
        root,
        {
            ".ragacl.toml": 'default = "everyone"',
            f"{CAFE_NFD}/s.md": SECRET,
            f"{CAFE_NFD}/.ragacl.toml": b"\xff\xfe\xff",
        },
    )
    assert [name for name, _ in sync(index, root).failed] == ["tree/café"]
    assert sees(index) == ""


def test_names_that_differ_in_their_unicode_form_only_do_not_open_each_other(index: Index, root: Path) -> None:
    write(root, {"café/.ragacl.toml": 'default = "private"', "café/s.md": SECRET})
    write(root, {f"{CAFE_NFD}/.ragacl.toml": 'default = "public"', f"{CAFE_NFD}/t.md": "Open."})
    assert any("Unicode form" in reason for _, reason in sync(index, root).failed)
    assert sees(index) == ""


@pytest.mark.parametrize("kind", ["long", "fifo", "folder", "link", "number"])
def test_rules_that_cannot_be_read_whole_are_not_taken_for_none(index: Index, root: Path, kind: str) -> None:
    write(root, {".ragacl.toml": 'default = "everyone"', "sub/s.md": SECRET, "open.md": "Open."})
    rules = root / "sub" / ".ragacl.toml"
    if kind == "long":
        rules.write_text("#" + "x" * (1 << 20) + '\ndefault = "private"\n')
    elif kind == "fifo":
        os.mkfifo(rules)
    elif kind == "folder":
        rules.mkdir()
    elif kind == "link":
        rules.symlink_to(root / ".ragacl.toml")
    else:
        rules.write_text(f"default = {'9' * 5000}")
    report = sync(index, root)
    assert [name for name, _ in report.failed] == ["tree/sub"]
    assert sees(index) == "Open."


def test_ignore_files_are_not_followed_and_never_taken_for_none(index: Index, root: Path, tmp_path: Path) -> None:
    write(tmp_path, {"elsewhere": "nothing\n"})
    write(root, {"a.md": "Open.", "sub/b.md": SECRET})
    (root / "sub" / ".ragignore").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / ".gitignore")
    report = sync(index, root, allow=("public",))
    assert report.documents == 0
    assert {name for name, _ in report.failed} >= {"tree"}


def test_readers_of_a_whole_source_are_not_changed_by_a_part_of_it(index: Index, root: Path) -> None:
    write(root, {"a.md": "A.", "b.md": SECRET})
    sync(index, root, allow=("everyone",), owner="user:ana")
    for request in ({"deny": ("user:ben",)}, {"allow": ("private",)}, {"owner": "user:bob"}):
        with pytest.raises(UsageError, match="all of its folders"):
            sync(index, root / "a.md", **request)
    assert sync(index, root / "a.md").documents == 2
    sync(index, root, deny=("user:ben",))
    assert sees(index) == ""


def test_a_denial_of_a_sync_that_was_cut_off_is_not_forgotten(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root, allow=("everyone",))
    write(root, {"b.md": "New."})

    class Cut(HashEmbedder):
        def embed(self, texts: Sequence[str], *, role: Any) -> Any:
            raise KeyboardInterrupt(texts, role)

    with pytest.raises(KeyboardInterrupt):
        sync(index, root, embedder=Cut(), deny=("user:ben",))
    assert sees(index) == ""
    sync(index, root)
    assert sees(index) == ""


def moved(root: Path) -> None:
    (root / "z").mkdir()
    (root / "a.md").rename(root / "z" / "a2.md")
    write(root, {"a copy.md": SECRET})


def over_another(root: Path) -> None:
    (root / "a.md").rename(root / "k.md")


def swapped(root: Path) -> None:
    (root / "a.md").rename(root / "x")
    (root / "k.md").rename(root / "a.md")
    (root / "x").rename(root / "k.md")


def twice(root: Path) -> None:
    for name in ("one", "two"):
        write(root, {f"{name}/s.md": SECRET})
    (root / "a.md").unlink()


@pytest.mark.parametrize("change", [moved, over_another, swapped, twice])
def test_who_was_unshared_stays_out_wherever_the_text_goes(
    index: Index, root: Path, change: Callable[[Path], None]
) -> None:
    write(root, {"a.md": SECRET, "k.md": "Another text, of another length.\n", "l.md": "More."})
    sync(index, root, allow=("everyone",))
    share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
    change(root)
    sync(index, root, confirm_removals=True)
    assert "secret" not in sees(index)
    assert "secret" in sees(index, principals(["everyone", "user:cy"]))


def test_who_was_unshared_stays_out_when_the_file_was_away_for_a_while(
    index: Index, root: Path, tmp_path: Path
) -> None:
    write(root, {"a.md": SECRET, "k.md": "Another."})
    sync(index, root, allow=("everyone",))
    share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
    (root / "a.md").rename(tmp_path / "away.md")
    report = sync(index, root)
    assert (report.removed, report.documents) == (1, 1)
    assert [record.document for record in catalog.documents(admin(index))] == ["tree/k.md"]
    (tmp_path / "away.md").rename(root / "back.md")
    assert sync(index, root).added == 1
    assert "secret" not in sees(index)
    catalog.remove(admin(index), ["tree/back.md"])
    sync(index, root)
    assert "secret" not in sees(index)
    share.reset(admin(index), "tree/back.md")
    assert "secret" in sees(index)


class Meanwhile:
    """Somebody acts after the sync has read its ledger, and before it writes."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
        for read in pool().extract(files):
            self._act()
            yield read

    def close(self) -> None: ...


def test_an_unshare_while_the_file_moves_holds_at_its_new_place(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET, "k.md": "Another."})
    sync(index, root, allow=("everyone",))
    (root / "a.md").rename(root / "b.md")
    act = Meanwhile(lambda: share.unshare(admin(index), "tree/a.md", principals(["user:ben"])))
    sync(index, root, extractor=act)
    assert "secret" not in sees(index)


def test_an_unshare_while_the_file_is_empty_for_a_moment_holds(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root, allow=("everyone",))
    write(root, {"a.md": ""})
    act = Meanwhile(lambda: share.unshare(admin(index), "tree/a.md", principals(["user:ben"])))
    sync(index, root, extractor=act)
    write(root, {"a.md": SECRET + "And more."})
    sync(index, root)
    assert sees(index) == ""


def test_an_unshare_between_the_last_look_and_going_live_holds(index: Index, root: Path) -> None:
    write(root, {"a.md": "Before."})
    sync(index, root, allow=("everyone",))
    write(root, {"a.md": SECRET})
    real = index.patch
    done: list[object] = []

    def patch(kind: Any, where: Any, scope: Any, fields: Any) -> int:
        if fields == {"live": 1} and not done:
            done.append(share.unshare(admin(index), "tree/a.md", principals(["user:ben"])))
        return real(kind, where, scope, fields)

    index.patch = patch  # type: ignore[method-assign]
    sync(index, root)
    assert done
    assert sees(index) == ""


def test_a_document_that_is_removed_while_it_is_synced_is_not_left_behind(index: Index, root: Path) -> None:
    write(root, {"a.md": "Before."})
    sync(index, root, allow=("everyone",))
    write(root, {"a.md": SECRET})
    sync(index, root, extractor=Meanwhile(lambda: list(_removed(index))))
    assert sees(index) == ""
    assert list(index.scan("chunk", In("document", ("tree/a.md",)), admin(index).reading)) == []


def _removed(index: Index) -> Iterator[object]:
    yield catalog.remove(admin(index), ["tree/a.md"])


def test_too_many_readers_on_one_file_stop_that_file_alone(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET, "many/b.md": "B."})
    sync(index, root, allow=("everyone",))
    names = ", ".join(f'"user:u{number}"' for number in range(300))
    write(
        root,
        {".ragacl.toml": '[[rule]]\npath = "a.md"\nallow = "private"', "many/.ragacl.toml": f"default = [{names}]"},
    )
    report = sync(index, root)
    assert [name for name, _ in report.failed] == ["tree/many/b.md"]
    assert "use a group" in report.failed[0][1]
    assert sees(index) == "B."


def test_a_former_owner_starts_a_new_source(index: Index, root: Path, tmp_path: Path) -> None:
    write(root, {"a.md": "Hers."})
    ana, bob = principals(["user:ana"]), principals(["user:bob"])
    sync(index, root, owner="user:ana")
    sync(index, root, owner="user:bob")
    other = tmp_path / "attack" / "tree"
    write(other, {"a.md": "Taken."})
    sync(index, other, viewer=ana, owner="user:ana")
    assert sees(index, bob) == "Hers."
    assert sees(index, ana) == "Taken."


def test_the_default_owner_is_for_new_sources_alone(index: Index, root: Path) -> None:
    write(root, {"a.md": "Hers."})
    sync(index, root, owner="user:ana")
    sync(index, root, default_owner="user:carl")
    assert sees(index, principals(["user:ana"])) == "Hers."
    assert sees(index, principals(["user:carl"])) == ""


@pytest.mark.parametrize("pattern", ["/", "./finance/**", "finance//x", " !finance", "a/../b", "x\\", " x"])
def test_a_pattern_that_matches_nothing_is_refused(index: Index, root: Path, pattern: str) -> None:
    escaped = pattern.replace("\\", "\\\\")
    write(
        root,
        {"a.md": SECRET, ".ragacl.toml": f'default = "public"\n[[rule]]\npath = "{escaped}"\ndeny = ["user:ben"]\n'},
    )
    assert sync(index, root).failed
    assert sees(index) == ""


def test_what_a_manager_may_not_read_is_not_in_its_metadata(index: Index, root: Path) -> None:
    front = "---\ntitle: Barracuda\ntags: {codeword: barracuda}\n---\n"
    write(root, {"a.md": f"{front}{SECRET}"})
    sync(index, root, owner="user:ana", tags={"team": "red"}, deny=("user:ana",))
    (row,) = catalog.documents(View.of(index, principals(["user:ana"])))
    assert (row.title, row.tags) == ("", {"team": "red"})


def test_two_sources_of_one_name_are_not_shared_at_once(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    for name in ("ana", "bob"):
        sync(index, root, viewer=principals([f"user:{name}"]), owner=f"user:{name}")
    for act in (
        lambda: share.share(admin(index), "source:tree", PUBLIC),
        lambda: catalog.remove(admin(index), ["source:tree"]),
    ):
        with pytest.raises(UsageError, match="several sources"):
            act()
    assert sees(index) == ""


def test_a_sync_between_the_writes_of_an_unshare_does_not_undo_it(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root, allow=("everyone",))
    for number in range(1, 4):
        real = index.patch
        calls: list[int] = []

        def patch(
            kind: Any, where: Any, scope: Any, fields: Any, real: Any = real, calls: Any = calls, at: int = number
        ) -> int:
            calls.append(1)
            if len(calls) == at:
                write(root, {".ragacl.toml": f'default = ["everyone", "user:x{at}"]'})
                index.patch = real  # type: ignore[method-assign]
                sync(index, root)
            changed: int = real(kind, where, scope, fields)
            return changed

        index.patch = patch  # type: ignore[method-assign]
        share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
        index.patch = real  # type: ignore[method-assign]
        assert sees(index) == ""
        sync(index, root)
        assert sees(index) == ""
        share.share(admin(index), "tree/a.md", principals(["user:ben"]))
        assert "secret" in sees(index)


def test_two_who_put_out_at_once_both_hold(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root, owner="user:ana")
    stale = share.managed(admin(index), "tree/a.md")
    share.unshare(admin(index), "tree/a.md", principals(["group:g"]))
    share._override(admin(index), stale, lambda overrides: overrides.unshare(principals(["group:h"])))
    (record,) = share.managed(admin(index), "tree/a.md")
    assert record.overrides.unshared == principals(["group:g", "group:h"])


def test_what_was_shared_is_forgotten_with_the_text(index: Index, root: Path) -> None:
    write(root, {"a.md": "An invitation.", "k.md": "Another."})
    sync(index, root)
    share.share(admin(index), "tree/a.md", principals(["user:ben"]))
    catalog.remove(admin(index), ["tree/a.md"])
    write(root, {"a.md": SECRET})
    sync(index, root)
    assert sees(index) == ""


def test_a_copy_made_before_the_file_went_keeps_out_whom_it_kept_out(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root, allow=("everyone",))
    share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
    write(root, {"copy.md": SECRET})
    sync(index, root)
    (root / "a.md").unlink()
    sync(index, root)
    assert sees(index) == ""


def test_a_new_owner_owns_what_is_remembered_too(index: Index, root: Path, tmp_path: Path) -> None:
    write(root, {"a.md": SECRET, "k.md": "Another."})
    sync(index, root, owner="user:ana", allow=("everyone",))
    share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
    (root / "a.md").rename(tmp_path / "away.md")
    sync(index, root)
    sync(index, root, owner="user:bob")
    (tmp_path / "away.md").rename(root / "a.md")
    sync(index, root, viewer=principals(["user:bob"]))
    assert "secret" not in sees(index)


def test_only_an_administrator_gives_a_source_away(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    ana = principals(["user:ana"])
    sync(index, root, viewer=ana, owner="user:ana")
    with pytest.raises(UsageError, match="only an administrator"):
        sync(index, root, viewer=ana, owner="user:bob")
    assert sync(index, root, viewer=ana).unchanged == 1


def test_a_source_without_documents_can_be_removed(index: Index, root: Path) -> None:
    write(root, {"a.md": SECRET})
    sync(index, root)
    share.unshare(admin(index), "tree/a.md", principals(["user:ben"]))
    catalog.remove(admin(index), ["tree/a.md"])
    assert catalog.remove(admin(index), ["source:tree"]).documents == 0
    assert catalog.sources(admin(index)) == []
