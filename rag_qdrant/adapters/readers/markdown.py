"""Markdown: its own text with exact offsets, and blocks where headings, fences, tables and lists are known."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import BinaryIO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from rag_qdrant.adapters.readers.decoding import decode
from rag_qdrant.adapters.readers.frontmatter import front_matter
from rag_qdrant.adapters.readers.text import paragraphs
from rag_qdrant.domain.documents import Block, BlockKind, Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import Reader, ReadOptions

_KINDS: dict[str, BlockKind] = {
    "heading_open": "heading",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
}
# The line ends that markdown-it makes "\n" before it counts lines: lines keep their numbers, not their offsets.
_LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class MarkdownReader:
    """CommonMark with tables; front matter gives the title, tags and readers."""

    type: str = "markdown"
    suffixes: tuple[str, ...] = (".md", ".markdown", ".mdown", ".mkd")

    def claims(self, head: bytes) -> bool:  # noqa: ARG002 - the port's signature
        """Never: only the name tells Markdown from text."""
        return False

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:
        """The file's own text; front matter stays in it, but in no block."""
        text, warnings = decode(file.read(), options.encoding)
        front = front_matter(text)
        blocks, heading, warned = _parsed(text, front.end)
        if not blocks:
            raise DocumentError("no text")
        return Extracted(
            text=text,
            type=self.type,
            blocks=blocks,
            title=front.title or heading,
            tags=front.tags,
            allow=front.allow,
            warnings=warnings + front.warnings + warned,
        )


def _parsed(text: str, start: int) -> tuple[tuple[Block, ...], str | None, tuple[str, ...]]:
    """The blocks from `start` on, the first heading of level 1, and what to warn of."""
    body = text[start:]
    references: dict[str, object] = {}
    try:
        tokens = _block_parser().parse(body, references)
        heading = _first_heading(tokens, references)
    except RecursionError:
        return paragraphs(body, start), None, ("nested too deeply for Markdown: read as plain text",)
    return tuple(_covering(text, start, _top_level(tokens, body, start))), heading, ()


def _top_level(tokens: Iterable[Token], body: str, offset: int) -> Iterator[Block]:
    starts = [0, *(match.end() for match in _LINE_END.finditer(body)), len(body)]
    for token in tokens:
        if token.level == 0 and token.map and token.nesting >= 0:
            first, after = (min(line, len(starts) - 1) for line in token.map)
            kind = _KINDS.get(token.type, "text")
            level = int(token.tag[1:]) if kind == "heading" else 0
            yield Block(start=offset + starts[first], end=offset + starts[after], kind=kind, level=level)


def _covering(text: str, position: int, blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks without white space at their ends, and paragraphs for what they leave out: link definitions."""
    for block in blocks:
        start = max(block.start, position)
        end = start + len(text[start : block.end].rstrip())
        if end > start:
            yield from paragraphs(text[position:start], position)
            yield replace(block, start=start, end=end)
            position = end
    yield from paragraphs(text[position:], position)


def _first_heading(tokens: list[Token], references: dict[str, object]) -> str | None:
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h1" and opening.level == 0:
            parsed = _inline_parser().parseInline(inline.content, references)
            return " ".join("".join(_plain(parsed[0].children or ())).split()) or None
    return None


def _plain(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.children:
            yield from _plain(token.children)


@cache
def _block_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    # Blocks are all that is needed: without the inline pass it takes a fraction of the time.
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@cache
def _inline_parser() -> MarkdownIt:
    return MarkdownIt("commonmark")


READER: Reader = MarkdownReader()
