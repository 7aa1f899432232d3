"""The pool with real child processes, and a plug-in that misbehaves in every way a parser can."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_qdrant.adapters.readers.pool import ReaderPool
from rag_qdrant.errors import RagError
from rag_qdrant.ports import Extractor, FileRead, FileToRead, ReadOptions
from tests.pdf_fixture import hanging_pdf, pdf

ENTRY_POINTS = """[rag_qdrant.readers]
text = rag_qdrant.adapters.readers.text:READER
markdown = rag_qdrant.adapters.readers.markdown:READER
html = rag_qdrant.adapters.readers.html:READER
pdf = rag_qdrant.adapters.readers.pdf:READER
misbehaving = misbehaving:READER
"""
PLUG_IN = """
import os, signal, sys, time
from rag_qdrant.domain.documents import Extracted

def spin():
    while True:
        pass

def recurse():
    recurse()

ACTIONS = {
    b"spin": spin,
    b"late": lambda: time.sleep(0.3),
    b"segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"alarm": lambda: os.kill(os.getpid(), signal.SIGALRM),
    b"abort": os.abort,
    b"exit": lambda: os._exit(3),
    b"memory": lambda: bytearray(1 << 40),
    b"recurse": recurse,
    b"print": lambda: (print("noise" * 20_000, flush=True), os.write(1, b"noise")),
    b"stdin": lambda: print(sys.stdin.read()),
    b"interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    b"files": lambda: [os.open("/dev/null", os.O_RDONLY) for _ in range(100)],
    b"nonsense": lambda: [os.write(fd, b"\\0\\0\\0\\2[]") for fd in range(3, 20) if is_pipe(fd)],
    b"endless": lambda: [os.write(fd, b"\\xff\\xff\\xff\\xff") for fd in range(3, 20) if is_pipe(fd)],
}

