"""Every error this package raises on purpose, each with its exit code and HTTP status.

RagError                    1  500  something failed
├── UsageError              2  400  a wrong argument, setting or file: the message says what to write
├── NothingFound            3  404  nothing there, or nothing that the viewer may see
├── StateConflict           4  409  what is stored contradicts what was asked
│   └── IndexBusy           4  409  another process holds the index or the source
├── Unreachable             5  503  a model or an index cannot be reached
├── OutOfSpace              1  507  the disk would fill up: nothing was written
├── IndexDamaged            1  500  the engine cannot read what it stored
├── AccessNotApplied        1  500  readers were not stored as asked: the document was closed to everybody
└── DocumentError           1  422  one file cannot be read; the others go on
"""

from typing import ClassVar


class RagError(Exception):
    """Something failed; the message is one sentence for a person."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class UsageError(RagError):
    """A wrong argument, setting or file; the message says what to write instead."""

    exit_code = 2
    http_status = 400


class NothingFound(RagError):
    """Nothing there, or nothing that the viewer may see: the two are told apart by nobody."""

    exit_code = 3
    http_status = 404


class StateConflict(RagError):
    """What is stored contradicts the request: another embedder, another schema, another root."""

    exit_code = 4
    http_status = 409


class IndexBusy(StateConflict):
    """Another process holds the index, or is syncing the same source."""


class Unreachable(RagError):
    """A model or an index cannot be reached."""

    exit_code = 5
    http_status = 503


class OutOfSpace(RagError):
    """The disk has too little room left; nothing was written."""

    http_status = 507


class IndexDamaged(RagError):
    """The engine cannot read or change what it stored."""


class AccessNotApplied(RagError):
    """Readers read back differ from those written; the document was closed to everybody."""


class DocumentError(RagError):
    """One file cannot be read; the message is its line in the report."""

    http_status = 422


EXIT_INTERRUPTED = 130

BY_NAME: dict[str, type[RagError]] = {
    cls.__name__: cls
    for cls in (
        RagError,
        UsageError,
        NothingFound,
        StateConflict,
        IndexBusy,
        Unreachable,
        OutOfSpace,
        IndexDamaged,
        AccessNotApplied,
        DocumentError,
    )
}
"""What a class name that came over a socket stands for."""
