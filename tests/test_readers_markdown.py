"""Markdown: blocks at exact offsets of the file's own text, front matter apart."""

import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_qdrant.adapters.readers import markdown
from rag_qdrant.adapters.readers.frontmatter import front_matter
from rag_qdrant.domain.documents import Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import ReadOptions

SOURCE = """\
---
title: Handbook  of *travel*
tags: [hr, 2024, "two words"]
allow: [user:ana, "group:hr"]
---
[home]: https://example.com

# Travel *policy* [home]

Trains 🚆 first,
then 日本語.

Setext
------

| from | to |
|------|----|
| Bonn | Ulm |

- one
  - two

1. three

```python
# no heading

x = 1
```

    indented code

> quoted
***
<b>html</b>
"""
BLOCKS = [
    ("text", 0, "[home]: https://example.com"),
    ("heading", 1, "# Travel *policy* [home]"),
    ("text", 0, "Trains 🚆 first,\nthen 日本語."),
    ("heading", 2, "Setext\n------"),
    ("table", 0, "| from | to |\n|------|----|\n| Bonn | Ulm |"),
    ("list", 0, "- one\n  - two"),
    ("list", 0, "1. three"),
    ("code", 0, "```python\n# no heading\n\nx = 1\n```"),
    ("code", 0, "    indented code"),
    ("text", 0, "> quoted"),
    ("text", 0, "***"),
    ("text", 0, "<b>html</b>"),
]


def read(source: str) -> Extracted:
    return markdown.READER.read(io.BytesIO(source.encode()), ReadOptions(name="a.md"))


def cut(extracted: Extracted) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, extracted.text[block.start : block.end]) for block in extracted.blocks]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blocks_lie_at_exact_offsets_whatever_ends_a_line(end: str) -> None:
    source = SOURCE.replace("\n", end)
    extracted = read(source)
    assert extracted.text == source
    assert cut(extracted) == [(kind, level, text.replace("\n", end)) for kind, level, text in BLOCKS]


def test_front_matter_gives_title_tags_and_readers_and_is_in_no_block() -> None:
    extracted = read(SOURCE)
    assert extracted.title == "Handbook of *travel*"
    assert extracted.tags == {"hr": "true", "2024": "true", "two-words": "true"}
    assert extracted.allow == ("user:ana", "group:hr")
    assert extracted.warnings == ()


def test_the_title_is_the_first_heading_of_level_1_without_its_markup() -> None:
    assert read("## Second\n\n# A *b* [`c`](u) ![*alt*](i) &amp; d\n\n# Other").title == "A b c alt & d"
    assert read("Ana\nBo\n===\n").title == "Ana Bo"
    assert read("> # Quoted\n\ntext").title is None


def test_tags_may_be_a_mapping_whose_values_are_texts() -> None:
    extracted = read("---\ntags: {team: hr, year: 2024, draft: yes, due: 2024-05-01, 'a/b c': x}\n---\ntext")
    assert extracted.tags == {"team": "hr", "year": "2024", "draft": "true", "due": "2024-05-01", "a-b-c": "x"}


@pytest.mark.parametrize(
    "broken",
    [
        "title: [",
        "a: b: c",
        "date: 2023-13-45",
        "a: !!bool x",
        "a: !!timestamp x",
        'a: !!int ""',
        "a: !!python/object:os.system x",
        "[" * 2000,
        "a: \x01",
    ],
)
def test_broken_yaml_is_a_warning_and_still_in_no_block(broken: str) -> None:
    extracted = read(f"---\n{broken}\n---\ntext")
    assert cut(extracted) == [("text", 0, "text")]
    assert "front matter ignored" in extracted.warnings[0]
    assert (extracted.title, extracted.tags, extracted.allow) == (None, {}, ())


