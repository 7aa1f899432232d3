"""Every command, registered in the order in which the help lists them."""

from collections.abc import Callable

import typer

from rag_qdrant.cli.commands import access, catalog, find, sync, system
from rag_qdrant.cli.options import with_common

COMMANDS: dict[str, Callable[..., None]] = {
    "tour": system.tour,
    "ingest": sync.ingest,
    "search": find.search,
    "ask": find.ask,
    "show": find.show,
    "sources": catalog.sources,
    "documents": catalog.documents,
    "remove": catalog.remove,
    "purge": catalog.purge,
    "share": access.share,
    "unshare": access.unshare,
    "embed": find.embed,
    "eval": system.evaluate,
    "doctor": system.doctor,
}
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "acl": (
        "Who may read what, and why.",
        {
            "show": access.acl_show,
            "explain": access.acl_explain,
            "sync": access.acl_sync,
            "reset": access.acl_reset,
            "test": access.acl_test,
        },
    ),
    "config": ("The settings that hold, and where each comes from.", {"show": system.config_show}),
}


def register(app: typer.Typer) -> None:
    """Add every command and group to the application."""
    for name, command in COMMANDS.items():
        app.command(name)(with_common(command))
    for group, (text, commands) in GROUPS.items():
        below = typer.Typer(name=group, help=text, no_args_is_help=True, rich_markup_mode=None)
        for name, command in commands.items():
            below.command(name)(with_common(command))
        app.add_typer(below)
