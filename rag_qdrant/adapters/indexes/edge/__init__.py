"""`edge:FOLDER`: Qdrant Edge on a folder, opened here for a moment or held by a process of its own."""

import time
from contextlib import ExitStack
from pathlib import Path

from rag_qdrant.adapters.indexes.edge.client import connect, spawn_holder
from rag_qdrant.adapters.indexes.edge.folder import Claim, open_shard, prepare
from rag_qdrant.adapters.indexes.edge.shard import EdgeShard
from rag_qdrant.adapters.indexes.stored import StoredIndex
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.errors import IndexBusy

WAIT_S = 15.0
"""How long a command waits for a folder that another one holds for a moment."""


def open_index(place: str, *, collection: str, create: IndexMeta | None, shared: bool) -> StoredIndex:
    """Open the collection in a folder; a second command on it reaches the first one's holder, or waits.

    With `shared`, a process of its own holds the shard and serves every command until the last one has gone.
    Raises NothingFound without an index and without `create`, IndexBusy (naming the holder) after WAIT_S.
    """
    folder = Path(place).expanduser().absolute() / collection
    prepare(folder, create)
    deadline = time.monotonic() + WAIT_S
    while True:
        remote = connect(folder)
        if remote is not None:
            return StoredIndex(remote)
        try:
            if not shared:
                return StoredIndex(_held_here(folder, create))
            spawn_holder(folder, create)
        except IndexBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _held_here(folder: Path, create: IndexMeta | None) -> EdgeShard:
    with ExitStack() as stack:
        stack.enter_context(Claim(folder, purpose="works on it"))
        shard = open_shard(folder, create)
        shard.on_close = stack.pop_all().close
        return shard
