"""Results to stdout, everything else to stderr; nothing that a document says can move the cursor."""

import csv
import io
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

# C0 but newline and tab, DEL, C1, and the characters that change the direction of text or hide it.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udfff]"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(text: object) -> str:
    """Text from a document as it may be shown on a terminal."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n"))


def line(text: object) -> str:
    """The same on one line."""
    return " ".join(safe(text).split())


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON for programs; characters that a terminal would act on are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _CONTROL.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV that a spreadsheet does not take for formulas."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return buffer.getvalue().rstrip("\n")


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = safe(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat().replace("+00:00", "Z")


class Output:
    """Where a command's words go, by what was asked: `--json`, `--quiet`, `--verbose`."""

    def __init__(
        self, *, json: bool = False, quiet: bool = False, verbose: bool = False, progress: bool = True
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.progress = progress and not quiet and sys.stderr.isatty()

    def result(self, text: str) -> None:
        """What was asked for; a document's names and texts stand in it."""
        _write(sys.stdout, safe(text))

    def data(self, value: Mapping[str, Any]) -> None:
        """What was asked for, as one JSON object."""
        self.result(as_json(value))

    def note(self, text: str) -> None:
        """What a person may want to know besides."""
        if not self.quiet:
            _write(sys.stderr, safe(text))

    def detail(self, text: str) -> None:
        """What only `--verbose` tells."""
        if self.verbose:
            _write(sys.stderr, safe(text))

    def asks(self, question: str) -> bool:
        """A yes or no on a terminal; no elsewhere."""
        if not sys.stdin.isatty():
            return False
        sys.stderr.write(f"{safe(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def number(count: int, noun: str) -> str:
    """A count with its noun.

    >>> number(1, "passage"), number(2, "passage")
    ('1 passage', '2 passages')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(rows: Sequence[Sequence[object]]) -> str:
    """Columns side by side, as wide as they need to be."""
    cells = [[_shortened(line(cell)) for cell in row] for row in rows]
    widths = [max(_columns(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return "\n".join(
        "  ".join(cell + " " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _shortened(text: str) -> str:
    """A cell without its middle, where a terminal would break the table for it; whole where a program reads."""
    most = max(shutil.get_terminal_size().columns // 2, 20)
    if not sys.stdout.isatty() or len(text) <= most:
        return text
    return f"{text[: most // 3]}…{text[-(most - most // 3 - 1) :]}"


def _columns(text: str) -> int:
    """How many columns a terminal gives a text: East Asian characters take two, marks none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)
