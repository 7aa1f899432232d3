"""HTML: what a reader of the page reads, in blocks, without its navigation and scripts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from rag_qdrant.adapters.readers.decoding import attempt, decode, marked, well_formed
from rag_qdrant.adapters.readers.htmlblocks import Page
from rag_qdrant.domain.documents import Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import Reader, ReadOptions

_LARGEST = 20_000_000
# lexbor's tree takes quadratic time in its depth: 20,000 deep 0.5 s, 100,000 deep over 100 s. Pages have some 30.
_DEEPEST = 2_000
_BEGINNING = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*){0,5}<(?:!doctype\s+html|html)[\s>]", re.I | re.S
)
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.I)
# What browsers take these labels for, where Python means something else or nothing by them.
_LABELS = {
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "utf-16": "utf-8",
    "utf-16le": "utf-8",
    "utf-16be": "utf-8",
}
_TAG = re.compile(rb"<(?:(/?)([a-z][a-z0-9]*)|(!--))")
# Elements without an end tag, and those that the next of their kind ends: they don't deepen the tree by themselves.
_FLAT = frozenset(
    b"area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option "
    b"optgroup html head body colgroup rp rt".split()
)
_RAW = frozenset({b"script", b"style", b"textarea", b"title", b"xmp", b"noframes", b"iframe"})

_DROPPED = {
    *("nav", "script", "style", "noscript", "template", "svg", "iframe", "object", "head", "-comment"),
    *("button", "input", "select", "textarea", "datalist", "option"),
}


@dataclass(frozen=True)
class HtmlReader:
    """Web pages, by lexbor, which reads them as browsers do."""

    type: str = "html"
    suffixes: tuple[str, ...] = (".html", ".htm", ".xhtml")

    def claims(self, head: bytes) -> bool:
        """A document type or an `html` element, with nothing but comments before it."""
        return _BEGINNING.match(head) is not None

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:
        """The body's text; headings keep their levels, a table's row is a line, a list's entry begins with `- `."""
        data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise DocumentError(f"HTML larger than {_LARGEST // 1_000_000} MB")
        if _deeper_than(data, _DEEPEST):
            raise DocumentError(f"elements nested more than {_DEEPEST:,} deep")
        source, warnings = _decoded(data, options.encoding)
        try:
            tree = LexborHTMLParser(source)
        except SelectolaxError as error:
            raise DocumentError(f"not readable as HTML: {error}") from error
        page = Page()
        for node, leaving in _walk(tree.body):
            page.leave(node) if leaving else page.enter(node)
        text, blocks = page.finish()
        if not blocks:
            raise DocumentError("no text")
        return Extracted(text=text, type=self.type, blocks=blocks, title=_title(tree), warnings=warnings)


def _walk(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """Each node that counts, when it is entered and when it is left; no recursion, as pages can be deep."""
    node, depth = root, 0
    while node is not None:
        yield node, False
        child = _counting(node.first_child, depth + 1)
        if child is not None:
            node, depth = child, depth + 1
            continue
        while node is not None:
            yield node, True
            if depth == 0:
                return
            following = _counting(node.next, depth)
            if following is not None:
                node = following
                break
            node, depth = node.parent, depth - 1


def _counting(node: LexborNode | None, depth: int) -> LexborNode | None:
    """The node, or the next beside it, that is not left out."""
    # A header inside an article or a section is that part's own; one right below the body is the site's.
    while node is not None and (node.tag in _DROPPED or (depth == 1 and node.tag in ("header", "footer"))):
        node = node.next
    return node


def _title(tree: LexborHTMLParser) -> str | None:
    for selector in ("head > title", "h1"):
        node = tree.css_first(selector)
        title = " ".join(node.text().split()) if node is not None else ""
        if title:
            return title
    return None


def _decoded(data: bytes, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    declared = _DECLARED.search(data, 0, 2048)
    if declared is None or marked(data) or b"\0" in data[:8192]:
        return decode(data, encoding)
    label = declared[1].decode("ascii", "ignore").lower()
    try:
        text = attempt(data, _LABELS.get(label, label))
    except DocumentError:  # An encoding that Python doesn't know is the page's mistake, not the user's.
        text = None
    if text is not None:
        return well_formed(text)
    text, warnings = decode(data, encoding)
    return text, (f"not {label}, though the page says so", *warnings)


def _deeper_than(data: bytes, limit: int) -> bool:
    """Whether open elements, counted by their tags alone, ever exceed the limit."""
    data = data.lower()
    opened: dict[bytes, int] = {}
    depth = position = 0
    while (match := _TAG.search(data, position)) is not None:
        position = match.end()
        closing, name, comment = match[1], match[2], match[3]
        if comment:
            # `<!-->` is a whole comment.
            position = _after(data, b"-->", position - 2)
        elif closing:
            # Only an end tag with a start tag counts: others could hide the depth.
            if opened.get(name, 0) > 0:
                opened[name] -= 1
                depth -= 1
        elif name in _RAW:
            position = _after(data, b"</" + name, position)
        elif name not in _FLAT:
            opened[name] = opened.get(name, 0) + 1
            depth += 1
            if depth > limit:
                return True
    return False


def _after(data: bytes, mark: bytes, position: int) -> int:
    found = data.find(mark, position)
    return len(data) if found < 0 else found


READER: Reader = HtmlReader()
