"""The guided tour: the main job on documents that come with the package, each step shown as it is typed."""

import shutil
import time
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.resources import as_file, files
from io import StringIO
from pathlib import Path

from rag_qdrant.app import App
from rag_qdrant.cli.commands import access, catalog, find, sync
from rag_qdrant.cli.options import Context
from rag_qdrant.cli.output import Output
from rag_qdrant.errors import NothingFound

ANA = "user:ana@tidewater.example"
CARLA = "user:carla@tidewater.example"
PAY = "How large is the pay rise planned for 2026?"


class Tour:
    """Ingests the sample documents into an index of its own and walks through what a team does with them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._output = context.output
        self._place = context.app.resolved.data_folder / "tour"

    def run(self) -> None:
        """The steps, in order; the index stays, so that a newcomer can go on with it."""
        if self._output.json:
            with redirect_stdout(StringIO()) as shown:
                self._steps()
            self._output.data({"index": f"edge:{self._place}", "collection": "tour", "shown": shown.getvalue()})
        else:
            self._steps()

    def _steps(self) -> None:
        began = time.monotonic()
        shutil.rmtree(self._place, ignore_errors=True)
        with as_file(files("rag_qdrant") / "tour") as tour:
            self._walk(tour)
        self._output.result(
            f"\nThat took {time.monotonic() - began:.0f} seconds. Go on with these documents, or with yours:\n"
        )
        for command in (
            f'rag-qdrant search "tide gauge" --index edge:{self._place} --collection tour',
            "rag-qdrant ingest ~/Documents/handbook --allow everyone",
            'rag-qdrant search "what you look for"',
            'rag-qdrant ask "what you want to know"',
            "rag-qdrant share handbook/plan.md user:ben",
            "rag-qdrant --help",
        ):
            self._output.result(f"    {command}")

    def _walk(self, tour: Path) -> None:
        documents = tour / "documents"
        self._say("A small company keeps its knowledge in files. A .ragacl.toml beside them says who may read what:")
        self._output.result("\n".join(f"    {line}" for line in (documents / ".ragacl.toml").read_text().splitlines()))
        self._step("rag-qdrant ingest documents")
        sync.ingest(self._as(tour), [documents])
        self._step("rag-qdrant documents")
        catalog.documents(self._as(tour))
        self._step('rag-qdrant search "clock drift of the tide gauges" --limit 2')
        find.search(self._as(tour), query="clock drift of the tide gauges", limit=2)
        question = "How many unused leave days can I take into next year, and until when?"
        self._step(f'rag-qdrant ask "{question}"')
        find.ask(self._as(tour), question)
        self._say("The same question as two people. Carla is in the group finance, Ana is not:")
        for person in (CARLA, ANA):
            self._step(f'rag-qdrant ask "{PAY}" --as {person}')
            try:
                find.ask(self._as(tour, person), PAY)
            except NothingFound as nothing:
                self._output.result(f"{nothing}  (exit code 3)")
        self._step(f"rag-qdrant acl explain documents/finance/budget-2026.md --as {ANA}")
        access.acl_explain(self._as(tour, ANA), "documents/finance/budget-2026.md")

    def _as(self, tour: Path, *names: str) -> Context:
        resolved = self._context.app.resolved
        changed = {"index": f"edge:{self._place}", "collection": "tour", "groups": tour / "principals.toml"}
        settings = resolved.settings.model_copy(update=changed)
        output = Output(quiet=True, progress=self._output.progress)
        app = App(replace(resolved, settings=settings), names)
        app.__dict__["embedder"] = self._context.app.embedder
        return Context(app, output)

    def _say(self, text: str) -> None:
        self._output.result(f"\n{text}\n")

    def _step(self, command: str) -> None:
        self._output.result(f"\n$ {command}\n")
