"""Text to passages: by structure first, within a token limit, each an exact slice of the text with its place."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag_qdrant.domain.documents import Block, Extracted

VERSION = "1"
"""Part of every revision: another way of cutting re-chunks what is stored."""
MAX_TOKENS = 512
"""No passage is larger, whatever the model takes: smaller ones are found more often at the same token budget."""
CHARS_PER_TOKEN = 8
"""A passage has at most so many characters for each token it may have: a run of one letter is one unknown token."""
HEADER_SHARE = 4
"""A header takes at most a quarter of the limit."""
SMALL = 3
"""A section below a third of the limit is merged with the next one."""

CountTokens = Callable[[Sequence[str]], list[int]]

# Not after the number of a list or heading, nor an initial: "4. Lisbon office" and "By Richard A. Galanti" are one.
SENTENCE_END = re.compile(
    r"(?<=[.!?…])(?<!\W\d\.)(?<!\W\d\d\.)(?<!\W[A-Z]\.)[\"'”’)\]]*\s+|(?<=[。！？．])|\n[ \t\r]*\n"
)
_LINE_END = re.compile(r"\n")
_JOINERS = frozenset({"\u200d", "\ufe0e", "\ufe0f"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """One chunk to be: a slice of the text, where it stands, and the header that goes before it."""

    start: int
    end: int
    section: tuple[str, ...]
    header: str
    pages: tuple[int, int] | None
    lines: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Atom:
    start: int
    end: int
    tokens: int
    section: tuple[str, ...]
    heading: bool


def passages(extracted: Extracted, title: str, *, max_tokens: int, count_tokens: CountTokens) -> list[Passage]:
    """Cut a text into passages of at most `max_tokens`, header and the model's own tokens included.

    `count_tokens` counts whole texts as the embedder will see them.
    """
    (own,) = count_tokens([""])
    limit = min(max_tokens, MAX_TOKENS)
    cutter = _Cutter(extracted.text, count_tokens, own)
    sections = _sections(extracted)
    headers = _headers({section for _, section in sections}, title, limit // HEADER_SHARE, cutter)
    room = limit - own - max((tokens for _, tokens in headers.values()), default=0) - 1
    atoms = cutter.atoms(sections, room)
    place = _Places(extracted)
    found: list[Passage] = []
    for start, end, section in _fitting(_packed(atoms, room), headers, cutter, limit):
        pages, lines = place.of(start, end)
        header = headers[section][0]
        found.append(Passage(start=start, end=end, section=section, header=header, pages=pages, lines=lines))
    return found


def _sections(extracted: Extracted) -> list[tuple[Block, tuple[str, ...]]]:
    """Each block with the headings above it; a heading's own path ends with itself."""
    found: list[tuple[Block, tuple[str, ...]]] = []
    path: list[tuple[int, str]] = []
    for block in extracted.blocks:
        if block.kind == "heading":
            text = _heading_text(extracted.text[block.start : block.end])
            path = [*(each for each in path if each[0] < block.level), (block.level, text)]
        found.append((block, tuple(text for _, text in path)))
    return found


def _heading_text(raw: str) -> str:
    first = next((line for line in raw.splitlines() if line.strip()), "")
    return " ".join(first.strip().strip("#").split())[:200]


