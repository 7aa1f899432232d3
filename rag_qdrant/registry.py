"""`ollama:nomic-embed-text` to an object, through entry points; nothing is imported before it is used."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from rag_qdrant.errors import UsageError

if TYPE_CHECKING:
    from rag_qdrant.ports import ChatModel, Embedder, Opener, Reranker

EMBEDDERS = "rag_qdrant.embedders"
RERANKERS = "rag_qdrant.rerankers"
CHAT_MODELS = "rag_qdrant.chat_models"
READERS = "rag_qdrant.readers"
INDEXES = "rag_qdrant.indexes"
COMMANDS = "rag_qdrant.commands"

_KINDS = {EMBEDDERS: "embedder", RERANKERS: "reranker", CHAT_MODELS: "chat model", INDEXES: "index"}


@cache
def _entry_points() -> Any:
    # Each look reads the metadata of every installed package: 15 ms. Two classes by Python's version, both select.
    return entry_points()


def installed(group: str) -> dict[str, EntryPoint]:
    """What is installed for a group, by name, in the order of the names."""
    return {each.name: each for each in sorted(_entry_points().select(group=group), key=lambda each: each.name)}


def resolve(group: str, spec: str) -> tuple[Any, str]:
    """The object that a `provider:name` names, and the name; an unknown provider is a UsageError."""
    provider, _, name = spec.partition(":")
    found = installed(group)
    if provider not in found:
        known = ", ".join(found) or "none"
        raise UsageError(f"no {_KINDS[group]} {provider!r}; installed: {known}")
    try:
        return found[provider].load(), name
    except ModuleNotFoundError as error:
        raise UsageError(f"{provider}: needs {error.name}: pip install 'rag-qdrant[{provider}]'") from error


def embedder(spec: str) -> "Embedder":
    """The embedder that a spec names; a plug-in's entry point takes the part behind the colon."""
    make, name = resolve(EMBEDDERS, spec)
    return cast("Embedder", make(name))


def reranker(spec: str) -> "Reranker":
    """The reranker that a spec names."""
    make, name = resolve(RERANKERS, spec)
    return cast("Reranker", make(name))


def chat_model(spec: str) -> "ChatModel":
    """The chat model that a spec names."""
    make, name = resolve(CHAT_MODELS, spec)
    return cast("ChatModel", make(name))


def index_opener(spec: str) -> "tuple[Opener, str]":
    """What opens the index that a spec names, and its place."""
    make, place = resolve(INDEXES, spec)
    return cast("Opener", make), place
