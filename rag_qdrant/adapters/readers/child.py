"""The process in which files are read: a parser that hangs, crashes or eats memory takes nothing with it.

`python -P -m rag_qdrant.adapters.readers.child SECONDS MEMORY_BYTES MAX_BYTES`, requests on its standard input.
"""

import contextlib
import errno
import hashlib
import io
import math
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import PurePosixPath
from typing import BinaryIO

from rag_qdrant.adapters.readers.detect import HEAD, choose
from rag_qdrant.adapters.readers.frames import HEADER, Limits, Message, of_extracted, pack, to_file, unpack
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import FileToRead, Reader

_MOST_TEXT = 64 << 20
_OPEN_FILES = 64
_REASONS = {
    errno.ENOENT: "vanished",
    errno.ENOTDIR: "vanished",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a link: links are not followed",
    errno.ENXIO: "not a regular file",
}


def installed_readers() -> tuple[Reader, ...]:
    """The readers of every installed package, by the names of their entry points; a later one of a name is left out."""
    found = {point.name: point for point in reversed(tuple(entry_points(group="rag_qdrant.readers")))}
    return tuple(found[name].load() for name in sorted(found))


def frames(file: FileToRead, readers: Sequence[Reader], limits: Limits) -> Iterator[bytes]:
    """The frames that answer a request: hash and size as soon as they are known, then the end.

    The hash goes ahead so that a file which kills its parser is known again, and not tried at every sync.
    """
    try:
        yield from map(pack, _answers(file, readers, limits))
    except DocumentError as error:
        yield _failed(str(error))
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or f"cannot be read: {error.strerror or type(error).__name__}"
        yield _failed(reason, spent=error.errno == errno.EMFILE)
    except MemoryError:
        yield _failed(f"needs more than {limits.memory_bytes / 2**30:g} GiB of memory", spent=True)
    except RecursionError:
        yield _failed("nested too deeply to be read")
    # The one broad except: a parser, or a plug-in's, may raise anything on a hostile file, and it is that file's
    # failure and no other's.
    except Exception as error:  # noqa: BLE001
        yield _failed(f"its parser failed: {type(error).__name__}: {error}")


def _answers(file: FileToRead, readers: Sequence[Reader], limits: Limits) -> Iterator[Message]:
    content, digest = _content(file, limits.max_bytes)
    size = content.seek(0, io.SEEK_END)
    yield {"hash": digest, "bytes": size}
    if digest == file.known_hash:
        yield {"end": True}
        return
    content.seek(0)
    head = content.read(HEAD)
    reader = choose(readers, head, file.options.name)
    if reader is None:
        raise DocumentError(_unreadable(file.options.name, readers))
    content.seek(0)
    extracted = reader.read(content, file.options)
    if len(extracted.text.encode("utf-8", "surrogatepass")) > _MOST_TEXT:
        raise DocumentError(f"more than {_MOST_TEXT >> 20} MiB of text")
    yield {"extracted": of_extracted(extracted), "end": True}


def _content(file: FileToRead, max_bytes: int) -> tuple[BinaryIO, str]:
    """The file's bytes and their SHA-256: what is hashed is what is parsed, even if the file changes meanwhile."""
    content = io.BytesIO()
    digest = hashlib.sha256()
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(file, os.fstat(descriptor), max_bytes)
        while piece := os.read(descriptor, 1 << 20):
            digest.update(piece)
            content.write(piece)
            if content.tell() > max_bytes:
                raise _too_large(max_bytes)
    finally:
        os.close(descriptor)
    if not content.tell():
        raise DocumentError("empty file")
    return content, digest.hexdigest()


def _check(file: FileToRead, opened: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(opened.st_mode):
        raise DocumentError("not a regular file")
    # The path may lead through linked folders, and may be another file by now: what is open must lie in the root.
    real = file.path.resolve()
    if not real.is_relative_to(file.root.resolve()) or not os.path.samestat(real.stat(), opened):
        raise DocumentError("outside of the folder that is synced")
    if opened.st_size > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> DocumentError:
    return DocumentError(f"larger than {max_bytes / 1_000_000:g} MB")


def _unreadable(name: str, readers: Sequence[Reader]) -> str:
    types = ", ".join(reader.type for reader in readers)
    suffix = PurePosixPath(name).suffix
    return f"no reader for {suffix + ' files' if suffix else 'it'} with such content; installed: {types or 'none'}"


def _failed(reason: str, *, spent: bool = False) -> bytes:
    """The last frame of a file; a spent process (its heap in pieces, its files open) is replaced by the pool."""
    return pack({"error": " ".join(reason.split())[:300], "spent": spent, "end": True})


def serve(requests: BinaryIO, answers: BinaryIO, limits: Limits) -> None:
    """Answer until the requests end, as they do when the parent closes or dies."""
    readers = installed_readers()
    confine(limits.memory_bytes)
    answers.write(pack({"end": True}))
    answers.flush()
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        file = to_file(unpack(requests.read(HEADER.unpack(header)[0])))
        # The parent kills a child that is late; should the parent be dead, the alarm does it, even within C code.
        signal.alarm(math.ceil(limits.seconds) + 5)
        for frame in frames(file, readers, limits):
            answers.write(frame)
            answers.flush()
        signal.alarm(0)


def confine(memory_bytes: int) -> None:
    """Limit this process for good: its memory, its open files, and no core dump with foreign content in it."""
    import resource  # noqa: PLC0415 - POSIX only

    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, _OPEN_FILES)]
    if sys.platform == "linux":
        # macOS takes the call and doesn't keep the limit.
        limits.append((resource.RLIMIT_AS, memory_bytes))
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def main() -> None:
    """Take standard input and output for the frames alone, so that a library's print goes elsewhere."""
    seconds, memory_bytes, max_bytes = sys.argv[1:]
    # An interrupt at the terminal reaches the whole group; the parent decides what becomes of this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    limits = Limits(seconds=float(seconds), memory_bytes=int(memory_bytes), max_bytes=int(max_bytes))
    with contextlib.suppress(BrokenPipeError), os.fdopen(requests, "rb") as incoming, os.fdopen(answers, "wb") as out:
        serve(incoming, out, limits)


if __name__ == "__main__":
    main()
