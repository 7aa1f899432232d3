"""Bytes become text by one ladder, because a wrong guess that nobody sees is worse than a refused file."""

import codecs
import re

from rag_qdrant.errors import DocumentError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 before UTF-16: the mark of one begins with the mark of the other.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 8192
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")


def decode(data: bytes, encoding: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text and what to warn of: byte-order mark, strict UTF-8, the `encoding` told, Windows-1252 with a warning.

    A statistical guess was measured to be wrong on Western text (French cp1252 taken for cp1257); this ladder never
    puts a U+FFFD in place of a byte.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _as_marked(data, len(mark), name)
    if b"\0" in data[:_LOOKED_AT] and not _is_wide(encoding):
        raise DocumentError("binary, not text")
    # Told that it is UTF-16 or UTF-32: Latin text in it would pass as UTF-8 full of NULs.
    for tried in (encoding,) if _is_wide(encoding) else ("utf-8", encoding):
        text = None if tried is None else attempt(data, tried)
        if text is not None:
            return well_formed(text)
    text = attempt(data, "cp1252")
    if text is None or _is_wide(encoding):
        raise DocumentError(f"not {_tried(encoding)}; pass --encoding with the right one")
    return text, (f"not {_tried(encoding)}: read as Windows-1252; if that is wrong, pass --encoding",)


def attempt(data: bytes, encoding: str) -> str | None:
    """The text, if every byte of it is valid in the encoding; an encoding that does not exist is a DocumentError."""
    try:
        return str(data, encoding)
    except LookupError:
        raise DocumentError(f"no text encoding {encoding!r}; write for example cp1252 or shift_jis") from None
    except UnicodeError:
        return None


def marked(data: bytes) -> bool:
    """Whether a byte-order mark says how the text is encoded."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file could be read as text: marked, or free of control characters."""
    return marked(head) or not _CONTROL.search(head)


def well_formed(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with a U+FFFD for each lone surrogate, so that offsets stay, and a warning if there was one."""
    if text.isascii():
        return text, ()
    text, replaced = _SURROGATE.subn("\ufffd", text)
    return text, (f"{replaced} lone surrogates replaced",) if replaced else ()


def _as_marked(data: bytes, skip: int, name: str) -> tuple[str, tuple[str, ...]]:
    try:
        return str(memoryview(data)[skip:], name), ()
    except UnicodeDecodeError:
        raise DocumentError(f"not {name.upper()}, though its byte-order mark says so") from None


def _is_wide(encoding: str | None) -> bool:
    return encoding is not None and re.match(r"utf[-_ ]?(16|32)", encoding.strip().lower()) is not None


def _tried(encoding: str | None) -> str:
    if encoding is None:
        return "UTF-8"
    return encoding if _is_wide(encoding) else f"UTF-8 or {encoding}"
