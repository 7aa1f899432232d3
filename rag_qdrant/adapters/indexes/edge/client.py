"""A shard that another process holds, reached over its socket."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_qdrant.adapters.indexes.edge.folder import SOCKET, bound_path, is_ours
from rag_qdrant.adapters.indexes.stored import FoundRow, Rows
from rag_qdrant.adapters.indexes.wire import Json, pack, unpack
from rag_qdrant.domain.access import Scope
from rag_qdrant.domain.documents import IndexMeta, Kind
from rag_qdrant.domain.filters import Filter
from rag_qdrant.domain.retrieval import Matrix, Query, Vector
from rag_qdrant.errors import BY_NAME, RagError, Unreachable

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class RemoteShard:
    """A Store in the holder's process; not safe for several threads."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self.meta: IndexMeta = self._call("meta")

    def _call(self, verb: str, *arguments: Any) -> Any:
        try:
            self._connection.send_bytes(pack([verb, list(arguments)]))
            answer = unpack(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise Unreachable("the process that holds the index ended; run the command again") from error
        except BaseException:
            # Interrupted between question and answer: the next answer would be this one's.
            self._connection.close()
            raise
        if answer[0] == "error":
            raise BY_NAME.get(answer[1], RagError)(answer[2])
        return answer[1]

    def put(self, rows: Rows, vectors: Mapping[str, Matrix]) -> None:
        """Write points whole."""
        self._call("put", Json(rows), dict(vectors))

    def search(self, query: Query, scope: Scope) -> list[FoundRow]:
        """The fused hits, best first."""
        found: list[FoundRow] = self._call("search", query, scope)
        return found

    def page(
        self, kind: Kind, where: Filter, scope: Scope, vectors: Sequence[str], after: str | None
    ) -> tuple[Rows, dict[str, list[Vector | None]], str | None]:
        """A page of points by id."""
        rows, columns, following = self._call("page", kind, where, scope, list(vectors), after)
        return rows, columns, following

    def patch(self, kind: Kind | None, where: Filter, scope: Scope, fields: Mapping[str, Any]) -> list[str]:
        """Replace payload fields; the ids of the points that passed."""
        return list(self._call("patch", kind, where, scope, Json(dict(fields))))

    def readers(self, ids: Sequence[str]) -> list[Any]:
        """The distinct stored `acl` objects of points."""
        return list(self._call("readers", list(ids)))

    def delete(self, where: Filter, scope: Scope) -> int:
        """Remove points; how many."""
        return int(self._call("delete", where, scope))

    def count(self, kind: Kind, where: Filter, scope: Scope) -> int:
        """How many, exactly."""
        return int(self._call("count", kind, where, scope))

    def facet(self, field: str, kind: Kind, where: Filter, scope: Scope) -> dict[str, int]:
        """A field's values with their exact numbers."""
        return dict(self._call("facet", field, kind, where, scope))

    def flush(self) -> None:
        """Make all that was acknowledged durable."""
        self._call("flush")

    def purge(self) -> None:
        """Rebuild the storage."""
        self._call("purge")

    def close(self) -> None:
        """Let the holder go; it flushes when its last client has gone."""
        if not self._connection.closed:
            self._connection.close()


def connect(folder: Path) -> RemoteShard | None:
    """The holder's shard, if somebody answers on the folder's socket."""
    if not is_ours(folder / SOCKET):
        return None
    from multiprocessing.connection import Client  # noqa: PLC0415 - 20 ms that nobody pays without a holder

    try:
        with bound_path(folder) as path:
            connection = Client(path, family="AF_UNIX")
    except OSError:
        return None
    try:
        return RemoteShard(connection)
    except Unreachable:
        # It was about to end when we came.
        connection.close()
        return None


# The started process forks before it imports anything and ends: its child is nobody's zombie, whoever lives longer.
# -P: without it a module in the current folder would be run.
_START = (
    "import os, sys\n"
    "if os.fork(): os._exit(0)\n"
    "from rag_qdrant.adapters.indexes.edge.holder import main\n"
    "sys.exit(main(sys.argv[1]))"
)


def spawn_holder(folder: Path) -> None:
    """Start a process that owns the shard, and wait until it answers or says why not."""
    command = [sys.executable, "-P", "-c", _START, str(folder)]
    # Its own session: Ctrl-C in the terminal must not end it before its client has put things in order. No stderr: it
    # outlives the command, whose readers would wait for it.
    with subprocess.Popen(  # noqa: S603 - this very program
        command,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    if not line:
        raise Unreachable(f"the process that should hold the index at {folder} ended before it answered")
    told = json.loads(line)
    if "error" in told:
        raise BY_NAME.get(told["error"], RagError)(told["message"])
