"""`sources`, `documents`, `remove` and `purge`: what is in the index, and what leaves it."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import as_csv, line, moment, number, table
from rag_qdrant.errors import NothingFound, UsageError

if TYPE_CHECKING:
    from rag_qdrant.domain.documents import DocumentRecord

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def sources(context: Context) -> None:
    """List the sources: whose they are, how much is in them, when they were synced."""
    from rag_qdrant.usecases.catalog import sources as listed  # noqa: PLC0415

    with context.app.open_index() as index:
        rows = listed(context.app.view(index))
    if context.output.json:
        keys = ("source", "owner", "documents", "chunks", "failed", "synced")
        data = [{key: getattr(row, key) for key in keys} | {"synced": moment(row.synced)} for row in rows]
        context.output.data({"sources": data})
    elif rows:
        head = ("source", "owner", "documents", "passages", "failed", "synced")
        cells = [
            (row.source, row.owner or "-", row.documents, row.chunks, _or_dash(row.failed), moment(row.synced) or "-")
            for row in rows
        ]
        context.output.result(table([head, *cells]))
    if not rows:
        raise NothingFound("no sources")


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def documents(
    context: Context,
    source: Annotated[list[str], typer.Option(help="Only this source; repeat for several.")] = [],  # noqa: B006
    failed: Annotated[bool, typer.Option("--failed", help="Only files that could not be read, and why.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> None:
    """List the documents; of your own sources, what failed and why as well."""
    from rag_qdrant.domain.filters import ALL, In  # noqa: PLC0415
    from rag_qdrant.usecases.catalog import documents as listed  # noqa: PLC0415

    where = In("source", tuple(source)) if source else ALL
    with context.app.open_index() as index:
        rows = listed(context.app.view(index), where, failed=failed)
    if context.output.json:
        context.output.data({"documents": [document_json(row) for row in rows]})
    elif csv:
        data = [document_json(row) for row in rows]
        if data:
            context.output.result(as_csv(list(data[0]), [[_flat(value) for value in row.values()] for row in data]))
    else:
        head = ("document", "type", "passages", "modified", "state")
        cells = [
            (row.document, row.type or "-", row.chunks, moment(row.modified) or "-", row.reason or row.state)
            for row in rows
        ]
        if cells:
            context.output.result(table([head, *cells]))
    if not rows and not failed:
        raise NothingFound("no documents")


def _flat(value: object) -> object:
    return "; ".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else value


def document_json(record: "DocumentRecord") -> dict[str, Any]:
    """A document as CLI.md has it."""
    return {
        "id": record.id,
        "document": record.document,
        "source": record.source,
        "type": record.type or None,
        "title": record.title or None,
        "state": record.state,
        "reason": record.reason,
        "chunks": record.chunks,
        "bytes": record.bytes,
        "modified": moment(record.modified),
        "tags": dict(record.tags),
    }


def remove(
    context: Context,
    targets: Annotated[
        list[str],
        typer.Argument(help="Documents by name, id or glob ('hr/*.md'), or source:NAME.", metavar="DOCUMENT..."),
    ],
    yes: Yes = False,
) -> None:
    """Take documents or a whole source out of the index; the files stay where they are."""
    from rag_qdrant.usecases.catalog import remove as take_out  # noqa: PLC0415
    from rag_qdrant.usecases.catalog import to_remove  # noqa: PLC0415

    with context.app.open_index() as index:
        view = context.app.view(index)
        records = to_remove(view, targets)
        confirm(context, f"remove {number(len(records), 'document')} from the index?", yes=yes)
        removed = take_out(view, targets)
    if context.output.json:
        context.output.data({"documents": removed.documents, "chunks": removed.chunks})
    else:
        context.output.result(f"removed {number(removed.documents, 'document')}, {number(removed.chunks, 'passage')}")
        context.output.note("their text stays in the index's files until rag-qdrant purge")
        context.output.note("the next sync of their folder brings them back, unless the files go or are excluded")


def purge(context: Context, yes: Yes = False) -> None:
    """Rebuild the index's files, so that nothing removed stays on the disk."""
    from rag_qdrant.usecases.catalog import purge as rebuild  # noqa: PLC0415

    with context.app.open_index() as index:
        view = context.app.view(index)
        confirm(context, f"rebuild the index, {number(view.count_chunks(), 'passage')}?", yes=yes)
        rebuild(view)
    context.output.note("purged")
    if context.output.json:
        context.output.data({"purged": True})


def confirm(context: Context, question: str, *, yes: bool) -> None:
    """Go on only with --yes, or with a yes on a terminal."""
    if yes or context.output.asks(question):
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{line(question)} nobody is here to answer: pass --yes")
    raise UsageError("nothing was done")
