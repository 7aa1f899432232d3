"""Plain text, source code and configuration: kept exactly as it is, in paragraphs."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from rag_qdrant.adapters.readers.decoding import decode
from rag_qdrant.domain.documents import Block, Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import Reader, ReadOptions

_PROSE = (".txt", ".text", ".me", "")
_SUFFIXES = (
    *_PROSE,
    *(".log", ".rst", ".org", ".adoc", ".asciidoc", ".tex", ".bib", ".srt", ".vtt"),
    *(".py", ".pyi", ".js", ".mjs", ".ts", ".jsx", ".tsx", ".java", ".kt", ".scala", ".go", ".rs", ".swift"),
    *(".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".php", ".rb", ".pl", ".lua", ".r", ".sh", ".bash", ".zsh", ".ps1"),
    *(".sql", ".css", ".scss", ".proto", ".graphql", ".tf", ".cmake", ".gradle", ".diff", ".patch"),
    *(".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".properties", ".env"),
    *(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml"),
)
_UNDERLINE = re.compile(r"={3,}|-{3,}")


@dataclass(frozen=True)
class TextReader:
    """Whatever decodes as text."""

    type: str = "text"
    suffixes: tuple[str, ...] = _SUFFIXES

    def claims(self, head: bytes) -> bool:  # noqa: ARG002 - the port's signature
        """Never: any format may be written in text, so that all others come first."""
        return False

    def read(self, file: BinaryIO, options: ReadOptions) -> Extracted:
        """The text as decoded, line ends included; each paragraph is a block."""
        text, warnings = decode(file.read(), options.encoding)
        blocks = paragraphs(text)
        if not blocks:
            raise DocumentError("no text")
        title = _title(text) if PurePosixPath(options.name).suffix.lower() in _PROSE else None
        return Extracted(text=text, type=self.type, blocks=blocks, title=title, warnings=warnings)


def paragraphs(text: str, offset: int = 0) -> tuple[Block, ...]:
    """Blocks of the lines between blank lines; `offset` is where the text stands in the whole."""
    blocks: list[Block] = []
    start: int | None = None
    position = end = offset
    # Line by line, as a regular expression over blank lines takes quadratic time on a megabyte of spaces.
    for line in text.splitlines(keepends=True):
        if not line.isspace():
            start = position if start is None else start
            end = position + len(line.rstrip())
        elif start is not None:
            blocks.append(Block(start=start, end=end))
            start = None
        position += len(line)
    if start is not None:
        blocks.append(Block(start=start, end=end))
    return tuple(blocks)


def _title(text: str) -> str | None:
    lines = text.lstrip()[:400].splitlines()
    line = lines[0].rstrip()
    alone = len(lines) > 1 and (not lines[1].strip() or _UNDERLINE.fullmatch(lines[1].strip()))
    fits = 3 <= len(line) <= 100 and len(line.split()) <= 15 and not line.endswith((".", ",", ";"))
    return line if alone and fits else None


READER: Reader = TextReader()
