"""`edge:FOLDER`: Qdrant Edge on a folder, opened here for a moment or held by a process of its own."""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rag_qdrant.adapters.indexes.edge.client import RemoteShard, connect, spawn_holder
from rag_qdrant.adapters.indexes.edge.folder import Claim, open_shard, prepare
from rag_qdrant.adapters.indexes.edge.shard import EdgeShard
from rag_qdrant.adapters.indexes.stored import Store, StoredIndex
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.errors import IndexBusy

WAIT_S = 15.0
"""How long a command waits for a folder that another one holds for a moment."""


def open_index(place: str, *, collection: str, create: IndexMeta | None) -> StoredIndex:
    """Open the collection in a folder; a second command on it reaches the first one's holder, or waits.

    Raises NothingFound without an index and without `create`, IndexBusy (naming the holder) after WAIT_S.
    """
    folder = Path(place).expanduser().absolute() / collection
    prepare(folder, create)
    return StoredIndex(_reached(folder, create, here=True), linger=partial(_handed_over, folder))


def _reached(folder: Path, create: IndexMeta | None, *, here: bool) -> Store:
    """The shard in its holder's process if there is one, else in this one (`here`) or in a holder started for it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        remote = connect(folder)
        if remote is not None:
            return remote
        try:
            if here:
                return _held_here(folder, create)
            spawn_holder(folder)
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


def _handed_over(folder: Path, store: Store) -> Store:
    """The same shard in a process of its own, which serves whoever comes while this one works."""
    if isinstance(store, RemoteShard):
        return store
    store.close()
    return _reached(folder, None, here=False)
