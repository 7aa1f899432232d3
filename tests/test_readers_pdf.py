"""PDF: pages and clean text, and one sentence for each way in which a PDF cannot be read."""

import io

import pytest

from rag_qdrant.adapters.readers import pdf as reader
from rag_qdrant.domain.documents import Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import ReadOptions
from tests.pdf_fixture import encrypted_pdf, objects_to_pdf, pdf, stream


def read(data: bytes) -> Extracted:
    return reader.READER.read(io.BytesIO(data), ReadOptions(name="a.pdf"))


def cut(extracted: Extracted) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, extracted.text[block.start : block.end]) for block in extracted.blocks]


def test_each_page_is_a_block_and_its_start_is_known() -> None:
    extracted = read(pdf([["First line", "second (line)"], ["Übergrößen: 5 €"]]))
    assert extracted.text == "First line\nsecond (line)\n\nÜbergrößen: 5 €"
    assert cut(extracted) == [("page", 0, "First line\nsecond (line)"), ("page", 0, "Übergrößen: 5 €")]
    assert extracted.pages == (0, 26)
    assert extracted.warnings == ()


def test_pages_without_text_are_named_in_a_warning() -> None:
    extracted = read(pdf([[], ["Text"], [], [], ["More"], []]))
    assert extracted.warnings == ("no text on pages 1, 3-4, 6",)
    assert [extracted.text[start:].split("\n")[0] for start in extracted.pages] == ["", "Text", "", "", "More", ""]
    assert cut(extracted) == [("page", 0, "Text"), ("page", 0, "More")]


def test_a_bookmark_is_a_heading_where_its_title_starts_a_line_of_its_page() -> None:
    pages = [["Contents", "Item 1"], ["before", "Item 1. Business", "after", "Item 1A. Risks"]]
    extracted = read(pdf(pages, bookmarks=[("Item 1", 1), ("Item 1A.", 1), ("Item 9", 1), ("fter", 1), ("", 0)]))
    assert cut(extracted) == [
        ("page", 0, "Contents\nItem 1"),
        ("page", 0, "before"),
        ("heading", 1, "Item 1. Business"),
        ("page", 0, "after"),
        ("heading", 1, "Item 1A. Risks"),
    ]


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Annual report  2023", "Annual report 2023"),
        ("Q2 2023 8-K - Exhibit 99.1", "Q2 2023 8-K - Exhibit 99.1"),
        ("0000909832-23-000004", None),
        ("Microsoft Word - Annual report", None),
        ("untitled document 1", None),
        ("annual report.docx", None),
        ("", None),
        (None, None),
    ],
)
def test_a_title_counts_only_if_a_person_may_have_written_it(said: str | None, title: str | None) -> None:
    assert read(pdf([["Text"]], title=said)).title == title


def test_pdfiums_signs_become_what_they_mean() -> None:
    assert reader.clean("for\x02ward\r\n\uf0b7 item\xa0one\ntwo\x03\r\n\ue123 x \ue123y\r\n") == (
        "for-ward\n• item one two\n• x \ue123y"
    )


def test_characters_beyond_the_first_plane_are_read() -> None:
    mapping = stream(
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
        b"1 begincodespacerange <00> <FF> endcodespacerange\n"
        b"2 beginbfchar <41> <D83EDD80> <42> <65E5> endbfchar endcmap end end"
    )
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
        stream(b"BT /F1 12 Tf 72 720 Td (ABc) Tj ET"),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>",
        mapping,
    ]
    assert read(objects_to_pdf(objects)).text == "🦀日c"


def test_a_pdf_that_needs_a_password_says_so() -> None:
    with pytest.raises(DocumentError, match="encrypted: needs a password"):
        read(encrypted_pdf())


@pytest.mark.parametrize("keep", [1000, 300, 20])
def test_a_damaged_pdf_says_so_even_after_an_encrypted_one(keep: int) -> None:
    with pytest.raises(DocumentError):
        read(encrypted_pdf())
    whole = pdf([["Some text that goes on"]] * 20)
    with pytest.raises(DocumentError, match="not a readable PDF"):
        read(whole[:keep])


def test_a_page_that_is_none_is_damaged_and_the_others_are_read() -> None:
    data = pdf([["One"], ["Two"]]).replace(b"/Kids[5 0 R 7 0 R]", b"/Kids[5 0 R 99 0 R]")
    extracted = read(data)
    assert extracted.text.strip() == "One"
    assert extracted.warnings == ("damaged, not read: page 2",)


@pytest.mark.parametrize("pages", [[[]], [[], []]])
def test_a_pdf_without_any_text_may_be_a_scan(pages: list[list[str]]) -> None:
    with pytest.raises(DocumentError, match=r"no text on any page: scanned\?"):
        read(pdf(pages))


def test_a_pdf_without_pages_says_so_even_after_an_encrypted_one() -> None:
    with pytest.raises(DocumentError):
        read(encrypted_pdf())
    with pytest.raises(DocumentError, match="without pages"):
        read(pdf([]))


def test_something_else_is_no_pdf() -> None:
    with pytest.raises(DocumentError, match="not a readable PDF"):
        read(b"<!doctype html><p>Not found")
