"""The command line's frame: commands registered, errors of ours to one line and an exit code."""

import gc
import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from rag_qdrant import registry
from rag_qdrant.cli.commands import register
from rag_qdrant.cli.output import safe
from rag_qdrant.errors import EXIT_INTERRUPTED, RagError

HELP = """Search your files and ask them questions, each person seeing exactly what they may see.

Begin with: rag-qdrant tour, then rag-qdrant ingest FOLDER."""

app = typer.Typer(
    name="rag-qdrant",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rag-qdrant {version('rag-qdrant')}\n")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", help="The version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Search your files and ask them questions, each person seeing exactly what they may see."""


root.__doc__ = HELP
register(app)
for _plugin in registry.installed(registry.COMMANDS).values():
    _plugin.load()(app)


def main() -> None:
    """Run a command; the process's exit code is that of CLI.md."""
    # Records come by the ten thousand and hold no cycles: looking for some all the time takes a quarter of a sync.
    gc.set_threshold(50_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its number: no command fails for it.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except RagError as error:
        sys.stderr.write(f"rag-qdrant: {safe(error)}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"rag-qdrant: {safe(error)}\n")
        sys.exit(RagError.exit_code)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            sys.stderr.write("rag-qdrant: interrupted; what was finished is kept\n")
        raise