@pytest.mark.parametrize(
    ("matter", "warning"),
    [
        ("tags: word", "tags in the front matter"),
        ("tags: {a: [1, 2]}", "a tag in the front matter ignored: a"),
        ("tags: {'!': x}", "it has no name"),
        ("allow: user:ana", "allow in the front matter"),
        ("allow: [user:ana, 5]", "allow in the front matter"),
    ],
)
def test_front_matter_of_another_shape_is_a_warning(matter: str, warning: str) -> None:
    extracted = read(f"---\n{matter}\n---\ntext")
    assert warning in extracted.warnings[0]
    assert (extracted.tags, extracted.allow) == ({}, ())


def test_surrogates_that_yaml_spells_out_are_replaced() -> None:
    assert read('---\ntitle: "a\\ud800b"\nallow: ["user:\\udfff"]\n---\ntext').title == "a�b"


def test_what_stands_between_two_rules_is_text_if_it_is_no_mapping() -> None:
    assert cut(read("---\njust a sentence\n---\n"))[0] == ("text", 0, "---")
    assert cut(read("---\n- a\n---\n"))[1][0] == "list"
    assert cut(read("---\nnever: closed\n"))[0] == ("text", 0, "---")
    assert cut(read("---\na: " + "x" * 70_000 + "\n---\n"))[0] == ("text", 0, "---")
    assert cut(read("---\n---\nempty")) == [("text", 0, "empty")]


@pytest.mark.parametrize("source", ["", "\n \n", "---\ntitle: A title\n---\n\n"])
def test_a_document_without_a_body_has_no_text(source: str) -> None:
    with pytest.raises(DocumentError, match="no text"):
        read(source)


@pytest.mark.parametrize("deep", ["> " * 5000 + "x", "- " * 5000 + "x", "[" * 20_000, "# " + "[" * 5000 + "]" * 5000])
def test_deep_nesting_is_read(deep: str) -> None:
    assert "".join(text for _, _, text in cut(read(deep))) == deep


def test_a_recursion_that_goes_too_deep_falls_back_to_paragraphs() -> None:
    # CommonMark's preset stops at 20 levels: with hardly any stack left, it is as if it didn't.
    frame, used = sys._getframe(), 0
    while frame.f_back is not None:
        frame, used = frame.f_back, used + 1
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 40)
    try:
        extracted = read("# Title\n\n" + "> - " * 20 + "x\n\ny")
    finally:
        sys.setrecursionlimit(limit)
    assert [text for _, _, text in cut(extracted)] == ["# Title", "> - " * 20 + "x", "y"]
    assert "nested too deeply" in extracted.warnings[0]


def test_nuls_far_inside_do_not_shift_the_offsets() -> None:
    source = "a" * 9000 + "\0\r\n\r\n# b\0c\r\n"
    assert cut(read(source))[1] == ("heading", 1, "# b\0c")


FRAGMENTS = st.sampled_from(
    [
        "# a",
        "---",
        "===",
        "- b",
        "  - c",
        "1. d",
        "> e",
        "```",
        "~~~ x",
        "    f",
        "\tg",
        "| a | b |",
        "|-|-|",
        "[x]: /y",
        "[x]:",
        '"t"',
        "<!--",
        "-->",
        "<div>",
        "</div>",
        "a: b",
        "tags: [c]",
        "",
        "",
        " ",
        "\x0c",
        "\u2028",
        "\x85",
        "é🦀",
        "\\",
    ]
)
LINES = st.lists(st.tuples(FRAGMENTS, st.sampled_from(["\n", "\r\n", "\r", "", " "])), max_size=25)


@settings(deadline=None)
@given(
    LINES.map(lambda pairs: "".join(map("".join, pairs)))
    | st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]))
)
def test_blocks_are_ordered_disjoint_and_cover_all_but_the_front_matter(source: str) -> None:
    front = front_matter(source).end
    if not source[front:].strip():
        return
    extracted = read(source)
    position = front
    for block in extracted.blocks:
        assert position <= block.start < block.end <= len(source)
        assert not source[position : block.start].strip()
        position = block.end
    assert not source[position:].strip()
