"""Small PDFs by hand, so that no binary file lies in the repository and every byte of a hostile one has its reason."""

from collections.abc import Sequence

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"


def objects_to_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Objects, numbered from 1, of which the first is the catalog."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, table)
    return bytes(out)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(content), entries, content)


def pdf(
    pages: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    bookmarks: Sequence[tuple[str, int]] = (),
    font: bytes = FONT,
    trailer: bytes = b"",
) -> bytes:
    """A PDF with lines of Latin text on each page; a bookmark is a title and the index of its page."""
    first = 5
    kids = b" ".join(b"%d 0 R" % (first + 2 * index) for index in range(len(pages)))
    outline = first + 2 * len(pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%b>>" % (b"/Outlines %d 0 R" % outline if bookmarks else b""),
        b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, len(pages)),
        font,
        b"<<%b>>" % (b"/Title" + _string(title) if title is not None else b""),
    ]
    for index, lines in enumerate(pages):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (first + 2 * index + 1)
        )
        shown = b" ".join(b"%b Tj 0 -14 Td" % _string(line) for line in lines)
        objects.append(stream(b"BT /F1 12 Tf 72 720 Td %b ET" % shown if lines else b""))
    if bookmarks:
        objects.append(b"<</Type/Outlines/First %d 0 R/Last %d 0 R>>" % (outline + 1, outline + len(bookmarks)))
    for number, (said, page) in enumerate(bookmarks, outline + 1):
        following = b"/Next %d 0 R" % (number + 1) if number < outline + len(bookmarks) else b""
        target = b"[%d 0 R/Fit]" % (first + 2 * page)
        objects.append(b"<</Title%b/Parent %d 0 R/Dest%b%b>>" % (_string(said), outline, target, following))
    return objects_to_pdf(objects, b"/Info 4 0 R" + trailer)


def hanging_pdf() -> bytes:
    """A form that draws itself twice: PDFium follows it for ever."""
    return objects_to_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
            stream(b"/X Do"),
            stream(b"/X Do /X Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>>>"),
        ]
    )


def encrypted_pdf() -> bytes:
    """A PDF whose user password is not the empty one: no password opens it at all."""
    nonsense = b"<" + b"5A" * 32 + b">"
    lock = b"/Encrypt<</Filter/Standard/V 1/R 2/O%b/U%b/P -4>>/ID[<00><00>]" % (nonsense, nonsense)
    return pdf([["hidden"]], trailer=lock)


def _string(text: str) -> bytes:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return b"(%b)" % escaped.encode("cp1252")