def _headers(
    sections: set[tuple[str, ...]], title: str, most: int, cutter: "_Cutter"
) -> dict[tuple[str, ...], tuple[str, int]]:
    """The header of each section path with its tokens: title and headings, cut from the left to `most` tokens."""
    paths = sorted({path[:length] for path in sections for length in range(len(path) + 1)} | {()})
    found: dict[tuple[str, ...], tuple[str, int]] = {}
    texts = [" › ".join([title, *(part for part in path if part != title)]) for path in paths]
    for path, text, size in zip(paths, texts, cutter.tokens(texts), strict=True):
        words, tokens = text.split(), size
        while tokens > most and len(words) > 1:
            words = words[len(words) // 4 + 1 :]
            (tokens,) = cutter.tokens([" ".join(words)])
        found[path] = (" ".join(words), tokens) if tokens <= most else ("", 0)
    return found


class _Cutter:
    """Slices of one text with their sizes in tokens."""

    def __init__(self, text: str, count_tokens: CountTokens, own: int) -> None:
        self.text = text
        self._count = count_tokens
        self._own = own

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, without those that the model adds to every one."""
        return [max(count - self._own, 0) for count in self._count(texts)] if texts else []

    def whole(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, with those."""
        return self._count(texts) if texts else []

    def atoms(self, sections: Sequence[tuple[Block, tuple[str, ...]]], room: int) -> list[_Atom]:
        """The blocks in order, those that are too large cut where they read best."""
        spans = [(*self.trimmed(block.start, block.end), block, section) for block, section in sections]
        spans = [each for each in spans if each[0] < each[1]]
        # What is longer than the character cap is cut in any case: its tokens need not be counted.
        cap = room * CHARS_PER_TOKEN
        short = [(start, end) for start, end, _, _ in spans if end - start <= cap]
        sizes = dict(zip(short, self.tokens([self.text[start:end] for start, end in short]), strict=True))
        found: list[_Atom] = []
        for start, end, block, section in spans:
            size = sizes.get((start, end), room + 1)
            heading = block.kind == "heading"
            if size <= room:
                found.append(_Atom(start, end, size, section, heading))
            else:
                by_line = block.kind in ("code", "table", "page", "list")
                pieces = self.cut(start, end, room, [_LINE_END] if by_line else [SENTENCE_END, _LINE_END])
                found.extend(_Atom(a, b, tokens, section, False) for a, b, tokens in pieces)
        return found

    def cut(self, start: int, end: int, room: int, ends: Sequence[re.Pattern[str]]) -> Iterator[tuple[int, int, int]]:
        """Pieces of a slice with their tokens, within `room`: at the ends given, else at spaces, else anywhere."""
        pieces = [self.trimmed(*span) for span in self.split(start, end, room, ends)]
        pieces = [span for span in pieces if span[0] < span[1]]
        sizes = self.tokens([self.text[a:b] for a, b in pieces])
        for (a, b), size in zip(pieces, sizes, strict=True):
            if size <= room and b - a <= room * CHARS_PER_TOKEN:
                yield a, b, size
            elif ends:
                yield from self.cut(a, b, room, ends[1:])
            else:
                yield from self.cut_anywhere(a, b, room, (b - a + 1) // 2)

    def split(self, start: int, end: int, room: int, ends: Sequence[re.Pattern[str]]) -> list[tuple[int, int]]:
        """The slice at the first of the ends, or in windows of `room` characters where none is left."""
        if not ends:
            return list(self.windows(start, end, room))
        cuts = [start, *(match.end() for match in ends[0].finditer(self.text, start, end)), end]
        return list(pairwise(cuts))

    def cut_anywhere(self, start: int, end: int, room: int, width: int) -> Iterator[tuple[int, int, int]]:
        """Pieces of a slice without a better place: windows, halved until they fit."""
        spans = [self.trimmed(*span) for span in self.windows(start, end, max(width, 1))]
        sizes = self.tokens([self.text[a:b] for a, b in spans])
        for (a, b), size in zip(spans, sizes, strict=True):
            if a == b:
                continue
            if (size <= room and b - a <= room * CHARS_PER_TOKEN) or b - a == 1:
                yield a, b, size
            else:
                yield from self.cut_anywhere(a, b, room, min(width, b - a) // 2)

    def windows(self, start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
        """Windows of at most about `width` characters, ending at a space in their last third where there is one."""
        while end - start > width:
            stop = start + width
            space = max(
                self.text.rfind(" ", start + 2 * width // 3, stop), self.text.rfind("\n", start + 2 * width // 3, stop)
            )
            stop = space + 1 if space >= 0 else self._between_characters(start, stop)
            yield start, stop
            start = stop
        yield start, end

    def _between_characters(self, start: int, stop: int) -> int:
        """A place near `stop` that does not part a letter from its marks, nor a joined emoji."""
        at = stop
        while at > start + 1 and stop - at < 16 and self._joined(at):
            at -= 1
        return at if not self._joined(at) else stop

    def _joined(self, at: int) -> bool:
        before, after = self.text[at - 1], self.text[at : at + 1]
        return bool(after) and (
            before == "\u200d"
            or after in _JOINERS
            or unicodedata.combining(after) != 0
            or "\U0001f3fb" <= after <= "\U0001f3ff"
        )

    def trimmed(self, start: int, end: int) -> tuple[int, int]:
        """The slice without white space at its ends."""
        piece = self.text[start:end]
        stripped = piece.lstrip()
        start += len(piece) - len(stripped)
        return start, start + len(stripped.rstrip())


def _packed(atoms: Sequence[_Atom], room: int) -> Iterator[list[_Atom]]:
    """Neighbours together up to `room`; a new section starts a passage unless the one before is small."""
    pack: list[_Atom] = []
    size = 0
    for atom in atoms:
        full = size + atom.tokens > room or (pack and atom.end - pack[0].start > room * CHARS_PER_TOKEN)
        turns = bool(pack) and atom.heading and size * SMALL >= room
        if pack and (full or turns):
            kept = _trailing_headings(pack) if full else []
            if len(kept) < len(pack):
                pack = pack[: len(pack) - len(kept)]
            else:
                kept = []
            yield pack
            pack, size = kept, sum(each.tokens for each in kept)
            if size + atom.tokens > room and pack:
                yield pack
                pack, size = [], 0
        pack.append(atom)
        size += atom.tokens
    if pack:
        yield pack


def _trailing_headings(pack: Sequence[_Atom]) -> list[_Atom]:
    """The headings at the end of a pack: they belong to what follows."""
    place = len(pack)
    while place > 0 and pack[place - 1].heading:
        place -= 1
    return list(pack[place:])


def _fitting(
    packs: Iterator[list[_Atom]], headers: dict[tuple[str, ...], tuple[str, int]], cutter: _Cutter, limit: int
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The packs as slices, counted once more as they will be embedded; one that is over is parted."""
    waiting = list(packs)
    while waiting:
        spans = [(pack[0].start, pack[-1].end, _common(pack)) for pack in waiting]
        texts = [f"{headers[section][0]}\n{cutter.text[start:end]}" for start, end, section in spans]
        sizes = cutter.whole(texts)
        if all(size <= limit or end - start == 1 for size, (start, end, _) in zip(sizes, spans, strict=True)):
            yield from spans
            return
        waiting = [
            part
            for size, pack in zip(sizes, waiting, strict=True)
            for part in ([pack] if size <= limit else _halves(pack, cutter))
        ]


def _halves(pack: list[_Atom], cutter: _Cutter) -> list[list[_Atom]]:
    """A pack in two; a single atom, whose tokens grew beside its header, in two slices."""
    if len(pack) > 1:
        return [pack[: len(pack) // 2], pack[len(pack) // 2 :]]
    (atom,) = pack
    spans = [cutter.trimmed(*span) for span in cutter.windows(atom.start, atom.end, (atom.end - atom.start + 1) // 2)]
    return [[replace(atom, start=start, end=end)] for start, end in spans if start < end]


def _common(pack: Sequence[_Atom]) -> tuple[str, ...]:
    """The section that a pack stands in: the path that all its parts share, or the first one's."""
    paths = [atom.section for atom in pack]
    shared = 0
    while all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    return paths[0][:shared] if shared else paths[0]


class _Places:
    """Offsets to pages and lines."""

    def __init__(self, extracted: Extracted) -> None:
        self._pages = extracted.pages
        self._lines = [0] if not extracted.pages else []
        if not extracted.pages:
            self._lines.extend(match.end() for match in re.finditer(r"\r\n|\n|\r", extracted.text))

    def of(self, start: int, end: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """First and last page where the format has pages, else first and last line, from 1."""
        starts = self._pages or self._lines
        within = (max(bisect_right(starts, start), 1), max(bisect_right(starts, end - 1), 1))
        return (within, None) if self._pages else (None, within)
