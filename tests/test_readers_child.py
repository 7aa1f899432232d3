"""What the child process answers to a request, run here in this process without its limits."""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from rag_qdrant.adapters.readers import markdown, pdf, text
from rag_qdrant.adapters.readers.child import frames, installed_readers
from rag_qdrant.adapters.readers.frames import HEADER, Limits, of_file, pack, to_file, to_read, unpack
from rag_qdrant.domain.documents import Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import FileRead, FileToRead, Reader, ReadOptions

READERS: tuple[Reader, ...] = (markdown.READER, pdf.READER, text.READER)


class Breaking:
    """A reader that does whatever a test wants."""

    type = "breaking"
    suffixes = (".breaking",)

    def __init__(self, act: Callable[[], Extracted]) -> None:
        self.act = act

    def claims(self, head: bytes) -> bool:
        return b"breaking" in head

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:
        assert file.read().endswith(b"breaking")
        assert options.name
        return self.act()


def wanted(path: Path, root: Path | None = None, known: str | None = None) -> FileToRead:
    return FileToRead(path=path, root=root or path.parent, options=ReadOptions(name=path.name), known_hash=known)


def answer(file: FileToRead, readers: tuple[Reader, ...] = READERS, limits: Limits = Limits()) -> FileRead:  # noqa: B008
    """The result of a request that has gone through the frames both ways."""
    said: dict[str, object] = {}
    for frame in frames(to_file(unpack(pack(of_file(file))[HEADER.size :])), readers, limits):
        said.update(unpack(frame[HEADER.size :]))
    assert said["end"] is True
    return to_read(file, said)


def error(file: FileToRead, **other: int) -> str | None:
    found = answer(file, limits=Limits(**other))
    assert found.extracted is None
    return found.error


def test_a_file_comes_back_as_its_reader_extracted_it(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(b"---\ntags: [x]\nallow: [public]\n---\n# Title \xf0\x9f\xa6\x80\r\n\r\ntext\n")
    found = answer(wanted(path))
    assert found.extracted == markdown.READER.read(io.BytesIO(path.read_bytes()), ReadOptions(name="a.md"))
    assert found.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.bytes, found.error) == (path.stat().st_size, None)


def test_known_content_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\0 would be an error")
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    found = answer(wanted(path, known=known))
    assert (found.content_hash, found.bytes, found.extracted, found.error) == (known, 19, None, None)
    assert answer(wanted(path, known="other")).error == "binary, not text"


def test_a_failed_file_is_known_by_its_hash_too(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4 damaged")
    found = answer(wanted(path))
    assert found.error == "not a readable PDF"
    assert found.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_is_gone_empty_large_or_of_no_known_format_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert error(wanted(path)) == "vanished"
    assert error(wanted(path / "below")) == "vanished"
    path.write_bytes(b"")
    assert error(wanted(path)) == "empty file"
    assert error(wanted(path / "below")) == "vanished"
    path.write_bytes(b"x" * 1001)
    assert error(wanted(path), max_bytes=1000) == "larger than 0.001 MB"
    path = tmp_path / "a.bin"
    path.write_bytes(b"\0\1")
    assert error(wanted(path)) == "no reader for .bin files with such content; installed: markdown, pdf, text"


def test_a_file_that_grows_while_it_is_read_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 2000)
    smaller = tmp_path / "b.txt"
    smaller.write_bytes(b"")
    monkeypatch.setattr("rag_qdrant.adapters.readers.child._check", lambda *_: None)
    assert error(wanted(path), max_bytes=1000) == "larger than 0.001 MB"


def test_what_may_not_be_opened_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    def break_down(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", refuse)
    assert error(wanted(path)) == "permission denied"
    monkeypatch.setattr(os, "open", break_down)
    assert error(wanted(path)) == "cannot be read: Input/output error"


def test_only_a_regular_file_below_the_root_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    (root / "link.txt").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    (root / "inside").symlink_to(root / "folder")
    (root / "folder" / "a.txt").write_text("text")
    os.mkfifo(root / "pipe.txt")
    assert error(wanted(root / "link.txt", root)) == "a link: links are not followed"
    assert error(wanted(root / "linked" / "outside.txt", root)) == "outside of the folder that is synced"
    assert error(wanted(root / ".." / "outside.txt", root)) == "outside of the folder that is synced"
    assert error(wanted(root / "pipe.txt", root)) == "not a regular file"
    assert error(wanted(root / "folder", root)) == "not a regular file"
    assert answer(wanted(root / "inside" / "a.txt", root)).extracted is not None


def test_a_folder_swapped_for_a_link_between_open_and_check_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    path = tmp_path / "root" / "a.txt"
    path.write_text("harmless")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    really = os.open
    monkeypatch.setattr(os, "open", lambda _, flags: really(secret, flags))
    assert error(wanted(path)) == "outside of the folder that is synced"


def test_names_that_are_not_utf_8_pass_through_the_frames(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("text")
    found = answer(wanted(path))
    assert found.extracted is not None
    assert found.file.path == path


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("two\n  lines"), "its parser failed: RuntimeError: two lines"),
        (MemoryError(), "needs more than 2 GiB of memory"),
        (RecursionError("maximum depth"), "nested too deeply to be read"),
        (DocumentError("encrypted:\nneeds a password"), "encrypted: needs a password"),
        (KeyError("x" * 1000), "its parser failed: KeyError: '" + "x" * 270),
    ],
)
def test_whatever_a_parser_raises_is_one_line(tmp_path: Path, raised: Exception, said: str) -> None:
    def act() -> Extracted:
        raise raised

    path = tmp_path / "a.txt"
    path.write_bytes(b"breaking")
    found = answer(wanted(path), (Breaking(act),))
    assert found.error == said
    assert found.content_hash


def test_text_with_lone_surrogates_passes_and_too_much_text_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"breaking")
    extracted = Extracted(text="a\ud800", type="x", blocks=(), title="\udfff", tags={"k": "\udc00"}, pages=(0, 1))
    assert answer(wanted(path), (Breaking(lambda: extracted),)).extracted == extracted
    large = replace(extracted, text="é" * (33 << 20))
    assert answer(wanted(path), (Breaking(lambda: large),)).error == "more than 64 MiB of text"


def test_readers_come_from_entry_points_each_name_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug-1.dist-info").mkdir()
    (tmp_path / "plug-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    (tmp_path / "plug-1.dist-info" / "entry_points.txt").write_text(
        "[rag_qdrant.readers]\ntext = rag_qdrant.adapters.readers.text:READER\n"
        "a = rag_qdrant.adapters.readers.markdown:READER\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    readers = installed_readers()
    assert readers[0] is markdown.READER
    assert readers.count(text.READER) == 1


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff"])
def test_a_frame_that_is_no_message_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|property name|decode"):
        unpack(body)