def is_pipe(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:") and os.get_blocking(fd) and writable(fd)
    except OSError:
        return False

def writable(fd):
    import fcntl
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY

class Reader:
    type = "misbehaving"
    suffixes = (".act",)
    def claims(self, head):
        return False
    def read(self, file, options):
        action = file.read()
        ACTIONS[action.strip()]()
        return Extracted(text=f"pid {os.getpid()}", type="misbehaving", blocks=())

READER = Reader()
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The readers as if they were installed, so that the children find them by their entry points."""
    site = tmp_path / "site"
    info = site / "reader_fixture-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reader-fixture\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "misbehaving.py").write_text(PLUG_IN)
    root = Path(__file__).resolve().parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{root}")
    return site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def write(folder: Path, *contents: str | bytes) -> list[FileToRead]:
    """Files to read: a text is what the plug-in shall do, bytes are a document."""
    files = []
    for number, content in enumerate(contents):
        path = folder / f"{number:03}{'.act' if isinstance(content, str) else '.txt'}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        files.append(FileToRead(path=path, root=folder, options=ReadOptions(name=path.name)))
    return files


def outcome(read: FileRead) -> str:
    return read.error or (read.extracted.text if read.extracted else "known")


def test_results_come_in_order_whatever_takes_longer(folder: Path) -> None:
    files = write(folder, "late", *(b"text %d" % number for number in range(1, 12)))
    with ReaderPool(children=2) as pool:
        extractor: Extractor = pool
        found = list(extractor.extract(files))
    assert [each.file for each in found] == files
    assert [outcome(each) for each in found[1:]] == [f"text {number}" for number in range(1, 12)]


def test_a_hanging_pdf_is_one_failed_line(folder: Path) -> None:
    files = write(folder, pdf([["Before"]]), hanging_pdf(), pdf([["After"]]))
    with ReaderPool(children=1, seconds=1.5) as pool:
        found = list(pool.extract(files))
    assert [outcome(each) for each in found] == ["Before", "took longer than 1.5 s", "After"]
    assert len(found[1].content_hash) == 64, "a file that hangs is known by its hash at the next sync"


def test_a_child_that_dies_is_one_failed_line_and_another_takes_its_place(folder: Path) -> None:
    acts = ["segfault", "killed", "abort", "exit", "alarm", "late"]
    with ReaderPool(children=2) as pool:
        found = [outcome(each) for each in pool.extract(write(folder, *acts))]
    assert found[:5] == [
        "its parser crashed (signal 11)",
        "its parser crashed (signal 9)",
        "needs more than 2 GiB of memory, or its parser crashed (signal 6)",
        "its parser crashed (exit 3)",
        "took longer than 60 s",
    ]
    assert found[5].startswith("pid ")


def test_what_needs_too_much_memory_says_so_and_leaves_a_fresh_child(folder: Path) -> None:
    with ReaderPool(children=1, memory_bytes=1 << 30) as pool:
        before, memory, after = pool.extract(write(folder, "late", "memory", "late"))
    assert memory.error == "needs more than 1 GiB of memory"
    assert outcome(before).startswith("pid ")
    assert outcome(after).startswith("pid ")
    assert outcome(before) != outcome(after)


def test_deep_recursion_prints_and_interrupts_do_not_end_the_child(folder: Path) -> None:
    with ReaderPool(children=1) as pool:
        recurse, *others = pool.extract(write(folder, "recurse", "print", "stdin", "interrupt", "late"))
    assert recurse.error == "nested too deeply to be read"
    assert len({outcome(each) for each in others}) == 1, "one process read them all"
    assert outcome(others[0]).startswith("pid ")


def test_a_parser_that_leaves_files_open_does_not_harm_the_next_file(folder: Path) -> None:
    with ReaderPool(children=1) as pool:
        files, after = pool.extract(write(folder, "files", "late"))
    assert files.error == "cannot be read: Too many open files"
    assert outcome(after).startswith("pid ")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the plug-in finds the pipe through /proc")
@pytest.mark.parametrize("act", ["nonsense", "endless"])
def test_a_child_that_speaks_nonsense_is_one_failed_line(folder: Path, act: str) -> None:
    with ReaderPool(children=1) as pool:
        nonsense, after = pool.extract(write(folder, act, "late"))
    assert nonsense.error == "its parser answered nonsense"
    assert outcome(after).startswith("pid ")


def test_files_are_taken_only_a_little_ahead(folder: Path) -> None:
    files = write(folder, *[b"text"] * 40)
    taken: list[FileToRead] = []

    def walk() -> Iterator[FileToRead]:
        for file in files:
            taken.append(file)
            yield file

    with ReaderPool(children=2) as pool:
        for number, _ in enumerate(pool.extract(walk()), 1):
            assert len(taken) <= number + 4


def test_an_iterator_closed_early_leaves_no_thread_reading(folder: Path) -> None:
    files = write(folder, b"text", *["spin"] * 6)
    others = set(threading.enumerate())
    pool = ReaderPool(children=2)
    results = pool.extract(files)
    assert outcome(next(results)) == "text"
    started = time.monotonic()
    del results
    assert time.monotonic() - started < 5
    assert outcome(next(iter(pool.extract(files[:1])))) == "text", "the pool goes on"
    pool.close()
    pool.close()
    assert set(threading.enumerate()) <= others


def test_closing_the_pool_ends_what_is_being_read(folder: Path) -> None:
    pool = ReaderPool(children=1)
    results: list[object] = []

    def consume() -> None:
        try:
            results.extend(pool.extract(write(folder, "spin")))
        except RuntimeError as error:
            results.append(error)

    thread = threading.Thread(target=consume)
    thread.start()
    time.sleep(1.0)
    pool.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(results) == 1


def test_a_child_that_died_while_idle_costs_no_file(folder: Path) -> None:
    with ReaderPool(children=1) as pool:
        (first,) = pool.extract(write(folder, "late"))
        os.kill(int(outcome(first).split()[1]), 9)
        time.sleep(0.2)
        (second,) = pool.extract(write(folder, "late"))
    assert outcome(second).startswith("pid ")


def test_a_reader_that_cannot_be_loaded_stops_the_sync_with_its_reason(folder: Path, site: Path) -> None:
    (site / "misbehaving.py").write_text("import a_package_that_is_missing")
    with ReaderPool(children=1) as pool, pytest.raises(RagError, match="a_package_that_is_missing"):
        list(pool.extract(write(folder, b"text")))


def test_a_module_in_the_current_folder_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "yaml.py").write_text("raise SystemExit('run from the current folder')")
    monkeypatch.chdir(folder)
    with ReaderPool(children=1) as pool:
        (found,) = pool.extract(write(folder, b"text"))
    assert outcome(found) == "text"


def test_children_end_when_their_parent_closes_its_end(folder: Path) -> None:
    with ReaderPool(children=1) as pool:
        (found,) = pool.extract(write(folder, "late"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(outcome(found).split()[1]), 0)
