"""Which reader a file gets: by its content first, as names lie."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from rag_qdrant.adapters.readers.decoding import looks_like_text
from rag_qdrant.ports import Reader

HEAD = 4096
"""How many bytes of a file `choose` wants."""
# Formats that no reader here can read, whatever the file is called. RTF is text to the letter, but not to a person.
_BINARY = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....(?:WEBP|WAVE|AVI )|II\*\0|MM\0\*|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    rb"|PK(?:\x03\x04|\x05\x06|\x07\x08)|\x1f\x8b\x08|BZh\d1AY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!\x1a\x07"
    rb"|\x7fELF|\xca\xfe\xba\xbe|[\xce\xcf]\xfa\xed\xfe|\0asm|SQLite format 3\0|....ftyp|OggS\0|fLaC\0|ID3[\x02-\x04]"
    rb"|\x1aE\xdf\xa3|wOF[F2]|{\\rtf",
    re.S,
)
_OF_TEXT = frozenset({"text", "markdown", "html", "pdf"})


def choose(readers: Sequence[Reader], head: bytes, name: str) -> Reader | None:
    """The reader that claims the first bytes, else the one for the name's suffix, else text if it is text, else none.

    A known binary format is given by its suffix only to a reader of another type than the built-in ones: `.docx` is a
    zip file to its reader, `.txt` with a picture in it is nothing.
    """
    for reader in readers:
        if reader.claims(head):
            return reader
    suffix = PurePosixPath(name).suffix.lower()
    named = next((reader for reader in readers if suffix in reader.suffixes), None)
    if _BINARY.match(head):
        return named if named is not None and named.type not in _OF_TEXT else None
    if named is None and looks_like_text(head):
        return next((reader for reader in readers if reader.type == "text"), None)
    return named
