"""HTML: what a person reads on the page, in blocks."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_qdrant.adapters.readers import html
from rag_qdrant.domain.documents import Extracted
from rag_qdrant.errors import DocumentError
from rag_qdrant.ports import ReadOptions

PAGE = """<!doctype html><html><head><title> Travel
 policy </title><style>p {color: red}</style></head><body>
<header>Site</header><nav>Menu</nav>
<main><article><header><h1>Travel <em>rules</em></h1></header>
<p>Trains&nbsp;first,   then <b>bus</b>es.<br>Planes last.</p>
loose <i>text</i>
<ul><li>one <a href=x>link</a><li><p>two</p><ul><li>deep<li></ul><li>three</ul>
<h2>Prices</h2>
<table><caption>In €</caption><thead><tr> <th></th> <th>Bonn</th></tr></thead>
<tr><td>Ulm</td><td><p>40</p><p>50</p></td></tr><tr><td></td><td></td></tr></table>
<pre>
def f():
    return 1

f()
</pre>
<script>evil()</script><noscript>no</noscript><template><p>t</p></template><svg><text>s</text></svg>
<form><button>Send</button><select><option>o</select><textarea>x</textarea></form>
</article></main><footer>Imprint</footer></body></html>"""
BLOCKS = [
    ("heading", 1, "Travel rules"),
    ("text", 0, "Trains first, then buses.\nPlanes last."),
    ("text", 0, "loose text"),
    ("list", 0, "- one link\n- two\n  - deep\n- three"),
    ("heading", 2, "Prices"),
    ("table", 0, "In €\n| Bonn\nUlm | 40 50"),
    ("code", 0, "def f():\n    return 1\n\nf()"),
]


def read(source: str | bytes, encoding: str | None = None) -> Extracted:
    data = source.encode() if isinstance(source, str) else source
    return html.READER.read(io.BytesIO(data), ReadOptions(name="a.html", encoding=encoding))


def cut(extracted: Extracted) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, extracted.text[block.start : block.end]) for block in extracted.blocks]


def test_a_page_becomes_headings_paragraphs_lists_tables_and_code() -> None:
    extracted = read(PAGE)
    assert cut(extracted) == BLOCKS
    assert extracted.text == "\n\n".join(text for _, _, text in BLOCKS)
    assert extracted.title == "Travel policy"
    assert extracted.type == "html"


def test_the_first_h1_is_the_title_where_there_is_none() -> None:
    assert read("<svg><title>icon</title></svg><h1>The  rules</h1>").title == "The rules"
    assert read("<title> </title><p>x").title is None


def test_a_table_that_lays_out_a_page_is_read_cell_by_cell() -> None:
    source = "<table><tr><td><h2>A</h2>one<td><table><tr><td>1<td>2</table></table>"
    assert cut(read(source)) == [("heading", 2, "A"), ("text", 0, "one"), ("table", 0, "1 | 2")]


def test_two_breaks_in_a_row_part_paragraphs() -> None:
    assert read("a<br>b<br><br>c<pre>d<br>e</pre><ul><li>f<br>g</ul>").text == "a\nb\n\nc\n\nd\ne\n\n- f\n  g"


@pytest.mark.parametrize(
    ("head", "encoding", "text"),
    [
        ('<meta charset="iso-8859-1">', "cp1252", "5 € – été"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">', "cp1251", "привет"),
        ("<meta charset=shift_jis>", "cp932", "日本語①"),
        ("<meta charset=utf-8>", "utf-8", "日本語"),
        ("", "utf-8", "été 🦀"),
        ("<meta charset=utf-16>", "utf-8-sig", "été"),
        ("<meta charset=shift_jis>", "utf-16", "été"),
    ],
)
def test_the_page_says_its_encoding_after_the_byte_order_mark(head: str, encoding: str, text: str) -> None:
    extracted = read(f"{head}<p>{text}</p>".encode(encoding))
    assert (extracted.text, extracted.warnings) == (text, ())


@pytest.mark.parametrize("said", ["utf-8", "x-klingon"])
def test_a_page_that_says_a_wrong_encoding_is_read_by_the_ladder_with_warnings(said: str) -> None:
    extracted = read(f"<meta charset={said}><p>été".encode("cp1252"))
    assert extracted.text == "été"
    assert [said in extracted.warnings[0], "Windows-1252" in extracted.warnings[1]] == [True, True]


@pytest.mark.parametrize(
    "source", ["", "<title>Only a title</title>", "<script>x</script>", "<nav>m</nav>", "<frameset>"]
)
def test_a_page_without_text_is_refused(source: str) -> None:
    with pytest.raises(DocumentError, match="no text"):
        read(source)


@pytest.mark.parametrize(
    "deep",
    [
        "<div>" * 2100,
        "<b></i>" * 2100,
        "<!--><div>" * 2100,
        "<ScRipt></sCRIPT><font>" * 2100,
        "<ul><li>" * 2100,
    ],
)
def test_a_page_that_would_take_quadratic_time_is_refused_before_it_is_parsed(deep: str) -> None:
    with pytest.raises(DocumentError, match="nested more than 2,000 deep"):
        read(deep + "x")


def test_a_flat_page_and_a_moderately_deep_one_are_read() -> None:
    assert read("<p>x<br>" * 5000).text.count("x") == 5000
    assert read("<div>" * 1900 + "x").text == "x"
    assert read("<p>x<!-- " + "<div>" * 5000).text == "x"
    assert read("<p>x<script>" + "<div>" * 5000 + "</script>").text == "x"


def test_a_page_over_20_mb_is_refused() -> None:
    with pytest.raises(DocumentError, match="larger than 20 MB"):
        read(b"<p>" + b"x" * 20_000_000)


TAGS = ("p", "div", "h2", "ul", "li", "table", "tr", "td", "pre", "br", "b", "header", "nav", "caption", "dl", "xmp")
MARKUP = st.lists(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS] + ["x", " ", "\n", "é🦀"])
)


@settings(deadline=None)
@given(MARKUP.map("".join))
def test_blocks_follow_each_other_with_a_blank_line_between(source: str) -> None:
    try:
        extracted = read(source)
    except DocumentError:
        return
    assert extracted.text == "\n\n".join(text for _, _, text in cut(extracted))
    assert all(text.strip() for _, _, text in cut(extracted))
