"""PDF, by PDFium: its text cleaned of what only PDFium means by it, with the pages kept apart."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from rag_qdrant.domain.documents import Block, Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import Reader, ReadOptions

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_BETWEEN_PAGES = "\n\n"
_MOST_BOOKMARKS = 5_000
_LONGEST_HEADING = 200
# Before the header there may be up to 1 KiB of anything; a text that only speaks of PDF has no object after it.
_HEADER_LATER = re.compile(rb"(?:^|[\r\n])%PDF-\d\.\d")
# PDFium's own signs, counted on 6,391 pages: a hyphen at a line join is \x02 (U+FFFE in its other text function).
_SIGNS = {0x02: "-", 0xFFFE: "-", 0xA0: " ", 0x09: " "}
_CONTROLS = {code: " " for code in (*range(32), 0x7F) if code not in _SIGNS}
# The bullets of Symbol and Wingdings; other private characters are letters of some font.
_BULLETS = dict.fromkeys((0xF0B7, 0xF0A7, 0xF0A8, 0xF0D8, 0xF076, 0xF071, 0xF06E, 0xF0FC), "•")
_CLEANED = _SIGNS | _CONTROLS | _BULLETS
_BULLET_LINE = re.compile(r"^[\ue000-\uf8ff](?=\s)", re.M)
_NO_TITLE = re.compile(r"microsoft word|untitled|.*\.[a-z]\w{1,4}$", re.I)
_PASSWORD, _SECURITY = 4, 5

_Headings = Mapping[int, list[tuple[str, int]]]


@dataclass(frozen=True)
class PdfReader:
    """PDF with text in it; scanned pages have none and are named in a warning."""

    type: str = "pdf"
    suffixes: tuple[str, ...] = (".pdf",)

    def claims(self, head: bytes) -> bool:
        """The header `%PDF-` at the start, or within the first KiB before an object."""
        start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
        return start.startswith(b"%PDF-") or (_HEADER_LATER.search(head, 0, 1032) is not None and b" obj" in head)

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:  # noqa: ARG002 - a PDF knows its encoding
        """The pages' text, two line ends between pages; a bookmark that starts a line of its page is a heading."""
        data = file.read()  # PDFium reads from these bytes until the document is closed.
        with _opened(data) as document:
            texts, damaged = _page_texts(document)
            if not any(texts):
                raise DocumentError("no text on any page: scanned? (OCR comes with the extra [ocr])")
            blocks, starts = _blocks(texts, _bookmarks(document, len(texts)))
            empty = [number for number, text in enumerate(texts, 1) if not text and number not in damaged]
            warnings = (("no text on", empty), ("damaged, not read:", damaged))
            return Extracted(
                text=_BETWEEN_PAGES.join(texts),
                type=self.type,
                blocks=blocks,
                pages=starts,
                title=_title(document.get_metadata_value("Title")),
                warnings=tuple(f"{said} {_numbers(pages)}" for said, pages in warnings if pages),
            )


def clean(text: str) -> str:
    """PDFium's text of a page as a reader sees it; only \\r\\n is a line end there, a bare \\n is a space's glyph.

    >>> clean("Regulation S\\x02T\\r\\nDecember\\n31,\\xa02022")
    'Regulation S-T\\nDecember 31, 2022'
    """
    lines = (line.translate(_CLEANED).rstrip() for line in text.split("\r\n"))
    return _BULLET_LINE.sub("•", "\n".join(lines)).strip()


def _opened(data: bytes) -> "PdfDocument":
    # Here, so that a sync without a PDF doesn't load PDFium; the library has no type hints.
    import pypdfium2  # noqa: PLC0415
    from pypdfium2 import raw  # noqa: PLC0415

    # By the raw function, as the wrapper also takes a code left over from an earlier file for a document without pages.
    handle = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if not handle:
        code = raw.FPDF_GetLastError()
        if code == _PASSWORD:
            raise DocumentError("encrypted: needs a password")
        raise DocumentError("encrypted in an unknown way" if code == _SECURITY else "not a readable PDF")
    document: PdfDocument = pypdfium2.PdfDocument(handle)
    if len(document) == 0:
        document.close()
        raise DocumentError("a PDF without pages")
    return document


