"""A sync that is killed, at every write and at random moments: nothing lost, nothing half, nothing shown too widely."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rag_qdrant.adapters.indexes import edge, memory
from rag_qdrant.domain.access import Administrator, principals
from rag_qdrant.domain.filters import ALL, In
from rag_qdrant.ports import Index
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases import share
from rag_qdrant.view import View
from tests.syncing import contents, meta, sync, texts, write

PUBLIC = principals(["public"])
BEN = principals(["user:ben"])


class Killed(BaseException):
    """What a SIGKILL would be, if it could be raised."""


class Dying:
    """An index whose process is killed at its n-th write: before it, and every write after it, never happens."""

    def __init__(self, index: Index, last: int) -> None:
        self._index = index
        self._left = last
        self.died = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._index, name)
        return self._counting(value) if name in ("put", "patch", "delete") else value

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if self._left == 0:
                self.died = True
                raise Killed
            self._left -= 1
            return call(*arguments)

        return counted


BEFORE: Mapping[str, str | bytes] = {
    "open.md": "# Open\n\nEverybody knows that tides turn.\n",
    "closing.md": "# Closing\n\nThis was public and will be closed.\n",
    "changing.txt": "The first text of a file that changes.\n",
    "moving.md": "# Moving\n\nThis one goes to another folder.\n",
    "going.txt": "This one goes away for good and ever.\n",
    "secret/plan.md": "# Plan\n\nOnly Ben reads the plan.\n",
    ".ragacl.toml": 'default = "public"\n[[rule]]\npath = "secret/**"\nallow = ["user:ben"]\n',
}
AFTER: Mapping[str, str | bytes] = {
    "changing.txt": "The second text, which is secret now.\n",
    "new.txt": "A file that is new, for everybody.\n",
    ".ragacl.toml": 'default = "public"\n'
    '[[rule]]\npath = "secret/**"\nallow = ["user:ben"]\n'
    '[[rule]]\npath = "closing.md"\nallow = ["user:ben"]\n'
    '[[rule]]\npath = "changing.txt"\nallow = ["user:ben"]\n',
}


def change(root: Path) -> None:
    write(root, AFTER)
    (root / "going.txt").unlink()
    (root / "moving.md").rename(root / "secret" / "moving.md")


def leave_lease_of_a_dead_process(index: Index) -> None:
    index.patch("source", ALL, Administrator(), {"lease": f"{socket.gethostname()}/{2**22 + 1}/x", "leased": 0.0})


def test_a_sync_cut_off_at_any_write_ends_as_one_that_was_not(tmp_path: Path, embedder: HashEmbedder) -> None:
    wanted = memory.open_index("", collection=f"{tmp_path}-wanted", create=meta(embedder))
    final = tmp_path / "final" / "tree"
    write(final, BEFORE)
    change(final)
    sync(wanted, final)
    for last in range(200):
        root = tmp_path / str(last) / "tree"
        write(root, BEFORE)
        index = memory.open_index("", collection=str(root), create=meta(embedder))
        sync(index, root)
        change(root)
        dying = Dying(index, last)
        try:
            sync(dying, root)
        except Killed:
            public = texts(index, PUBLIC)
            assert "secret now" not in str(public)
            assert "plan" not in str(public)
            assert "tides turn" in public["tree/open.md"]
            leave_lease_of_a_dead_process(index)
        sync(index, root)
        assert contents(index) == contents(wanted), f"after a kill at write {last}"
        if not dying.died:
            assert last > 8
            return
    pytest.fail("the sync never came to an end")


def test_a_first_sync_cut_off_at_any_write_ends_as_one_that_was_not(tmp_path: Path, embedder: HashEmbedder) -> None:
    root = tmp_path / "tree"
    write(root, BEFORE)
    wanted = memory.open_index("", collection=f"{tmp_path}-first", create=meta(embedder))
    sync(wanted, root)
    for last in range(200):
        index = memory.open_index("", collection=f"{tmp_path}-{last}", create=meta(embedder))
        dying = Dying(index, last)
        try:
            sync(dying, root)
        except Killed:
            assert set(texts(index, PUBLIC)) <= set(texts(wanted, PUBLIC))
            leave_lease_of_a_dead_process(index)
        sync(index, root)
        assert contents(index) == contents(wanted)
        if not dying.died:
            return
    pytest.fail("the sync never came to an end")


class SlowEmbedder(HashEmbedder):
    """Takes a while, so that a kill falls into every part of a sync."""

    def embed(self, texts: Sequence[str], *, role: Any) -> Any:
        time.sleep(0.003 * len(texts))
        return super().embed(texts, role=role)


def run_sync(place: str, root: str) -> None:
    """What the killed process does: it works in this process until it has planned, then through a holder."""
    embedder = SlowEmbedder()
    with edge.open_index(place, collection="docs", create=meta(embedder)) as index:
        print("begun", flush=True)
        sync(index, Path(root), embedder=embedder, confirm_removals=True)


def edit(root: Path, chance: random.Random) -> None:
    """A few random changes; public files say `open`, those for Ben say `closed`."""
    for _ in range(chance.randint(5, 25)):
        name = f"{chance.choice(['open', 'closed'])}/{chance.randrange(40)}.txt"
        path = root / name
        if path.exists() and chance.random() < 0.3:
            path.unlink()
        else:
            word = name.partition("/")[0]
            text = "\n\n".join(
                f"{word} file {chance.random()} says {word} things." for _ in range(chance.randint(1, 9))
            )
            write(root, {name: text})
    write(root, {".ragacl.toml": 'default = "public"\n[[rule]]\npath = "closed/**"\nallow = ["user:ben"]\n'})


def test_kill_9_at_random_moments_loses_nothing_and_shows_nobody_too_much(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    chance = random.Random(5)
    root, place = tmp_path / "tree", tmp_path / "index"
    edit(root, chance)
    killed = 0
    for _ in range(20):
        edit(root, chance)
        command = f"from tests.test_crash import run_sync; run_sync({str(place)!r}, {str(root)!r})"
        process = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, cwd=Path.cwd())
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"begun\n"
            time.sleep(chance.random() * 0.5)
            os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        with edge.open_index(str(place), collection="docs", create=None) as index:
            assert "closed" not in str(texts(index, PUBLIC))
            for record, _ in index.scan("document", In("state", ("ready",)), Administrator()):
                where = In("document_id", (record.id,))
                live = [chunk for chunk, _ in index.scan("chunk", where, Administrator())]
                assert len(live) >= getattr(record, "chunks", 0)
    assert killed >= 10
    with edge.open_index(str(place), collection="docs", create=None) as index:
        sync(index, root, confirm_removals=True)
        fresh = memory.open_index("", collection=str(place), create=meta(embedder))
        sync(fresh, root)
        assert contents(index) == contents(fresh)


@pytest.mark.parametrize("act", [share.share, share.unshare])
def test_a_change_of_readers_cut_off_at_any_write_is_whole_after_the_next_sync(
    tmp_path: Path, embedder: HashEmbedder, act: Callable[..., object]
) -> None:
    root = tmp_path / "tree"
    write(root, BEFORE)
    for last in range(50):
        index = memory.open_index("", collection=f"{tmp_path}-{act.__name__}-{last}", create=meta(embedder))
        sync(index, root)
        dying = Dying(index, last)
        try:
            act(View.administrator(dying), "tree/*.md", principals(["user:ben", "public"]))
        except Killed:
            sync(index, root)
        accounted = {}
        for record in View.administrator(index).ledger():
            assert record.acl == record.overrides.apply(record.rules), f"after a kill at write {last}"
            accounted[record.id] = record.acl
        for chunk, _ in View.administrator(index).chunks():
            assert chunk.acl == accounted[chunk.document_id]
        if not dying.died:
            assert last > 0
            return
    pytest.fail("the change never came to an end")


def test_a_removal_cut_off_at_any_write_leaves_no_text_behind(tmp_path: Path, embedder: HashEmbedder) -> None:
    for last in range(50):
        root = tmp_path / str(last) / "tree"
        write(root, BEFORE)
        index = memory.open_index("", collection=str(root), create=meta(embedder))
        sync(index, root)
        share.unshare(View.administrator(index), "tree/*", BEN)
        (root / "closing.md").unlink()
        write(root, {"open.md": ""})
        dying = Dying(index, last)
        try:
            sync(dying, root)
        except Killed:
            leave_lease_of_a_dead_process(index)
        sync(index, root)
        assert "was public" not in str(texts(index, PUBLIC))
        assert "tides turn" not in str(texts(index, PUBLIC))
        stored = {chunk.document for chunk, _ in View.administrator(index).chunks()}
        assert not {"tree/closing.md", "tree/open.md"} & stored
        if not dying.died:
            return
    pytest.fail("the sync never came to an end")
