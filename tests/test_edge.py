"""What an Edge folder must stand: several commands at once, a full disk, other people's files, killed holders."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from rag_qdrant.adapters.indexes import edge
from rag_qdrant.adapters.indexes.edge import client, shard
from rag_qdrant.adapters.indexes.edge.folder import LOCK, SHARD, SOCKET, Claim
from rag_qdrant.domain.access import Administrator
from rag_qdrant.domain.filters import ALL
from rag_qdrant.domain.retrieval import Query
from rag_qdrant.errors import IndexBusy, IndexDamaged, NothingFound, OutOfSpace, Unreachable, UsageError
from rag_qdrant.testing import worlds
from rag_qdrant.testing.index_contract import fill

WORLD = worlds.world(np.random.default_rng(1), 20)


def filled(place: Path) -> None:
    with edge.open_index(str(place), collection="docs", create=worlds.META) as index:
        fill(index, WORLD)


def count(place: Path) -> int:
    with edge.open_index(str(place), collection="docs", create=None) as index:
        return index.count("chunk", ALL, Administrator())


def test_folders_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "index"
    before = os.umask(0o022)
    try:
        filled(place)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    for path in [place, *place.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"


def test_many_commands_at_once_all_get_their_answer(tmp_path: Path) -> None:
    filled(tmp_path)
    code = (
        f"import sys; from pathlib import Path; from tests.test_edge import count;print(count(Path({str(tmp_path)!r})))"
    )
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: subprocess.check_output([sys.executable, "-c", code]), range(6)))
    assert [int(answer) for answer in answers] == [len(WORLD.chunks)] * 6


def test_a_second_command_works_while_the_first_stays(tmp_path: Path) -> None:
    with edge.open_index(str(tmp_path), collection="docs", create=worlds.META) as first:
        first.linger()
        fill(first, WORLD)
        assert stat.S_IMODE((tmp_path / "docs" / SOCKET).stat().st_mode) == 0o600
        assert count(tmp_path) == len(WORLD.chunks)
        with edge.open_index(str(tmp_path), collection="docs", create=None) as second:
            second.delete(ALL, Administrator())
        assert first.count("chunk", ALL, Administrator()) == 0
        fill(first, WORLD)
    deadline = time.monotonic() + 10
    while (tmp_path / "docs" / SOCKET).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (tmp_path / "docs" / SOCKET).exists()
    assert count(tmp_path) == len(WORLD.chunks)


def test_a_holder_that_is_killed_is_an_error_and_the_next_command_works(tmp_path: Path) -> None:
    index = edge.open_index(str(tmp_path), collection="docs", create=worlds.META)
    index.linger()
    fill(index, WORLD)
    holder = json.loads((tmp_path / "docs" / LOCK).read_text())["pid"]
    assert holder != os.getpid()
    os.kill(holder, signal.SIGKILL)
    with pytest.raises(Unreachable, match="run the command again"):
        index.count("chunk", ALL, Administrator())
    index.close()
    assert count(tmp_path) == len(WORLD.chunks)


def test_who_holds_the_index_is_named_when_waiting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    monkeypatch.setattr(edge, "WAIT_S", 0.2)
    folder = tmp_path / "docs"
    code = (
        "import time; from pathlib import Path; from rag_qdrant.adapters.indexes.edge.folder import Claim\n"
        f"with Claim(Path({str(folder)!r}), purpose='rests on it'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(IndexBusy, match=rf"process {holder.pid} .*rests on it"):
            count(tmp_path)
        holder.kill()
    assert count(tmp_path) == len(WORLD.chunks)


def test_a_lock_that_says_nothing_is_still_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    monkeypatch.setattr(edge, "WAIT_S", 0.05)
    with Claim(tmp_path / "docs", purpose="x"):
        (tmp_path / "docs" / LOCK).write_text("garbage")
        with pytest.raises(IndexBusy, match="another process"):
            count(tmp_path)


def test_a_full_disk_refuses_the_write_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with edge.open_index(str(tmp_path), collection="docs", create=worlds.META) as index:
        fill(index, WORLD)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, shard.ROOM - 1))
        for write in (
            lambda: fill(index, WORLD),
            lambda: index.patch(None, ALL, Administrator(), {"live": 0}),
            index.purge,
        ):
            with pytest.raises(OutOfSpace, match="MB are free"):
                write()
        assert index.count("chunk", ALL, Administrator()) == len(WORLD.chunks)
    assert count(tmp_path) == len(WORLD.chunks)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, shard.OPENING_ROOM - 1))
    with pytest.raises(OutOfSpace):
        count(tmp_path)
    monkeypatch.undo()
    assert count(tmp_path) == len(WORLD.chunks)


def test_a_purge_that_was_killed_is_finished_or_undone(tmp_path: Path) -> None:
    filled(tmp_path)
    folder = tmp_path / "docs"
    fresh, old = folder / f"{SHARD}.new", folder / f"{SHARD}.old"
    shutil.copytree(folder / SHARD, fresh)
    assert count(tmp_path) == len(WORLD.chunks)
    assert not fresh.exists()
    shutil.copytree(folder / SHARD, fresh)
    (folder / SHARD).rename(old)
    assert count(tmp_path) == len(WORLD.chunks)
    assert not old.exists() and not fresh.exists()
    (folder / SHARD).rename(old)
    assert count(tmp_path) == len(WORLD.chunks)


def test_an_index_that_was_being_made_when_it_was_killed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / SHARD / "segments").mkdir(parents=True)
    with pytest.raises(NothingFound):
        count(tmp_path)
    filled(tmp_path)
    assert count(tmp_path) == len(WORLD.chunks)


def test_an_index_that_lost_its_account_is_damaged_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    opened = qe.EdgeShard.load(str(tmp_path / "docs" / SHARD))
    opened.update(qe.UpdateOperation.delete_points([shard.META_ID]))
    opened.close()
    with pytest.raises(IndexDamaged, match="lost its account"):
        count(tmp_path)


def test_a_shard_that_cannot_be_read_is_one_error_of_ours(tmp_path: Path) -> None:
    filled(tmp_path)
    for path in (tmp_path / "docs" / SHARD / "segments").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff" * 100)
    with pytest.raises(IndexDamaged):
        count(tmp_path)


def test_a_panic_of_the_engine_is_an_error_of_ours() -> None:
    class PanicException(BaseException):
        pass

    with pytest.raises(IndexDamaged, match="panicked"), shard.translated("try"):
        raise PanicException("boom")
    with pytest.raises(KeyboardInterrupt), shard.translated("try"):
        raise KeyboardInterrupt


def test_a_folder_with_a_long_path_can_be_held_too(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 30)
    with edge.open_index(str(place), collection="docs", create=worlds.META) as index:
        index.linger()
        fill(index, WORLD)
        assert count(place) == len(WORLD.chunks)


def test_a_place_that_cannot_be_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --index"):
        edge.open_index(str(tmp_path / "file"), collection="docs", create=worlds.META)


def test_a_socket_of_somebody_else_is_not_talked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with edge.open_index(str(tmp_path), collection="docs", create=worlds.META) as index:
        index.linger()
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert client.connect(tmp_path / "docs") is None


def test_a_large_collection_is_quantised_and_still_finds_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "EXACT_CHUNKS", 50)
    rng = np.random.default_rng(2)
    world = worlds.world(rng, 400)
    with edge.open_index(str(tmp_path), collection="docs", create=worlds.META) as index:
        fill(index, world)
        index._store.optimize()  # type: ignore[attr-defined]
        live = {chunk.id: row for chunk, row in zip(world.chunks, world.matrix, strict=True) if chunk.live}
        found = right = 0
        for _ in range(20):
            vector = worlds.unit(rng, 1)[0]
            hits = index.search(Query(text="x", vector=vector, mode="dense"), Administrator())
            nearest = sorted(live, key=lambda each, v=vector: -float(live[each] @ v))[:10]  # type: ignore[misc]
            right += len({hit.chunk.id for hit in hits} & set(nearest))
            found += 10
        assert right / found >= 0.995


def test_a_change_of_any_size_is_one_entry_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = worlds.world(np.random.default_rng(3), 1500)
    with edge.open_index(str(tmp_path), collection="docs", create=worlds.META) as index:
        fill(index, world)
        made: list[int] = []
        real = qe.UpdateOperation.set_payload

        def counted(ids: list[Any], payload: dict[str, object]) -> object:
            made.append(len(ids))
            return real(ids, payload)

        monkeypatch.setattr(qe, "UpdateOperation", type("U", (), {"set_payload": staticmethod(counted)}))
        changed = index.patch(None, ALL, Administrator(), {"access": 1})
        assert made == [changed]
        assert changed > 4000
