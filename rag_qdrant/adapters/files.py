"""The tree under a PATH: which files are documents, and which rules lie beside them; links are never followed."""

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from rag_qdrant.domain.rules import FILE_NAME
from rag_qdrant.errors import NothingFound, UsageError
from rag_qdrant.ports import FoundFile, Tree

IGNORE_FILES = (".gitignore", ".ragignore")
_RULES_MAX_BYTES = 1 << 20

# No reader takes these, and opening each of them at every sync would cost more than the documents.
_MEDIA = re.compile(
    r"\.(png|jpe?g|gif|webp|bmp|ico|tiff?|heic|psd|mp[34]|m4a|mov|avi|mkv|webm|wav|flac|ogg|zip|gz|tgz|bz2|xz|7z|rar|tar"
    r"|zst|jar|war|whl|exe|dll|so|dylib|o|a|class|pyc|bin|iso|dmg|sqlite|db|parquet|np[yz]|onnx|gguf|safetensors|pt|pkl"
    r"|woff2?|ttf|otf|eot|lock)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which files count: by globs as git writes them, include before exclude."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


@dataclass
class _Walk:
    name: str
    root: Path
    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec
    files: list[FoundFile] = field(default_factory=list)
    rules: list[tuple[str, str]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def find_tree(path: Path, selection: Selection) -> Tree:
    """What is under a folder, or a single file as part of the folder that it lies in."""
    try:
        resolved = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise NothingFound(f"no file or folder {str(path)!r}") from error
    single = not resolved.is_dir()
    if single and not resolved.is_file():
        raise UsageError(f"{path} is neither a file nor a folder")
    root = resolved.parent if single else resolved
    if not root.name:
        raise UsageError(f"{path} has no name to call its documents by; name a folder in it")
    walk = _Walk(
        name=unicodedata.normalize("NFC", root.name),
        root=root,
        include=_spec(selection.include, "--include") if selection.include else None,
        exclude=_spec(selection.exclude, "--exclude"),
    )
    if single:
        _read_rules(walk, root, "")
        _consider(walk, resolved.name, resolved, resolved.lstat())
    else:
        _descend(walk)
    return Tree(
        name=walk.name,
        root=root,
        files=tuple(sorted(walk.files, key=lambda each: each.relative)),
        rules=tuple(walk.rules),
        broken=tuple(walk.broken),
        skipped=tuple(sorted(walk.skipped)),
        whole=not single,
    )


def _spec(patterns: Iterable[str], option: str) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise UsageError(f"{option}: {error}; write a glob such as '*.md' or 'drafts/**'") from error


def _descend(walk: _Walk) -> None:
    waiting: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [("", [])]
    while waiting:
        folder, ignores = waiting.pop()
        here = walk.root / folder
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda each: each.name)
        except OSError as error:
            walk.broken.append((folder, f"folder cannot be read: {(error.strerror or 'unknown').lower()}"))
            continue
        names = {each.name for each in found}
        _read_rules(walk, here, folder, present=FILE_NAME in names)
        ignores = [*ignores, *_ignores(walk, here, folder, names)]
        for entry in found:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or _ignored(relative, entry.is_dir(follow_symlinks=False), ignores):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not walk.exclude.match_file(f"{relative}/"):
                    waiting.append((relative, ignores))
                continue
            try:
                _consider(walk, relative, Path(entry.path), entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue


def _consider(walk: _Walk, relative: str, path: Path, status: os.stat_result) -> None:
    if walk.exclude.match_file(relative) or (walk.include is not None and not walk.include.match_file(relative)):
        return
    name = unicodedata.normalize("NFC", relative)
    if stat.S_ISLNK(status.st_mode):
        walk.skipped.append((name, "a symbolic link"))
    elif not stat.S_ISREG(status.st_mode):
        walk.skipped.append((name, "not a regular file"))
    elif _MEDIA.search(name):
        walk.skipped.append((name, f"no reader for {path.suffix.lower()}"))
    elif any("\ud800" <= character <= "\udfff" for character in name):
        walk.broken.append((name, "its name is not UTF-8"))
    else:
        walk.files.append(
            FoundFile(
                document=f"{walk.name}/{name}",
                relative=name,
                path=path,
                bytes=status.st_size,
                mtime_ns=status.st_mtime_ns,
            )
        )


def _read_rules(walk: _Walk, here: Path, folder: str, *, present: bool = True) -> None:
    if not present:
        return
    try:
        descriptor = os.open(here / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        walk.broken.append((folder, f"{FILE_NAME} cannot be read: {(error.strerror or 'unknown').lower()}"))
        return
    with os.fdopen(descriptor, "rb") as file:
        try:
            text = file.read(_RULES_MAX_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            walk.broken.append((folder, f"{FILE_NAME} cannot be read: {error}"))
        else:
            walk.rules.append((unicodedata.normalize("NFC", folder), text))


def _ignores(walk: _Walk, here: Path, folder: str, names: set[str]) -> list[tuple[str, GitIgnoreSpec]]:
    found = []
    for name in IGNORE_FILES:
        if name in names:
            try:
                spec = GitIgnoreSpec.from_lines((here / name).read_text(encoding="utf-8-sig").splitlines())
            except (OSError, ValueError) as error:
                walk.skipped.append((f"{folder}/{name}".lstrip("/"), f"cannot be read: {error}"))
            else:
                found.append((f"{folder}/" if folder else "", spec))
    return found


def _ignored(relative: str, is_folder: bool, ignores: Sequence[tuple[str, GitIgnoreSpec]]) -> bool:
    verdict = False
    for prefix, spec in ignores:
        result = spec.check_file(relative[len(prefix) :] + ("/" if is_folder else "")).include
        verdict = verdict if result is None else result
    return verdict
