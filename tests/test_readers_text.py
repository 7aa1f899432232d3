"""Plain text: the encoding ladder, exact text, paragraphs, titles, and what file gets which reader."""

import codecs
import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_qdrant.adapters.readers import html, markdown, pdf, text
from rag_qdrant.adapters.readers.decoding import decode, well_formed
from rag_qdrant.adapters.readers.detect import choose
from rag_qdrant.adapters.readers.text import paragraphs
from rag_qdrant.domain.documents import Block, Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import Reader, ReadOptions

READERS: Sequence[Reader] = (html.READER, markdown.READER, pdf.READER, text.READER)


def read(data: bytes, name: str = "a.txt", encoding: str | None = None) -> Extracted:
    return text.READER.read(io.BytesIO(data), ReadOptions(name=name, encoding=encoding))


def test_text_is_kept_exactly_with_its_line_ends_and_its_paragraphs_are_blocks() -> None:
    source = "\r\n  Ein Absatz,\r\nzwei Zeilen\r\n \t\r\n日本語 🦀\r\r\nEnde  "
    extracted = read(source.encode())
    assert extracted.text == source
    assert [source[block.start : block.end] for block in extracted.blocks] == [
        "  Ein Absatz,\r\nzwei Zeilen",
        "日本語 🦀",
        "Ende",
    ]
    assert extracted.warnings == ()


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_the_encoding_and_is_not_part_of_the_text(mark: bytes, encoding: str) -> None:
    assert decode(mark + "Straße 🦀".encode(encoding), "shift_jis") == ("Straße 🦀", ())


def test_a_wrong_byte_order_mark_is_refused() -> None:
    with pytest.raises(DocumentError, match="UTF-16-LE"):
        decode(codecs.BOM_UTF16_LE + b"odd")


def test_utf_8_comes_before_the_encoding_told_and_that_before_windows_1252() -> None:
    assert decode("naïve".encode(), "cp1251") == ("naïve", ())
    assert decode("привет".encode("cp1251"), "cp1251") == ("привет", ())
    assert decode("日本".encode("shift_jis"), "shift_jis") == ("日本", ())


def test_windows_1252_is_assumed_only_with_a_warning() -> None:
    decoded, (warning,) = decode("l’été – 5 €".encode("cp1252"))
    assert decoded == "l’été – 5 €"
    assert "Windows-1252" in warning
    assert "--encoding" in warning
    assert "ascii" in decode(b"\xe9t\xe9", "ascii")[1][0]


def test_bytes_that_no_encoding_explains_are_refused_and_the_message_says_what_to_pass() -> None:
    with pytest.raises(DocumentError, match="pass --encoding"):
        decode(b"caf\xe9 \x81")


@pytest.mark.parametrize("encoding", ["utf-9000", "hex"])
def test_an_encoding_that_is_none_is_named(encoding: str) -> None:
    with pytest.raises(DocumentError, match=encoding):
        decode(b"\xff", encoding)


def test_nuls_are_binary_unless_the_encoding_told_has_them() -> None:
    with pytest.raises(DocumentError, match="binary, not text"):
        decode(b"MZ\0\0")
    with pytest.raises(DocumentError, match="binary, not text"):
        decode(b"M\0", "cp1252")
    assert decode("été".encode("utf-16-le"), "utf-16-le") == ("été", ())
    with pytest.raises(DocumentError, match="not utf-16-le"):
        decode(b"a\0b", "utf-16-le")


def test_lone_surrogates_are_replaced_one_for_one_with_a_warning() -> None:
    assert well_formed("a\ud800b\udfff") == ("a�b�", ("2 lone surrogates replaced",))
    assert decode(rb"\ud800".replace(b"\\u", b"\\u") + b"\xff", "unicode_escape")[0] == "�ÿ"


@pytest.mark.parametrize("blank", [b"", b" \r\n\t\n", codecs.BOM_UTF8])
def test_a_blank_text_has_no_text(blank: bytes) -> None:
    with pytest.raises(DocumentError, match="no text"):
        read(blank)


@pytest.mark.parametrize(
    ("source", "name", "title"),
    [
        ("\n  Travel policy\n\nText", "policy.txt", "Travel policy"),
        ("Travel policy\n=====\nText", "POLICY.TXT", "Travel policy"),
        ("Travel policy\n-----\nText", "README", "Travel policy"),
        ("Travel policy\n\nText", "read.me", "Travel policy"),
        ("Travel policy\n\nText", "policy.py", None),
        ("Travel policy\nText", "policy.txt", None),
        ("Travel policy", "policy.txt", None),
        ("We travel.\n\nText", "policy.txt", None),
        ("Dear Ana,\n\nText", "policy.txt", None),
        ("So\n\nText", "policy.txt", None),
        ("a " * 16 + "\n\nText", "policy.txt", None),
        ("a" * 101 + "\n\nText", "policy.txt", None),
    ],
)
def test_a_title_is_a_short_line_that_stands_alone_in_prose(source: str, name: str, title: str | None) -> None:
    assert read(source.encode(), name).title == title


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \t\r\n\x0c\u2028é🦀"), max_size=60), st.integers(0, 9))
def test_paragraphs_are_ordered_disjoint_and_cover_every_character_that_is_not_blank(source: str, offset: int) -> None:
    blocks = paragraphs(source, offset)
    assert uncovered(" " * offset + source, blocks).strip() == ""


def uncovered(source: str, blocks: tuple[Block, ...]) -> str:
    """What lies outside the blocks, after a check that they are in order."""
    left, position = "", 0
    for block in blocks:
        assert position <= block.start < block.end <= len(source)
        assert source[block.start : block.end].strip()
        left += source[position : block.start]
        position = block.end
    return left + source[position:]


@pytest.mark.parametrize(
    ("head", "name", "type_"),
    [
        (b"%PDF-1.7\n", "report.txt", "pdf"),
        (b"junk\n%PDF-1.4\n1 0 obj", "report", "pdf"),
        (b"A PDF begins with %PDF-1.4, as we know", "about.txt", "text"),
        (b"The header\n%PDF-1.4\nsays the version", "about.md", "markdown"),
        (b"\n<!DOCTYPE html>\n<p>", "page.pdf", "html"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<html xmlns='y'>", "page", "html"),
        (b"<p>no claim", "page.HTM", "html"),
        (b"# Title", "notes.MD", "markdown"),
        (b"key = 1", "pyproject.toml", "text"),
        (b"plain", "Makefile", "text"),
        ("größer".encode("cp1252"), "notes.unknown", "text"),
        (codecs.BOM_UTF16_LE + b"a\0", "notes.unknown", "text"),
        (b"\0\1\2", "notes.unknown", None),
        (b"\x89PNG\r\n\x1a\n", "notes.txt", None),
        (b"\xff\xd8\xff\xe0", "scan.pdf", None),
        (b"PK\x03\x04", "book.md", None),
        (b"\0\0\0\x20ftypisom", "film.txt", None),
        (b"{\\rtf1 text}", "letter.txt", None),
    ],
)
def test_content_chooses_the_reader_before_the_name(head: bytes, name: str, type_: str | None) -> None:
    chosen = choose(READERS, head, name)
    assert (chosen.type if chosen else None) == type_


def test_a_binary_format_goes_to_a_plug_in_that_names_its_suffix() -> None:
    office = text.TextReader(type="docx", suffixes=(".docx",))
    assert choose((*READERS, office), b"PK\x03\x04", "letter.docx") is office
    assert choose((*READERS, office), b"PK\x03\x04", "letter.zip") is None
