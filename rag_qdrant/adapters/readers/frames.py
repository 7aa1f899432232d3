"""What the pool and its children say to each other: JSON in frames, each after its length."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_qdrant.domain.documents import Block, Extracted
from rag_qdrant.ports import FileRead, FileToRead, ReadOptions

Message = Mapping[str, object]

HEADER = struct.Struct(">I")
"""A frame's length in bytes, before it."""
LONGEST = 1 << 30
"""No honest frame is longer: 64 MiB of text, six bytes a character at worst, and its blocks."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may cost: seconds of wall time, bytes of the child's address space, bytes of the file."""

    seconds: float = 60.0
    memory_bytes: int = 2 << 30
    max_bytes: int = 200_000_000


def pack(message: Message) -> bytes:
    """A frame. Names that are not UTF-8 hold lone surrogates in Python, so these pass."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return HEADER.pack(len(body)) + body


def unpack(body: bytes | bytearray) -> dict[str, object]:
    """What a frame holds; ValueError if it is none of ours."""
    message = json.loads(body.decode("utf-8", "surrogatepass"))
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def of_file(file: FileToRead) -> Message:
    """The request for a file."""
    return {
        "path": str(file.path),
        "root": str(file.root),
        "name": file.options.name,
        "encoding": file.options.encoding,
        "known_hash": file.known_hash,
    }


def to_file(message: Message) -> FileToRead:
    """The file that a request is for."""
    return FileToRead(
        path=Path(str(message["path"])),
        root=Path(str(message["root"])),
        options=ReadOptions(name=str(message["name"]), encoding=_text(message["encoding"])),
        known_hash=_text(message["known_hash"]),
    )


def of_extracted(extracted: Extracted) -> Message:
    """What was taken from a file, as JSON's types."""
    return {
        "text": extracted.text,
        "type": extracted.type,
        "blocks": [[block.start, block.end, block.kind, block.level] for block in extracted.blocks],
        "pages": list(extracted.pages),
        "title": extracted.title,
        "tags": dict(extracted.tags),
        "allow": list(extracted.allow),
        "warnings": list(extracted.warnings),
    }


def to_read(file: FileToRead, answer: Message) -> FileRead:
    """The result that an answer tells; ValueError, TypeError or LookupError if it tells none."""
    extracted = answer.get("extracted")
    size = answer.get("bytes", 0)
    if not isinstance(size, int):
        raise TypeError("no size")
    return FileRead(
        file=file,
        content_hash=str(answer.get("hash", "")),
        bytes=size,
        extracted=_extracted(extracted) if isinstance(extracted, dict) else None,
        error=_text(answer.get("error")),
    )


def _extracted(message: Mapping[str, Any]) -> Extracted:
    return Extracted(
        text=str(message["text"]),
        type=str(message["type"]),
        blocks=tuple(
            Block(start=start, end=end, kind=kind, level=level) for start, end, kind, level in message["blocks"]
        ),
        pages=tuple(map(int, message["pages"])),
        title=_text(message["title"]),
        tags=dict(message["tags"]),
        allow=tuple(message["allow"]),
        warnings=tuple(message["warnings"]),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
