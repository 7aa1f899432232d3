"""Whose source a sync works on, and that nobody else syncs it at the same time."""

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from rag_qdrant.domain.access import Acl, principal
from rag_qdrant.domain.documents import SourceRecord, source_id
from rag_qdrant.domain.filters import And, In
from rag_qdrant.errors import IndexBusy, StateConflict, Unreachable, UsageError
from rag_qdrant.view import View

LEASE_S = 600.0
"""A lease of another host that was not renewed for so long has ended; one of this host ends with its process."""


def owner_acl(owner: str | None) -> Acl:
    """The readers of a record that only its owner sees."""
    return Acl(allow=frozenset({owner}) if owner else frozenset())


def find_source(view: View, name: str, owner: str | None, *, now: float) -> SourceRecord:
    """The source of that name that the viewer manages, or a new one of `owner`, not yet stored."""
    found = list(view.sources(In("source", (name,))))
    if len(found) > 1:
        found = [source for source in found if source.owner == owner]
    if len(found) > 1:
        raise UsageError(f"{len(found)} sources are called {name!r}: say whose with --owner")
    if found:
        return found[0]
    number = 0
    # It may be another's by now, who was given the source: a former owner starts a new one.
    while view.is_taken(new := source_id(owner, name, number)):
        number += 1
    return SourceRecord(id=new, source=name, owner=owner, created=now, acl=owner_acl(owner))


def check_root(source: SourceRecord, name: str, root: str) -> None:
    """Refuse to take a folder for another of the same name: its documents would replace the other's."""
    before = source.roots.get(name)
    here = f"{socket.gethostname()}:{root}"
    if before and before != here and before.startswith(f"{socket.gethostname()}:"):
        old = before.partition(":")[2]
        if os.path.lexists(old):
            raise StateConflict(
                f"source {source.source!r} holds {name}/ from {old}, and {root} is another folder: name it with "
                "--source NAME, or pass --confirm-removals to replace the one by the other"
            )


@contextmanager
def leased(view: View, source: SourceRecord) -> Iterator[SourceRecord]:
    """The source for this process alone; another sync of it is IndexBusy, named. Stores a new source."""
    token = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    now = time.time()
    known = list(view.sources(In("id", (source.id,))))
    if not known:
        view.put([replace(source, lease=token, leased=now)])
    elif not _take(view, known[0], token, now):
        host, pid, _ = [*known[0].lease.split("/"), "", ""][:3]
        since = time.strftime("%H:%M:%S", time.localtime(known[0].leased))
        raise IndexBusy(f"source {source.source!r} is being synced by process {pid} on {host}, since {since}")
    try:
        yield replace(known[0] if known else source, lease=token, leased=now)
    finally:
        # An index that cannot be reached any more keeps the lease, which ends with this process.
        with suppress(Unreachable):
            view.patch("source", And((In("id", (source.id,)), In("lease", (token,)))), {"lease": "", "leased": 0.0})


def _take(view: View, stored: SourceRecord, token: str, now: float) -> bool:
    if stored.lease and not _ended(stored, now):
        return False
    condition = And((In("id", (stored.id,)), In("lease", (stored.lease,))))
    return view.patch("source", condition, {"lease": token, "leased": now}) == 1


def _ended(source: SourceRecord, now: float) -> bool:
    host, pid, *_ = [*source.lease.split("/"), ""]
    if host != socket.gethostname() or not pid.isdigit():
        return now - source.leased > LEASE_S
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid() and now - source.leased > LEASE_S


def renew(view: View, source: SourceRecord) -> None:
    """Say that this process is still at it."""
    view.patch("source", And((In("id", (source.id,)), In("lease", (source.lease,)))), {"leased": time.time()})


def note(view: View, source: SourceRecord, fields: Mapping[str, object]) -> None:
    """Store what a sync learnt or was told of its source, while it holds it."""
    view.patch("source", And((In("id", (source.id,)), In("lease", (source.lease,)))), fields)


def default_owner(names: Sequence[str], user: str | None) -> str | None:
    """Who owns a new source without `--owner`: the first `--as user:`, else RAG_USER, else nobody."""
    users = [name for name in map(principal, names) if name.startswith("user:")]
    return users[0] if users else user
