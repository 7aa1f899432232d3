"""The process that owns a shard while several commands use it: every call of the engine holds the interpreter's lock.

It opens the shard, answers on a socket in the folder (0600), and ends when its last client has gone.
"""

import contextlib
import json
import signal
import struct
import sys
import threading
import time
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from rag_qdrant.adapters.indexes.edge.folder import Claim, bound_path, open_shard
from rag_qdrant.adapters.indexes.edge.shard import EdgeShard
from rag_qdrant.adapters.indexes.wire import Json, pack, unpack
from rag_qdrant.errors import RagError

GRACE_S = 0.3
"""How long the holder stays after its last client: the next command of a script finds it still there."""
FIRST_CLIENT_S = 20.0
MAX_REQUEST_BYTES = 1 << 30
VERBS = frozenset(
    {"meta", "put", "search", "page", "patch", "readers", "delete", "count", "facet", "flush", "purge", "optimize"}
)


class Holder:
    """Serves one shard to many connections, one call at a time."""

    def __init__(self, shard: EdgeShard, listener: Listener) -> None:
        self._shard = shard
        self._listener = listener
        self._calls = threading.Lock()
        self._clients = 0
        self._idle_since = time.monotonic() + FIRST_CLIENT_S
        self._stopping = threading.Event()

    def serve(self) -> None:
        """Answer until there is no client left."""
        threading.Thread(target=self._accept, daemon=True).start()
        while not self._stopping.wait(0.05):
            with self._calls:
                if self._clients == 0 and time.monotonic() - self._idle_since > GRACE_S:
                    return

    def stop(self, *_: object) -> None:
        """End at the next look."""
        self._stopping.set()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            with self._calls:
                self._clients += 1
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: "Connection[Any, Any]") -> None:
        try:
            while True:
                request = connection.recv_bytes(MAX_REQUEST_BYTES)
                with self._calls:
                    answer = self._answer(request)
                connection.send_bytes(answer)
        except (EOFError, OSError):
            pass  # the client has gone, or sent more than any client of ours would
        finally:
            connection.close()
            with self._calls:
                self._clients -= 1
                self._idle_since = time.monotonic()

    def _answer(self, request: bytes) -> bytes:
        try:
            verb, arguments = unpack(request)
            if verb not in VERBS:
                raise ValueError(f"no verb {verb!r}")
            if verb == "meta":
                return pack(["ok", self._shard.meta])
            value = getattr(self._shard, verb)(*arguments)
            if verb == "page":
                rows, vectors, after = value
                value = [Json(rows), vectors, after]
            elif verb == "search":
                value = Json(value)
            return pack(["ok", value])
        except RagError as error:
            return pack(["error", type(error).__name__, str(error)])
        except (ValueError, TypeError, LookupError, RecursionError, struct.error) as error:
            return pack(["error", "RagError", f"the index process could not answer: {error!r}"])


def main(place: str) -> int:
    """Own the folder's shard until the last client has gone; one JSON line on stdout says how opening went."""
    folder = Path(place)
    try:
        with Claim(folder, purpose="holds the index for several commands"), bound_path(folder) as path:
            shard = open_shard(folder, None)
            try:
                # Whoever removes the folder while it is held takes the socket's name too.
                with contextlib.suppress(FileNotFoundError), Listener(path, family="AF_UNIX") as listener:
                    Path(path).chmod(0o600)
                    holder = Holder(shard, listener)
                    signal.signal(signal.SIGTERM, holder.stop)
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    _tell({"ready": True})
                    holder.serve()
            finally:
                shard.optimize()
                shard.close()
    except RagError as error:
        _tell({"error": type(error).__name__, "message": str(error)})
        return error.exit_code
    return 0


def _tell(line: dict[str, Any]) -> None:
    # The command that started this process may be gone already.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
