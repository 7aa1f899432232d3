"""From entered and left HTML elements to a text and its blocks: what begins a line, a block or a cell."""

from selectolax.lexbor import LexborNode

from rag_qdrant.domain.documents import Block, BlockKind

_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = {
    *("body", "frameset", "address", "article", "aside", "footer", "header", "hgroup", "main", "search", "section"),
    *("blockquote", "center", "dd", "dl", "dt", "details", "dialog", "div", "fieldset", "figcaption", "figure", "form"),
    *("hr", "legend", "p", "summary", "ul", "ol", "menu", "dir"),
    *("caption", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    *_HEADINGS,
}
_LISTS = {"ul", "ol", "menu", "dir"}
# A table with one of these in it lays out a page: its cells are read one after the other.
_LAYOUT = "table, h1, h2, h3, h4, h5, h6, pre, listing, xmp, blockquote, article, section"


class Page:
    """The text so far; one block is open at a time, one line of it is open at a time."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._kind: BlockKind = "text"
        self._level = 0
        self._lines: list[str] = []
        self._line: list[str] = []
        self._prefix = ""
        self._lists = 0
        self._table: int | None = None
        """The data table that the walk is in, by its node's address; tables in it are part of it."""
        self._cells = 0
        self._verbatim = 0

    def enter(self, node: LexborNode) -> None:
        """A node begins."""
        tag = node.tag or ""
        if node.is_text_node:
            self._take(node.text_content or "")
        elif tag == "br":
            self._break()
        elif tag in ("pre", "listing", "xmp"):
            self._end_block("code")
            self._verbatim += 1
        elif self._table is not None:
            self._enter_in_table(tag)
        elif tag == "li":
            self._end_line()
            self._prefix = "  " * max(self._lists - 1, 0) + "- "
        elif tag in _BLOCKS:
            self._enter_block(node, tag)

    def leave(self, node: LexborNode) -> None:
        """A node ends."""
        tag = node.tag or ""
        if tag in ("pre", "listing", "xmp"):
            self._end_block()
            self._verbatim -= 1
        elif self._table is not None:
            if node.mem_id == self._table:
                self._end_block()
                self._table = None
        elif tag in _LISTS:
            self._end_line()
            self._lists -= 1
            self._prefix = ""
            if not self._lists:
                self._end_block()
        elif tag in _BLOCKS or tag == "li":
            self._end_block()

    def finish(self) -> tuple[str, tuple[Block, ...]]:
        """The whole text and its blocks."""
        self._end_block()
        return "".join(self._text), tuple(self._blocks)

    def _enter_block(self, node: LexborNode, tag: str) -> None:
        if tag in _LISTS:
            self._end_line()
            if not self._lists:
                self._end_block("list")
            self._lists += 1
        elif tag == "table" and not self._lists and _is_data(node):
            self._end_block("table")
            self._table = node.mem_id
        elif tag in _HEADINGS:
            self._end_block("heading", _HEADINGS[tag])
        else:
            self._end_block()

    def _enter_in_table(self, tag: str) -> None:
        if tag in ("tr", "caption"):
            self._end_line()
            self._cells = 0
        elif tag in ("td", "th"):
            self._line.append(" | " if self._cells else "")
            self._cells += 1
        elif tag in _BLOCKS or tag == "li":
            self._line.append(" ")

    def _take(self, text: str) -> None:
        if not self._verbatim:
            self._line.append(text)
            return
        *whole, rest = text.replace("\r\n", "\n").split("\n")
        for line in whole:
            self._line.append(line)
            self._end_line()
        self._line.append(rest)

    def _break(self) -> None:
        if self._table is not None:
            self._line.append(" ")
        elif self._lists or self._verbatim or "".join(self._line).strip():
            self._end_line()
        elif self._lines:
            # Two in a row stand for a paragraph on pages written by hand.
            self._end_block()

    def _end_line(self) -> None:
        joined, self._line = "".join(self._line), []
        line = joined.rstrip() if self._verbatim else " ".join(joined.split())
        if self._table is not None and not line.strip("| "):
            return
        if line:
            self._lines.append(self._prefix + line)
            self._prefix = " " * len(self._prefix)
        elif self._verbatim:
            self._lines.append("")

    def _end_block(self, kind: BlockKind = "text", level: int = 0) -> None:
        """End the open block and begin one of the kind told; within a list it is only a line that ends."""
        self._end_line()
        if self._lists:
            return
        self._emit("\n".join(self._lines).strip("\n"))
        self._lines = []
        self._kind, self._level, self._prefix = kind, level, ""

    def _emit(self, text: str) -> None:
        if not text.strip():
            return
        if self._text:
            self._text.append("\n\n")
            self._length += 2
        self._text.append(text)
        end = self._length + len(text)
        self._blocks.append(Block(start=self._length, end=end, kind=self._kind, level=self._level))
        self._length = end


def _is_data(table: LexborNode) -> bool:
    return all(node.mem_id == table.mem_id for node in table.css(_LAYOUT))
