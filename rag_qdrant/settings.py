"""Every setting once: flag over environment over `.env` over default, and where each value comes from."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag_qdrant.errors import UsageError

Origin = Literal["flag", "environment", ".env", "default"]
APP = "rag-qdrant"


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where the user's data lies: XDG's on Linux, Application Support on macOS."""
    return _home_folder(environ, "XDG_DATA_HOME", ".local/share")


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the user's configuration lies."""
    return _home_folder(environ, "XDG_CONFIG_HOME", ".config")


def _home_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    if environ.get(variable):
        return Path(environ[variable]) / APP
    home = Path(environ.get("HOME") or Path.home())
    return home / ("Library/Application Support" if sys.platform == "darwin" else below_home) / APP


def _setting(default: Any, description: str, *, variable: str, example: str = "", positive: bool = False) -> Any:
    extra: dict[str, Any] = {"variable": variable, "example": example}
    bounds: dict[str, Any] = {"gt": 0, "allow_inf_nan": False} if positive else {}
    return Field(default=default, description=description, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """The settings; each field's description is its line in the README and in `.env.example`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str = _setting(
        "edge:",
        "Where the index is: `edge:FOLDER` (in process; `edge:` is the user's data folder) or `memory:`.",
        variable="RAG_INDEX",
        example="edge:./index",
    )
    collection: str = _setting("docs", "The collection in the index.", variable="RAG_COLLECTION")
    embed: str = _setting(
        "onnx:all-MiniLM-L6-v2",
        "The embedder: `onnx:all-MiniLM-L6-v2` (installed with the package) or `onnx:FOLDER`.",
        variable="RAG_EMBED",
        example="onnx:./models/e5-small",
    )
    chat: str = _setting(
        "none", "The chat model for `ask`; `none` answers with the sentences that match.", variable="RAG_CHAT"
    )
    rerank: str = _setting("none", "The reranker of the best hits, by its plug-in's name.", variable="RAG_RERANK")
    user: str | None = _setting(
        None, "Who owns what is ingested, where no --owner says so.", variable="RAG_USER", example="user:ana"
    )
    groups: Path | None = _setting(
        None,
        "The groups file; by default `principals.toml` in the configuration folder.",
        variable="RAG_GROUPS",
        example="./principals.toml",
    )
    bm25_language: str = _setting(
        "english", "The language of keyword search in a new index: its stemmer and stop words.", variable="RAG_LANGUAGE"
    )
    bm25_average_length: float = _setting(
        100.0,
        "BM25's average length in a new index, in terms: a public constant, so that no hidden text moves a score.",
        variable="RAG_BM25_AVERAGE_LENGTH",
        positive=True,
    )
    max_file_mb: int = _setting(200, "Larger files are failures.", variable="RAG_MAX_FILE_MB", positive=True)
    read_timeout_s: float = _setting(
        60.0, "Seconds that a file's parser may take.", variable="RAG_READ_TIMEOUT_S", positive=True
    )
    read_memory_mb: int = _setting(
        2048, "Memory that a file's parser may take.", variable="RAG_READ_MEMORY_MB", positive=True
    )


@dataclass(frozen=True)
class Resolved:
    """The settings that hold, and where each comes from."""

    settings: Settings
    origins: Mapping[str, Origin]
    config_folder: Path
    data_folder: Path


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return str(_extra(name)["variable"])


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra


def resolve(
    flags: Mapping[str, object], *, environ: Mapping[str, str] | None = None, env_file: Path | None = None
) -> Resolved:
    """Settle every setting; a value that cannot be is a UsageError that names where it stands."""
    environ = os.environ if environ is None else environ
    if env_file is not None and not env_file.is_file():
        raise UsageError(f"no file {str(env_file)!r} for --env-file")
    path = env_file or Path(".env")
    try:
        dotenv = dotenv_values(path) if path.is_file() else {}
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}") from error
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for name in Settings.model_fields:
        variable = variable_of(name)
        if flags.get(name) is not None:
            values[name], origins[name] = flags[name], "flag"
        elif environ.get(variable):
            values[name], origins[name] = environ[variable], "environment"
        elif dotenv.get(variable):
            values[name], origins[name] = dotenv[variable], ".env"
        else:
            origins[name] = "default"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        origin = origins[name]
        place = f"--{name.replace('_', '-')}" if origin == "flag" else f"{variable_of(name)} ({origin})"
        raise UsageError(f"{place} is {values[name]!r}: {first['msg'].lower()}") from error
    return Resolved(settings, origins, config_folder(environ), data_folder(environ))


def env_example() -> str:
    """The text of `.env.example`: every setting, commented out, with its description."""
    lines = ["# Copy to .env. A flag wins over the environment, the environment over this file.", ""]
    for name, field in Settings.model_fields.items():
        example = _extra(name)["example"] or ("" if field.default is None else field.default)
        lines += [f"# {field.description}", f"#{variable_of(name)}={example}", ""]
    return "\n".join(lines)


def markdown_table() -> str:
    """The README's table of settings."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{variable_of(name)}` | {default} | {field.description} |")
    return "\n".join(rows)