def _page_texts(document: "PdfDocument") -> tuple[list[str], list[int]]:
    """Each page's text, and the numbers of the pages that cannot be read."""
    from pypdfium2 import PdfiumError  # noqa: PLC0415

    texts: list[str] = []
    damaged: list[int] = []
    for index in range(len(document)):
        try:
            texts.append(_page_text(document, index))
        except PdfiumError:
            texts.append("")
            damaged.append(index + 1)
    return texts, damaged


def _page_text(document: "PdfDocument", index: int) -> str:
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            # The function that the signs were counted with; get_text_range writes the hyphen as U+FFFE.
            return clean(text_page.get_text_bounded())
        finally:
            text_page.close()
    finally:
        page.close()


def _bookmarks(document: "PdfDocument", pages: int) -> _Headings:
    """The bookmarks' titles and levels from 1, by the index of the page that they lead to."""
    headings: dict[int, list[tuple[str, int]]] = {}
    for bookmark in islice(document.get_toc(), _MOST_BOOKMARKS):
        target = bookmark.get_dest()
        index = target.get_index() if target is not None else None
        if index is not None and 0 <= index < pages:
            headings.setdefault(index, []).append((clean(bookmark.get_title()), bookmark.level + 1))
    return headings


def _blocks(texts: Iterable[str], bookmarks: _Headings) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    blocks: list[Block] = []
    starts: list[int] = []
    position = 0
    for index, text in enumerate(texts):
        starts.append(position)
        blocks.extend(_page_blocks(text, position, bookmarks.get(index, [])))
        position += len(text) + len(_BETWEEN_PAGES)
    return tuple(blocks), tuple(starts)


def _page_blocks(text: str, offset: int, bookmarks: Iterable[tuple[str, int]]) -> Iterator[Block]:
    """The page as one block, or, where bookmarks begin lines of it, headings and the stretches between them."""
    position = 0
    for start, end, level in sorted(_headings(text, bookmarks)):
        if start >= position:
            yield from _stretch(text, position, start, offset)
            yield Block(start=offset + start, end=offset + end, kind="heading", level=level)
            position = end
    yield from _stretch(text, position, len(text), offset)


def _headings(text: str, bookmarks: Iterable[tuple[str, int]]) -> Iterator[tuple[int, int, int]]:
    for title, level in bookmarks:
        words = r"\s+".join(re.escape(word) for word in title.split())
        # To the end of its line: "Item 1" may stand for "Item 1. Business", but not for "Item 1A".
        found = re.search(rf"^{words}(?!\w).*$", text, re.M) if words else None
        if found and found.end() - found.start() <= _LONGEST_HEADING:
            yield found.start(), found.end(), level


def _stretch(text: str, start: int, end: int, offset: int) -> Iterator[Block]:
    part = text[start:end]
    if part.strip():
        start += len(part) - len(part.lstrip())
        yield Block(start=offset + start, end=offset + start + len(part.strip()), kind="page")


def _title(said: str) -> str | None:
    """The title that the file says, unless a program has put it there."""
    title = " ".join(clean(said).split())
    return title if len(title.split()) >= 2 and not _NO_TITLE.match(title) else None


def _numbers(pages: Iterable[int]) -> str:
    """Page numbers with their ranges.

    >>> _numbers([3, 5, 6, 7])
    'pages 3, 5-7'
    >>> _numbers([2])
    'page 2'
    """
    ranges: list[list[int]] = []
    for page in pages:
        if ranges and ranges[-1][1] == page - 1:
            ranges[-1][1] = page
        else:
            ranges.append([page, page])
    said = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page{'s' if not said.isdigit() else ''} {said}"


READER: Reader = PdfReader()
