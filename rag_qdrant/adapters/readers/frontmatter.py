"""The YAML before a Markdown document: what it says of the document, taken without trusting it."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from rag_qdrant.adapters.readers.decoding import well_formed

_LONGEST = 65_536
_OPENING = re.compile(r"---[ \t]*(?:\r\n?|\n)")
_CLOSING = re.compile(r"(?<=[\r\n])---[ \t]*(?=[\r\n]|\Z)")
# PyYAML's constructors let these through: `!!bool x` a KeyError, `!!int ""` an IndexError, `!!timestamp x` an
# AttributeError, 2023-13-45 a ValueError, nested brackets a RecursionError.
_FAILURES = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class FrontMatter:
    """What a document says of itself before it begins; `end` is where the document begins."""

    end: int = 0
    title: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def front_matter(text: str) -> FrontMatter:
    """What stands between `---` lines at the very start, if that is a YAML mapping or YAML that is broken.

    A list or a plain sentence between two rules is the document's own text.
    """
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text, opening.end(), opening.end() + _LONGEST) if opening else None
    if opening is None or closing is None:
        return FrontMatter()
    try:
        data = yaml.safe_load(text[opening.end() : closing.start()])
    except _FAILURES as error:
        reason = " ".join(str(getattr(error, "problem", None) or type(error).__name__).split())[:100]
        return FrontMatter(end=closing.end(), warnings=(f"front matter ignored, as its YAML is broken: {reason}",))
    if data is None:
        return FrontMatter(end=closing.end())
    if not isinstance(data, dict):
        return FrontMatter()
    return _understood(data, closing.end())


def _understood(data: Mapping[object, object], end: int) -> FrontMatter:
    warnings: list[str] = []
    title = _scalar(data.get("title"))
    return FrontMatter(
        end=end,
        title=" ".join(title.split()) or None if title is not None else None,
        tags=_tags(data.get("tags"), warnings),
        allow=_allow(data.get("allow"), warnings),
        warnings=tuple(warnings),
    )


def _tags(data: object, warnings: list[str]) -> dict[str, str]:
    if data is None:
        return {}
    if isinstance(data, list):
        data = dict.fromkeys((name for name in map(_scalar, data) if name is not None), "true")
    if not isinstance(data, dict):
        warnings.append("tags in the front matter ignored: write a list or a mapping")
        return {}
    tags: dict[str, str] = {}
    for key, value in data.items():
        name, text = _tag_name(_scalar(key) or ""), _scalar(value)
        if not name or text is None:
            warnings.append(f"a tag in the front matter ignored: {name[:64] or 'it has no name'}")
        else:
            tags[name] = text
    return tags


def _tag_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")[:64]


def _allow(data: object, warnings: list[str]) -> tuple[str, ...]:
    if data is None:
        return ()
    if isinstance(data, list) and all(isinstance(each, str) for each in data):
        return tuple(well_formed(each)[0] for each in data)
    warnings.append("allow in the front matter ignored: write a list of readers, such as [user:ana, group:hr]")
    return ()


def _scalar(value: object) -> str | None:
    """A single value as text; None for nested ones, whose aliases could write out to gigabytes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | datetime.date):
        return well_formed(str(value))[0]
    return None
