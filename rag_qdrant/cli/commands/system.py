"""`tour`, `eval`, `doctor` and `config`: the program itself, shown, measured and looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import line, table
from rag_qdrant.errors import RagError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag_qdrant.domain.retrieval import Mode
    from rag_qdrant.usecases.diagnose import Check
    from rag_qdrant.usecases.ingest import Progress


def tour(context: Context) -> None:
    """See it work, in under a minute, on documents that come with the package."""
    from rag_qdrant.cli.tour import Tour  # noqa: PLC0415 - its text is long

    Tour(context).run()


def evaluate(
    context: Context,
    folder: Annotated[Path, typer.Argument(help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")],
    mode: Annotated[str, typer.Option(help="hybrid, dense or keyword.")] = "hybrid",
    against: Annotated[str | None, typer.Option(help="Compare with another mode, query by query.")] = None,
    split: Annotated[str | None, typer.Option(help="Which qrels, where there are several.")] = None,
    floor: Annotated[float | None, typer.Option(help="Fail if nDCG@10 is below this.")] = None,
) -> None:
    """Measure search on a judged collection: nDCG@10, recall, reciprocal rank."""
    from rag_qdrant.cli.commands.sync import Bar  # noqa: PLC0415
    from rag_qdrant.usecases import evaluate as use  # noqa: PLC0415
    from rag_qdrant.usecases.ingest import IngestRequest, Silent, ingest  # noqa: PLC0415
    from rag_qdrant.view import View  # noqa: PLC0415

    app, output = context.app, context.output
    judged = use.load(folder, split)
    modes = [_mode(each) for each in (mode, against) if each is not None]
    corpus = use.Corpus(judged)
    with app.evaluation_index(judged.name) as index:
        view = View.administrator(index)
        embedder = app.embedder_for(index)
        progress: Progress = Bar() if output.progress else Silent()
        try:
            request = IngestRequest(confirm_removals=True)
            report = ingest(view, [corpus.tree()], request, embedder=embedder, extractor=corpus, progress=progress)
        finally:
            progress.close()
        values = {each: use.per_query(judged, use.run(view, judged, each, embedder=embedder)) for each in modes}
    measures = {name: round(value, 4) for name, value in use.means(values[modes[0]]).items()}
    found: dict[str, object] = {
        "dataset": judged.name,
        "queries": len(judged.qrels),
        "mode": mode,
        "measures": measures,
        "seconds": {name: round(value, 3) for name, value in report.seconds.items()},
    }
    if against is not None:
        both = use.compare(values[modes[0]]["nDCG@10"], values[modes[1]]["nDCG@10"], "nDCG@10")
        found["comparison"] = {
            "against": against,
            "measure": both.measure,
            "difference": round(both.difference, 4),
            "p": both.p,
        }
    if output.json:
        output.data(found)
    else:
        output.result(f"{judged.name}: {len(judged.qrels)} queries, {mode}")
        output.result(table([(name, f"{value:.4f}") for name, value in measures.items()]))
        if against is not None:
            output.result(f"against {against}: nDCG@10 {both.difference:+.4f}, paired p = {both.p:.2g}")
    if floor is not None and measures["nDCG@10"] < floor:
        raise RagError(f"nDCG@10 {measures['nDCG@10']:.4f} is below the floor of {floor}")


def _mode(name: str) -> "Mode":
    from rag_qdrant.domain.retrieval import MODES  # noqa: PLC0415

    for each in MODES:
        if each == name:
            return each
    raise UsageError(f"no mode {name!r}; write {', '.join(MODES)}")


def doctor(context: Context) -> None:
    """Check the setup: one line each, each failure with its fix."""
    from rag_qdrant.usecases.diagnose import check_embedder, check_index, guarded  # noqa: PLC0415

    app = context.app
    if app.viewer is not None:
        raise UsageError("doctor looks at the whole index: leave --as out")
    checks = guarded("groups", lambda: _groups(context))
    checks += guarded("embedder", lambda: check_embedder(app.embedder))

    def index() -> "Iterator[Check]":
        with app.open_index() as opened:
            app.embedder_for(opened)
            yield from check_index(app.administrator(opened))

    checks += guarded("index", index)
    if context.output.json:
        keys = ("name", "well", "says", "fix")
        context.output.data({"checks": [{key: getattr(each, key) for key in keys} for each in checks]})
    else:
        for each in checks:
            context.output.result(f"{'ok  ' if each.well else 'FAIL'} {each.name}: {line(each.says)}")
            if each.fix:
                context.output.result(f"     do: {line(each.fix)}")
    if not all(each.well for each in checks):
        raise typer.Exit(1)


def _groups(context: Context) -> "Iterator[Check]":
    from rag_qdrant.usecases.diagnose import Check  # noqa: PLC0415

    members = context.app.groups.members
    yield Check(name="groups", well=True, says=f"{len(members)} groups" if members else "no groups file")


def config_show(context: Context) -> None:
    """Print each setting, its value and where it comes from, and which texts leave the machine."""
    from rag_qdrant.settings import Settings, variable_of  # noqa: PLC0415

    resolved = context.app.resolved
    rows = []
    places = {"groups": str(context.app.groups_file), "index": context.app.index_spec}
    for name in Settings.model_fields:
        value = getattr(resolved.settings, name)
        shown = places.get(name) or (None if value is None else str(value))
        rows.append({"setting": variable_of(name), "value": shown, "from": resolved.origins[name]})
    if context.output.json:
        context.output.data({"settings": rows, "leaves_the_machine": []})
        return
    context.output.result(table([(row["setting"], row["value"] or "-", row["from"]) for row in rows]))
    context.output.result("texts that leave this machine: none (the embedder runs in this process)")
