"""`ingest`: folders into the index, once or for as long as they change."""

import codecs
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import line, number
from rag_qdrant.errors import NothingFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag_qdrant.ports import Index
    from rag_qdrant.usecases.ingest import IngestReport, IngestRequest, Progress

Many = list[str]


def ingest(  # noqa: PLR0913 - one parameter an option
    context: Context,
    paths: Annotated[list[Path], typer.Argument(help="Folders and files.", metavar="PATH...")],
    source: Annotated[str | None, typer.Option(help="The source's name; by default the folder's.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who may sync, share and delete it, user:NAME.")] = None,
    allow: Annotated[Many, typer.Option(help="Who may read it: private, everyone, public, user:…, group:…")] = [],  # noqa: B006
    deny: Annotated[Many, typer.Option(help="Who may not, whatever else says so.")] = [],  # noqa: B006
    tag: Annotated[Many, typer.Option(help="A tag for all of it, name=value.")] = [],  # noqa: B006
    include: Annotated[Many, typer.Option(help="Only files that match this glob.")] = [],  # noqa: B006
    exclude: Annotated[Many, typer.Option(help="No files that match this glob.")] = [],  # noqa: B006
    encoding: Annotated[str | None, typer.Option(help="The encoding of text that is not UTF-8.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and sync whenever something changes.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Read files again that failed.")] = False,
    confirm_removals: Annotated[
        bool, typer.Option("--confirm-removals", help="Let many documents leave the index at once.")
    ] = False,
) -> None:
    """Sync folders and files into a source: what changed is read again, what is gone leaves."""
    from rag_qdrant.usecases.ingest import IngestRequest, default_owner  # noqa: PLC0415

    app = context.app
    request = IngestRequest(
        source=source,
        owner=_owner(owner),
        default_owner=default_owner(app.as_names, app.user),
        allow=tuple(allow) or None,
        deny=tuple(deny) or None,
        tags=_tags(tag) if tag else None,
        encoding=_encoding(encoding),
        retry_failed=retry_failed,
        confirm_removals=confirm_removals,
        dry_run=dry_run,
    )
    if watch and dry_run:
        raise UsageError("--watch and --dry-run do not go together: leave one out")
    failed = False
    for _ in _rounds(context, paths, watch=watch):
        report = _once(context, paths, request, (tuple(include), tuple(exclude)))
        failed = bool(report.failed)
    if failed:
        raise typer.Exit(1)


def _rounds(context: Context, paths: list[Path], *, watch: bool) -> "Iterator[None]":
    """Once, or once at first and again after each change."""
    yield
    if watch:
        from watchfiles import watch as changes  # noqa: PLC0415 - only --watch needs it

        context.output.note("watching; Ctrl-C ends it")
        for _ in changes(*[path for path in paths if path.exists()], raise_interrupt=True):
            yield


def _once(
    context: Context,
    paths: list[Path],
    request: "IngestRequest",
    globs: tuple[tuple[str, ...], tuple[str, ...]],
) -> "IngestReport":
    from rag_qdrant.usecases.ingest import Silent, ingest  # noqa: PLC0415

    app, output = context.app, context.output
    trees = app.trees(paths, *globs)
    with _opened(context, dry_run=request.dry_run) as index:
        progress: Progress = Bar() if output.progress else Silent()
        extractor = app.extractor()
        try:
            report = ingest(
                app.view(index),
                trees,
                request,
                embedder=app.embedder_for(index),
                extractor=extractor,
                progress=progress,
            )
        finally:
            extractor.close()
            progress.close()
    _tell(context, report, dry_run=request.dry_run)
    return report


def _opened(context: Context, *, dry_run: bool) -> "Index":
    """The index for a sync; a dry run of what is not there yet looks at an empty one."""
    if not dry_run:
        return context.app.open_index(create=True)
    try:
        return context.app.open_index()
    except NothingFound:
        from rag_qdrant.app import App  # noqa: PLC0415

        resolved = context.app.resolved
        settings = resolved.settings.model_copy(update={"index": "memory:dry-run"})
        return App(replace(resolved, settings=settings)).open_index(create=True)


