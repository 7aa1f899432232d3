"""`search`, `ask`, `show` and `embed`: what a person looks for, and what the models say of it."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import as_csv, as_json, line, moment, safe
from rag_qdrant.errors import NothingFound, UsageError

if TYPE_CHECKING:
    from rag_qdrant.domain.filters import Filter
    from rag_qdrant.domain.retrieval import Hit, Query
    from rag_qdrant.usecases.ask import Answer

Many = list[str]
Limit = Annotated[int, typer.Option("--limit", "-n", help="How many hits.")]
Mode = Annotated[str, typer.Option(help="hybrid, dense or keyword.")]
Source = Annotated[Many, typer.Option(help="Only this source; repeat for several.")]
Tag = Annotated[Many, typer.Option(help="Only documents with this tag, name=value.")]
Type = Annotated[Many, typer.Option("--type", help="Only this type: text, markdown, html, pdf.")]
Since = Annotated[str | None, typer.Option(help="Only documents modified on or after this date.")]
Until = Annotated[str | None, typer.Option(help="Only documents modified on or before this date.")]
Where = Annotated[str | None, typer.Option(help="A filter: type = pdf and (source = hr or tag.team = sales).")]
MAX_HITS = 10_000
_COLUMNS = ("query", "rank", "score", "document", "pages", "lines", "section", "title", "text")


def search(  # noqa: PLR0913 - one parameter an option
    context: Context,
    query: Annotated[str | None, typer.Argument(help="What you look for.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="A file of queries, one a line; one JSON object a line back.")
    ] = None,
    limit: Limit = 10,
    mode: Mode = "hybrid",
    source: Source = [],  # noqa: B006
    tag: Tag = [],  # noqa: B006
    type_: Type = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    where: Where = None,
    explain: Annotated[bool, typer.Option("--explain", help="Each leg's rank and score.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> None:
    """Find passages, best first."""
    condition = _condition(source=source, tag=tag, type_=type_, since=since, until=until, where=where)
    if (query is None) == (queries is None):
        raise UsageError("write a query, or --queries FILE with one a line")
    texts = [query] if query is not None else _lines(queries)
    wanted = [_query(text, mode, limit, condition) for text in texts if text is not None]
    found, seconds = _run(context, wanted)
    if queries is not None:
        for each, hits in zip(wanted, found, strict=True):
            context.output.result(as_json(_search_json(each, hits, seconds), indent=None))
    else:
        _print_hits(context, wanted[0], found[0], seconds, explain=explain, csv=csv)
    if not any(found):
        raise NothingFound("nothing found")


def _condition(**given: Any) -> "Filter | None":
    from rag_qdrant.domain.filters import And, In, Range, both  # noqa: PLC0415
    from rag_qdrant.domain.where import day, parse, tag_filter  # noqa: PLC0415

    parts: list[Filter | None] = [
        In("source", tuple(given["source"])) if given["source"] else None,
        In("type", tuple(given["type_"])) if given["type_"] else None,
        *(tag_filter(each) for each in given["tag"]),
        Range(field="modified", gte=day(given["since"])) if given["since"] else None,
        Range(field="modified", lt=day(given["until"], end=True)) if given["until"] else None,
        parse(given["where"]) if given["where"] is not None else None,
    ]
    joined = both(*parts)
    return None if joined == And(()) else joined


def _lines(path: Path | None) -> list[str]:
    if path is None or not path.is_file():
        raise UsageError(f"no file {str(path)!r} for --queries")
    try:
        lines = [each.strip() for each in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8") from error
    return [each for each in lines if each]


def _query(text: str, mode: str, limit: int, where: "Filter | None") -> "Query":
    from rag_qdrant.domain.retrieval import MODES, Query  # noqa: PLC0415

    chosen = next((each for each in MODES if each == mode), None)
    if chosen is None:
        raise UsageError(f"--mode {mode}; write {', '.join(MODES)}")
    if not 1 <= limit <= MAX_HITS:
        raise UsageError(f"--limit {limit}; write 1 or more, at most {MAX_HITS}")
    return Query(text=text, mode=chosen, limit=limit, where=where)


def _run(context: Context, wanted: "list[Query]") -> "tuple[list[list[Hit]], dict[str, float | None]]":
    from dataclasses import replace  # noqa: PLC0415

    from rag_qdrant.usecases.search import reranked, search_many  # noqa: PLC0415

    app = context.app
    with app.open_index() as index:
        view = app.view(index)
        seconds: dict[str, float | None] = {"embed": None, "search": None, "rerank": None}
        if wanted and "dense" in wanted[0].legs:
            embedder = app.embedder_for(index)
            _refuse_empty(wanted)
            began = time.perf_counter()
            vectors = embedder.embed([each.text for each in wanted], role="query")
            wanted = [replace(each, vector=vector) for each, vector in zip(wanted, vectors, strict=True)]
            seconds["embed"] = round(time.perf_counter() - began, 4)
        began = time.perf_counter()
        found = list(search_many(view, wanted, embedder=None))
        seconds["search"] = round(time.perf_counter() - began, 4)
    if app.reranker is not None:
        began = time.perf_counter()
        found = [reranked(each, hits, app.reranker) for each, hits in zip(wanted, found, strict=True)]
        seconds["rerank"] = round(time.perf_counter() - began, 4)
    return found, seconds


def _refuse_empty(wanted: "list[Query]") -> None:
    if any(not each.text.strip() for each in wanted):
        raise UsageError("the query is empty; write what you look for")


def hit_json(rank: int, hit: "Hit", *, explain: bool = False) -> dict[str, Any]:
    """A hit as CLI.md has it."""
    chunk = hit.chunk
    found: dict[str, Any] = {
        "rank": rank,
        "score": round(hit.score, 6),
        "id": chunk.id,
        "document": chunk.document,
        "source": chunk.source,
        "type": chunk.type,
        "title": chunk.title,
        "section": list(chunk.section),
        "pages": list(chunk.pages) if chunk.pages else None,
        "lines": list(chunk.lines) if chunk.lines else None,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "tags": dict(chunk.tags),
        "modified": moment(chunk.modified),
    }
    if explain:
        found["legs"] = {name: {"rank": leg.rank, "score": round(leg.score, 6)} for name, leg in hit.legs.items()}
    return found


def _search_json(
    query: "Query", hits: "list[Hit]", seconds: dict[str, float | None], *, explain: bool = False
) -> dict[str, Any]:
    rows = [hit_json(rank, hit, explain=explain) for rank, hit in enumerate(hits, start=1)]
    return {"query": query.text, "mode": query.mode, "hits": rows, "seconds": seconds}


def _print_hits(
    context: Context, query: "Query", hits: "list[Hit]", seconds: dict[str, float | None], *, explain: bool, csv: bool
) -> None:
    if context.output.json:
        context.output.data(_search_json(query, hits, seconds, explain=explain))
    elif csv:
        rows = [
            (query.text, rank, round(hit.score, 6), hit.chunk.document, _span(hit.chunk.pages), _span(hit.chunk.lines),
             " > ".join(hit.chunk.section), hit.chunk.title, hit.chunk.text)
            for rank, hit in enumerate(hits, start=1)
        ]  # fmt: skip
        context.output.result(as_csv(_COLUMNS, rows))
    else:
        for rank, hit in enumerate(hits, start=1):
            context.output.result(_hit_text(rank, hit, query.text, explain=explain))
        context.output.detail(f"{seconds['search']} s to search, {seconds['embed']} s to embed the query")


def _span(pair: tuple[int, int] | None) -> str:
    return "" if pair is None else str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


def _hit_text(rank: int, hit: "Hit", query: str, *, explain: bool) -> str:
    from rag_qdrant.domain.prompting import place, snippet  # noqa: PLC0415

    chunk = hit.chunk
    section = " > ".join(part for part in chunk.section if part != chunk.title)
    about = line(" · ".join(part for part in (chunk.title, section) if part))
    lines = [f"{rank:2}. {line(place(hit))}  [{hit.score:.3f}]", f"    {about}"]
    if explain:
        legs = ", ".join(f"{name} #{leg.rank} {leg.score:.3f}" for name, leg in sorted(hit.legs.items()))
        lines.append(f"    {legs}; id {chunk.id}")
    return "\n".join([*lines, f"    {line(snippet(chunk.text, query))}", ""])


def ask(  # noqa: PLR0913 - one parameter an option
    context: Context,
    question: Annotated[str, typer.Argument(help="Your question.")],
    limit: Limit = 8,
    source: Source = [],  # noqa: B006
    tag: Tag = [],  # noqa: B006
    type_: Type = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    where: Where = None,
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the prompt instead of an answer.")] = False,
    context_only: Annotated[
        bool, typer.Option("--context-only", help="Print the passages instead of an answer.")
    ] = False,
) -> None:
    """Answer a question from your documents, with citations; exit 3 when they do not answer it."""
    from rag_qdrant.usecases.ask import answer, prompt_for, retrieve  # noqa: PLC0415

    app, output = context.app, context.output
    condition = _condition(source=source, tag=tag, type_=type_, since=since, until=until, where=where)
    query = _query(question, "hybrid", limit, condition)
    _refuse_empty([query])
    with app.open_index() as index:
        embedder = app.embedder_for(index)
        hits = retrieve(app.view(index), query, embedder=embedder)
    if not hits:
        raise NothingFound("nothing found that could answer it")
    if prompt:
        made = prompt_for(query, hits, embedder=embedder, chat=app.chat)
        output.result(safe(f"{made.system}\n\n{made.user}"))
    elif context_only:
        _print_hits(context, query, hits, {"embed": None, "search": None, "rerank": None}, explain=False, csv=False)
    else:
        _print_answer(context, answer(query, hits, embedder=embedder, chat=app.chat))


def _print_answer(context: Context, answer: "Answer") -> None:
    from rag_qdrant.domain.prompting import place  # noqa: PLC0415

    output = context.output
    if answer.model is None:
        output.note("no chat model: these are the documents' own sentences")
    if output.json:
        output.data(
            {
                "question": answer.question,
                "answer": answer.text,
                "citations": [
                    {
                        "number": each.number,
                        "document": each.hit.chunk.document,
                        "pages": list(each.hit.chunk.pages) if each.hit.chunk.pages else None,
                        "lines": list(each.hit.chunk.lines) if each.hit.chunk.lines else None,
                        "start": each.start,
                        "end": each.end,
                        "quote": each.quote,
                    }
                    for each in answer.citations
                ],
                "passages": [hit_json(rank, hit) for rank, hit in enumerate(answer.passages, start=1)],
                "model": answer.model,
            }
        )
        return
    cited = {each.number: line(place(each.hit)) for each in answer.citations}
    sources = "\n".join(f"[{number}] {where}" for number, where in sorted(cited.items()))
    output.result(f"{safe(answer.text)}\n\n{sources}")


def show(
    context: Context,
    name: Annotated[str, typer.Argument(help="A document's name, or the id of a document or hit.", metavar="ID")],
    around: Annotated[int, typer.Option(help="Neighbouring passages on each side of a hit.")] = 1,
) -> None:
    """Print a document, or a hit with what stands around it."""
    from rag_qdrant.cli.commands.catalog import document_json  # noqa: PLC0415
    from rag_qdrant.usecases.catalog import show as look_up  # noqa: PLC0415

    with context.app.open_index() as index:
        shown = look_up(context.app.view(index), name, around=around)
    if context.output.json:
        place = {"start": shown.start, "end": shown.start + len(shown.text), "text": shown.text}
        hit = {"hit": shown.chunk.id if shown.chunk else None}
        context.output.data({**document_json(shown.record), **place, **hit})
    else:
        context.output.note(f"{shown.record.document}: {line(shown.record.title)}")
        context.output.result(safe(shown.text))


def embed(
    context: Context,
    role: Annotated[str, typer.Option(help="document or query: some models embed them differently.")] = "document",
) -> None:
    """Turn lines of text on stdin into vectors, one JSON array a line."""
    if role not in ("document", "query"):
        raise UsageError(f"--role {role}; write document or query")
    embedder = context.app.embedder
    batch: list[str] = []

    def out() -> None:
        rows = embedder.embed(batch, role="query" if role == "query" else "document")
        for row in rows:
            context.output.result(json.dumps([round(float(value), 7) for value in row]))
        batch.clear()

    for text in sys.stdin:
        batch.append(text.rstrip("\r\n"))
        if len(batch) == 64:
            out()
    if batch:
        out()
