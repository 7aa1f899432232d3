"""The options that every command has, added to its signature once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_qdrant.cli.output import Output
from rag_qdrant.errors import UsageError

if TYPE_CHECKING:
    from rag_qdrant.app import App

GROUP = "Everywhere"


@dataclass(frozen=True)
class Context:
    """What a command is given: its collaborators and where its words go."""

    app: "App"
    output: Output


def _option(kind: Any, *names: str, text: str) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, rich_help_panel=GROUP)]


_COMMON: dict[str, tuple[Any, Any]] = {
    "index": (_option(str | None, "--index", text="Where the index is: edge:FOLDER, memory: (RAG_INDEX)."), None),
    "collection": (_option(str | None, "--collection", text="The collection in it (RAG_COLLECTION)."), None),
    "embed": (_option(str | None, "--embed", text="The embedder: onnx:NAME or onnx:FOLDER (RAG_EMBED)."), None),
    "chat": (
        _option(str | None, "--chat", text="The chat model; none answers in the documents' words (RAG_CHAT)."),
        None,
    ),
    "rerank": (_option(str | None, "--rerank", text="The reranker of the best hits (RAG_RERANK)."), None),
    "groups": (_option(Path | None, "--groups", text="The groups file (RAG_GROUPS)."), None),
    "env_file": (_option(Path | None, "--env-file", text="Read settings from here instead of .env."), None),
    "as_": (_option(list[str], "--as", text="Act as this principal, user:ana or group:hr; repeat for several."), []),
    "json_": (_option(bool, "--json", text="One JSON object on stdout."), False),
    "quiet": (_option(bool, "--quiet", "-q", text="No notes on stderr."), False),
    "verbose": (_option(bool, "--verbose", "-v", text="More notes on stderr."), False),
    "no_progress": (_option(bool, "--no-progress", text="No progress bar."), False),
}
_SETTINGS = ("index", "collection", "embed", "chat", "rerank", "groups")


def with_common(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the common options; its first parameter becomes the Context that they make."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for value in given.values():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                    raise UsageError("an argument is not UTF-8 text: write it in the terminal's encoding")
        values = {name: given.pop(name) for name in _COMMON}
        command(_context(values), **given)

    signature = inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + common)
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    return run


def _context(values: dict[str, Any]) -> Context:
    from rag_qdrant.app import App  # noqa: PLC0415 - --help pays for none of it
    from rag_qdrant.settings import resolve  # noqa: PLC0415

    flags = {name: values[name] for name in _SETTINGS}
    output = Output(
        json=values["json_"], quiet=values["quiet"], verbose=values["verbose"], progress=not values["no_progress"]
    )
    app = App(resolve(flags, env_file=values["env_file"]), tuple(values["as_"]))
    if app.resolved.settings.groups is not None:
        app.groups  # noqa: B018 - a groups file that was named is read, or refused, whatever the command
    return Context(app, output)