def _owner(name: str | None) -> str | None:
    from rag_qdrant.domain.access import principal  # noqa: PLC0415

    if name is None:
        return None
    owner = principal(name)
    if not owner.startswith("user:"):
        raise UsageError(f"--owner {name}; an owner is a person: user:NAME")
    return owner


def _encoding(name: str | None) -> str | None:
    try:
        return None if name is None else codecs.lookup(name).name
    except LookupError as error:
        raise UsageError(f"no encoding {name!r}; write one such as shift_jis, cp1252 or utf-16-le") from error


def _tags(entries: list[str]) -> dict[str, str]:
    from rag_qdrant.domain.where import tag_entry  # noqa: PLC0415

    pairs = [entry.partition("=") for entry in entries]
    named = [tag_entry(name, value if equals else "true") for name, equals, value in pairs]
    return dict(each.split("=", 1) for each in named)


class Bar:
    """A progress bar with rate and time left; usecases.ingest.Progress on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        self._began = time.monotonic()
        self._files = 0
        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} files"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[name]}", markup=False),
            console=Console(file=sys.stderr),
            transient=True,
        )

    def start(self, files: int, size: int) -> None:
        """So many files and bytes are to be read."""
        del size
        if files:
            self._task = self._bar.add_task("", total=files, rate="", name="")
            self._bar.start()

    def advance(self, size: int, document: str) -> None:
        """A file is done with."""
        del size
        self._files += 1
        rate = f"{self._files / max(time.monotonic() - self._began, 0.001):.1f}/s"
        self._bar.update(self._task, advance=1, rate=rate, name=line(document)[-40:])

    def embedded(self, document: str, done: int, passages: int) -> None:
        """Show how far a large file is: its passages take longer than its reading."""
        self._bar.update(self._task, name=f"{done}/{passages} passages, {line(document)[-40:]}")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def _tell(context: Context, report: "IngestReport", *, dry_run: bool) -> None:
    output = context.output
    for document, reason in report.failed:
        output.note(line(f"failed: {document}: {reason}"))
    for document, warning in report.warnings:
        output.note(line(f"note: {document}: {warning}"))
    for document, reason in report.skipped:
        output.detail(line(f"skipped: {document}: {reason}"))
    if output.json:
        output.data(_as_json(report))
        return
    verb = "would be " if dry_run else ""
    for change, document in report.changes:
        (output.result if dry_run else output.detail)(line(f"{verb}{change}: {document}"))
    done = ((report.added, "added"), (report.updated, "updated"), (report.moved, "moved"), (report.removed, "removed"))
    parts = [f"{count} {verb}{word}" for count, word in done if count]
    parts += [f"{report.unchanged} unchanged"] if report.unchanged or not parts else []
    parts += [f"{len(report.failed)} failed"] if report.failed else []
    parts += [f"{len(report.skipped)} skipped (-v names them)"] if report.skipped else []
    held = f"{number(report.documents, 'document')}, {number(report.chunks, 'passage')}"
    output.result(line(f"{report.source}: {', '.join(parts)}; {held}"))
    if report.readers_changed:
        output.result(f"readers changed on {number(report.readers_changed, 'document')}")
    if not dry_run:
        output.result(f"who can read it: {_who(report)}")


def _who(report: "IngestReport") -> str:
    ranked = sorted(report.readers.items(), key=lambda each: (-each[1], each[0]))
    parts = [f"{name} {count}" for name, count in ranked[:8]]
    parts += [f"and {len(ranked) - 8} more"] if len(ranked) > 8 else []
    if report.unreadable:
        parts.append(f"nobody but administrators {report.unreadable} (share them with --allow, .ragacl.toml or share)")
    return ", ".join(parts) or "there is nothing in it"


def _as_json(report: "IngestReport") -> dict[str, object]:
    return {
        "source": report.source,
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "moved": report.moved,
        "removed": report.removed,
        "failed": [{"path": path, "reason": reason} for path, reason in report.failed],
        "skipped": [{"path": path, "reason": reason} for path, reason in report.skipped],
        "changes": [{"change": change, "path": path} for change, path in report.changes],
        "documents": report.documents,
        "chunks": report.chunks,
        "readers": dict(sorted(report.readers.items())),
        "unreadable": report.unreadable,
        "readers_changed": report.readers_changed,
        "seconds": {name: round(value, 4) for name, value in report.seconds.items()},
    }
