"""Files to text in child processes: a file that hangs or crashes its parser is one failed line, and nothing more."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from rag_qdrant.adapters.readers.frames import HEADER, LONGEST, Limits, Message, of_file, pack, to_read, unpack
from rag_qdrant.errors import RagError
from rag_qdrant.ports import FileRead, FileToRead

_START_S = 60.0
_AHEAD = 2
"""How many files a child are in flight: one that is read, one that waits."""


class ReaderPool:
    """An Extractor: `children` processes, started when first needed, each reading one file at a time."""

    def __init__(
        self,
        *,
        children: int | None = None,
        seconds: float = 60.0,
        memory_bytes: int = 2 << 30,
        max_bytes: int = 200_000_000,
    ) -> None:
        self._size = children or min(2, os.cpu_count() or 1)
        self._limits = Limits(seconds=seconds, memory_bytes=memory_bytes, max_bytes=max_bytes)
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="reader")
        self._idle: deque[_Child] = deque()
        self._runs: set[_Run] = set()

    def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
        """One result a file, in order; closing the iterator early ends what is being read."""
        run = _Run()
        self._runs.add(run)
        waiting: deque[Future[FileRead]] = deque()
        try:
            for file in files:
                waiting.append(self._threads.submit(self._read, file, run))
                if len(waiting) >= _AHEAD * self._size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            run.abandon()
            wait(waiting)
            self._runs.discard(run)

    def close(self) -> None:
        """End the child processes, those that are reading too; closing twice is nothing."""
        for run in tuple(self._runs):
            run.abandon()
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.popleft().end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, file: FileToRead, run: "_Run") -> FileRead:
        child = self._borrow()
        answer: dict[str, object] = {}
        ended: str | None = "abandoned"
        try:
            if run.begins(child) and self._started(child, run):
                ended = child.ask(of_file(file), answer)
            result = to_read(file, answer | ({} if ended is None else {"extracted": None, "error": ended}))
        except (ValueError, TypeError, LookupError):
            ended = "its parser answered nonsense"
            result = FileRead(file=file, error=ended)
        finally:
            run.finished(child)
            if ended is None and not answer.get("spent"):
                self._idle.append(child)
            else:
                if ended is not None:
                    child.kill()
                child.end()
        return result

    def _started(self, child: "_Child", run: "_Run") -> bool:
        try:
            child.start()
        except RagError:
            # Killed because the run was given up while it started: nobody waits for it.
            if run.abandoned:
                return False
            raise
        return True

    def _borrow(self) -> "_Child":
        while self._idle:
            try:
                child = self._idle.popleft()
            except IndexError:
                break
            if child.lives():
                return child
            child.end()
        return _Child(self._limits)


class _Run:
    """One call of `extract`: the children that read for it, and whether it was given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._abandoned = False

    def begins(self, child: "_Child") -> bool:
        with self._lock:
            if not self._abandoned:
                self._children.add(child)
            return not self._abandoned

    @property
    def abandoned(self) -> bool:
        with self._lock:
            return self._abandoned

    def finished(self, child: "_Child") -> None:
        with self._lock:
            self._children.discard(child)

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            for child in self._children:
                child.kill()


class _Child:
    """One process, spoken to by one thread at a time; only `kill` may come from another."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ready = False
        # What libraries print, kept for the message if the process doesn't start; a terminal must not show it, as a
        # document may have written it.
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        said = (limits.seconds, limits.memory_bytes, limits.max_bytes)
        # -P: without it a file named yaml.py in the current folder would be run.
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-P", "-m", "rag_qdrant.adapters.readers.child", *map(str, said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            bufsize=0,
            # numpy comes with the ports and would reserve address space for each core.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def start(self) -> None:
        """Wait until it is ready, so that a file's seconds don't count the imports."""
        if self._ready:
            return
        try:
            self._receive(time.monotonic() + _START_S)
        except (EOFError, TimeoutError):
            code = self._ended()
            self._noise.seek(0)
            lines = self._noise.read().decode("utf-8", "replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), f"exit {code}")
            raise RagError(f"the process that reads files does not start: {reason.strip()}") from None
        self._ready = True

    def ask(self, request: Message, answer: dict[str, object]) -> str | None:
        """Fill in the answer; what is returned, if anything, is how the process came to its end instead."""
        deadline = time.monotonic() + self._limits.seconds
        self._noise.seek(0)
        self._noise.truncate()
        try:
            self._requests.write(pack(request))
            while "end" not in answer:
                answer.update(self._receive(deadline))
        except TimeoutError:
            self._process.kill()
            return self._late()
        except (EOFError, BrokenPipeError):
            return self._crash()
        return None

    def lives(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Let it end by itself, as it does when its input ends."""
        self._requests.close()
        self._ended()
        self._answers.close()
        self._noise.close()

    def _ended(self) -> int:
        """The exit code, after a kill if it has not ended soon; it may still write why, or have closed its pipe."""
        try:
            return self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _receive(self, deadline: float) -> dict[str, object]:
        (size,) = HEADER.unpack(self._take(HEADER.size, deadline))
        if size > LONGEST:
            self._process.kill()
            raise ValueError("a frame that is too long")
        return unpack(self._take(size, deadline))

    def _take(self, count: int, deadline: float) -> bytearray:
        taken = bytearray()
        while len(taken) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise TimeoutError
            piece = os.read(self._answers.fileno(), min(count - len(taken), 1 << 20))
            if not piece:
                raise EOFError
            taken += piece
        return taken

    def _late(self) -> str:
        return f"took longer than {self._limits.seconds:g} s"

    def _crash(self) -> str:
        code = self._ended()
        if code == -signal.SIGALRM:
            return self._late()
        if code == -signal.SIGABRT:
            # PDFium aborts when memory is refused (measured); C++ has no other way to tell.
            return (
                f"needs more than {self._limits.memory_bytes / 2**30:g} GiB of memory, or its parser crashed (signal 6)"
            )
        return f"its parser crashed ({f'signal {-code}' if code < 0 else f'exit {code}'})"
