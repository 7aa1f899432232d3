"""`share`, `unshare` and `acl`: who may read what, why, and whether that holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import line, number
from rag_qdrant.errors import RagError, UsageError

if TYPE_CHECKING:
    from rag_qdrant.domain.access import Principals
    from rag_qdrant.usecases.readers import Change
    from rag_qdrant.usecases.share import Explanation

Target = Annotated[str, typer.Argument(help="A document's name or id, a glob ('hr/*.md'), or source:NAME.")]
Who = Annotated[list[str], typer.Argument(help="user:NAME, group:NAME, everyone, public.", metavar="PRINCIPAL...")]


def share(context: Context, document: Target, principals: Who) -> None:
    """Let somebody read documents; it holds until unshare or acl reset, whatever a sync brings."""
    from rag_qdrant.usecases.share import managed, share  # noqa: PLC0415

    added = _principals(principals)
    with context.app.open_index() as index:
        view = context.app.view(index)
        found = len(managed(view, document))
        context.output.note(f"letting {', '.join(sorted(added))} read {number(found, 'document')}")
        changed = share(view, document, added)
        denied = {name for each in managed(view, document) for name in added & each.acl.deny}
    for name in sorted(denied):
        context.output.note(f"{name} stays denied by the rules of the folder: see rag-qdrant acl explain")
    _changed(context, changed)


def unshare(context: Context, document: Target, principals: Who) -> None:
    """Put somebody out of documents; they stay out whatever the rules grant, until share or acl reset."""
    from rag_qdrant.usecases.share import managed, unshare  # noqa: PLC0415

    taken = _principals(principals)
    with context.app.open_index() as index:
        view = context.app.view(index)
        changed = unshare(view, document, taken)
        left = {name for each in managed(view, document) for name in each.acl.allow - each.acl.deny}
    context.output.note(f"still let in: {', '.join(sorted(left)) or 'nobody'}")
    _changed(context, changed)


def _principals(names: list[str]) -> "Principals":
    from rag_qdrant.domain.access import principals  # noqa: PLC0415

    return principals(names)


def _changed(context: Context, changed: "Change") -> None:
    if context.output.json:
        context.output.data({"documents": changed.documents, "chunks": changed.chunks})
    else:
        context.output.result(f"changed {number(changed.documents, 'document')}, {number(changed.chunks, 'passage')}")


def acl_show(context: Context, document: Target) -> None:
    """Print who may read documents that you manage: by the rules, by share and unshare, in effect."""
    from rag_qdrant.usecases.share import managed  # noqa: PLC0415

    with context.app.open_index() as index:
        records = managed(context.app.view(index), document)
    if context.output.json:
        rows = [
            {
                "document": record.document,
                **record.acl.as_payload(),
                "rules": record.rules.as_payload(),
                "shared": sorted(record.overrides.shared),
                "unshared": sorted(record.overrides.unshared),
            }
            for record in records
        ]
        context.output.data({"documents": rows})
        return
    for record in records:
        denied = f"; denied: {', '.join(sorted(record.acl.deny))}" if record.acl.deny else ""
        allowed = ", ".join(sorted(record.acl.allow)) or "nobody but administrators"
        context.output.result(line(f"{record.document}: {allowed}{denied}"))


def acl_explain(context: Context, document: Target) -> None:
    """Say why somebody (--as) may or may not read documents: the rules, the overrides, the groups."""
    from rag_qdrant.usecases.share import explain  # noqa: PLC0415
    from rag_qdrant.view import View  # noqa: PLC0415

    app = context.app
    if app.viewer is None:
        raise UsageError("say whose reading is to be explained: --as user:NAME")
    with app.open_index() as index:
        # Whoever can open the index here is its administrator; --as names the person who is asked about.
        found = explain(View.administrator(index), document, app.viewer)
    if context.output.json:
        context.output.data({"as": sorted(app.viewer), "documents": [_explained(each) for each in found]})
        return
    for each in found:
        context.output.result(line(f"{each.document}: {'may' if each.readable else 'may not'} be read"))
        context.output.result(f"  is: {', '.join(sorted(app.viewer))}")
        for step in each.rules:
            context.output.result(f"  rule: {line(step)}")
        if each.overrides.shared:
            context.output.result(f"  shared with: {', '.join(sorted(each.overrides.shared))}")
        if each.overrides.unshared:
            context.output.result(f"  unshared from: {', '.join(sorted(each.overrides.unshared))}")
        context.output.result(f"  let in as: {', '.join(each.by) or 'nothing'}")
        if each.against:
            context.output.result(f"  denied as: {', '.join(each.against)} (deny wins)")


def _explained(each: "Explanation") -> dict[str, object]:
    return {
        "document": each.document,
        "readable": each.readable,
        "by": list(each.by),
        "against": list(each.against),
        "rules": list(each.rules),
        "shared": sorted(each.overrides.shared),
        "unshared": sorted(each.overrides.unshared),
        "acl": each.acl.as_payload(),
    }


def acl_sync(
    context: Context,
    paths: Annotated[list[Path], typer.Argument(help="The folders, as they were given to ingest.", metavar="PATH...")],
    source: Annotated[str | None, typer.Option(help="The source's name; by default the folder's.")] = None,
) -> None:
    """Apply changed .ragacl.toml files to what is in the index; no document is read."""
    from rag_qdrant.usecases.share import sync_rules  # noqa: PLC0415

    app = context.app
    trees = app.trees(paths, (), ())
    with app.open_index() as index:
        report = sync_rules(app.view(index), trees, source)
    for folder, reason in report.failed:
        context.output.note(line(f"failed: {folder}: {reason}; its documents keep their readers"))
    _changed(context, report.changed)
    if report.failed:
        raise typer.Exit(1)


def acl_reset(context: Context, document: Target) -> None:
    """Drop what share and unshare changed: the rules alone hold again."""
    from rag_qdrant.usecases.share import reset  # noqa: PLC0415

    with context.app.open_index() as index:
        changed = reset(context.app.view(index), document)
    _changed(context, changed)


def acl_test(context: Context) -> None:
    """Plant documents of made-up readers, look whether anybody sees another's, and take them away."""
    from rag_qdrant.usecases.canaries import check_access  # noqa: PLC0415

    with context.app.open_index() as index:
        report = check_access(context.app.view(index))
    if context.output.json:
        data = {"viewers": report.viewers, "looks": report.looks, "wrong": list(report.wrong)}
        context.output.data(data)
    else:
        for each in report.wrong:
            context.output.result(each)
        context.output.result(f"{report.looks} looks as {report.viewers} viewers: {len(report.wrong)} wrong")
    if report.wrong:
        raise RagError("access does not hold: do not use this index until rag-qdrant doctor is clean")
