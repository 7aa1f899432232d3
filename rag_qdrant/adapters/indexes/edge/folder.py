"""The folder of one collection: its lock, who holds it, its socket and its shard."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rag_qdrant.adapters.indexes.edge.shard import EdgeShard, recover
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.errors import IndexBusy, NothingFound, UsageError

SHARD = "shard"
LOCK = "lock"
SOCKET = "socket"
_SOCKET_PATH_MAX = 107


class Claim:
    """The sole right to open a folder's shard, ended by the kernel when the process dies.

    The engine has a lock of its own, but only once its files exist: making, opening and rebuilding need one before.
    """

    def __init__(self, folder: Path, *, purpose: str) -> None:
        self._folder = folder
        self._purpose = purpose
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise IndexBusy(f"the index at {self._folder} is held by {holder_of(self._folder)}") from error
        self._descriptor = descriptor
        self._mask = os.umask(0o077)
        account = {"pid": os.getpid(), "purpose": self._purpose, "since": time.time(), "command": _command()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(account).encode(), 0)
        # Left by a holder that was killed: whoever has the claim knows that nobody answers there.
        (self._folder / SOCKET).unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.umask(self._mask)
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])[:100]


def holder_of(folder: Path) -> str:
    """Who holds the folder, in words: what it does, its process and since when."""
    try:
        account = json.loads((folder / LOCK).read_text())
        since = time.strftime("%H:%M:%S", time.localtime(account["since"]))
        return f"process {account['pid']} ({account['command']}), which {account['purpose']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def bound_path(folder: Path) -> Iterator[str]:
    """A name of the folder's socket that is short enough to bind or connect to."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        yield path
        return
    if not Path("/proc/self/fd").is_dir():
        raise UsageError(
            f"the path of the index has {len(path)} characters; sockets take {_SOCKET_PATH_MAX}: shorten it"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def prepare(folder: Path, create: IndexMeta | None) -> None:
    """Make the folder, for its owner alone; without `create` it must be there."""
    try:
        if not (folder / SHARD).exists() and not (folder / f"{SHARD}.old").exists() and create is None:
            raise NothingFound(f"there is no index at {folder} yet: rag-qdrant ingest FOLDER makes one")
        for each in (folder.parent, folder):
            if not each.exists():
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot use the index folder {folder} ({error.strerror}): choose another --index") from error
    if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK):
        raise UsageError(
            f"cannot write in {folder}, which the engine needs to for reading too: copy the index to a place of yours"
        )


def open_shard(folder: Path, create: IndexMeta | None) -> EdgeShard:
    """Open the folder's shard, or make it; the caller holds the Claim."""
    shard = folder / SHARD
    recover(shard)
    if shard.exists():
        found = EdgeShard.load(shard) if (shard / "edge_config.json").exists() else None
        if found is not None:
            return found
        # Killed while it was made: no point was ever acknowledged in it.
        shutil.rmtree(shard)
    if create is None:
        raise NothingFound(f"there is no index at {folder} yet: rag-qdrant ingest FOLDER makes one")
    return EdgeShard.create(shard, create)


def is_ours(path: Path) -> bool:
    """Whether a socket belongs to this user: another's is not talked to."""
    with contextlib.suppress(OSError):
        return path.stat().st_uid == os.getuid()
    return False
