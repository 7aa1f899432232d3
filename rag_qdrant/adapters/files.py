"""The tree under a PATH: which files are documents, and which rules lie beside them; links are never followed."""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from rag_qdrant.domain.rules import FILE_NAME
from rag_qdrant.errors import UsageError
from rag_qdrant.ports import FoundFile, Tree

IGNORE_FILES = (".gitignore", ".ragignore")
_SMALL_BYTES = 1 << 20

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
    folders: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def breaks(self, place: str, reason: str) -> None:
        """A folder or file that is left as it is in the index, in the form in which names are compared."""
        self.broken.append((unicodedata.normalize("NFC", place), reason))


def find_tree(path: Path, selection: Selection) -> Tree:
    """What is under a folder, or a single file as part of the folder that it lies in."""
    try:
        resolved = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"no file or folder {str(path)!r}; to drop what is indexed, rag-qdrant remove") from error
    single = not resolved.is_dir()
    if single and not resolved.is_file():
        raise UsageError(f"{path} is neither a file nor a folder")
    root = resolved.parent if single else resolved
    if not root.name or any("\ud800" <= character <= "\udfff" for character in root.name):
        raise UsageError(f"{root} has no name in UTF-8 to call its documents by; name another folder")
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
    _part_twins(walk)
    return Tree(
        name=walk.name,
        root=root,
        files=tuple(sorted(walk.files, key=lambda each: each.relative)),
        rules=tuple(walk.rules),
        broken=tuple(walk.broken),
        skipped=tuple(sorted(walk.skipped)),
        whole=not single,
    )


def _part_twins(walk: _Walk) -> None:
    """Leave alone what differs in Unicode form only: one's rules would open the other."""
    for names in ([file.relative for file in walk.files], walk.folders):
        for name, number in Counter(names).items():
            if number > 1:
                walk.breaks(name, "two names here differ only in their Unicode form: rename one")


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
            walk.breaks(folder, f"folder cannot be read: {_reason(error)}")
            continue
        names = {each.name for each in found}
        walk.folders.append(unicodedata.normalize("NFC", folder))
        _read_rules(walk, here, folder, present=FILE_NAME in names)
        ignores = [*ignores, *_ignores(walk, here, folder, names)]
        for entry in found:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or _ignored(relative, entry.is_dir(follow_symlinks=False), ignores):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not walk.exclude.match_file(f"{relative}/"):
                    waiting.append((relative, ignores))
            else:
                _look_at(walk, relative, entry)


def _look_at(walk: _Walk, relative: str, entry: os.DirEntry[str]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        walk.breaks(relative, f"cannot be read: {_reason(error)}")
        return
    _consider(walk, relative, Path(entry.path), status)


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
        walk.breaks(name.encode("utf-8", "replace").decode(), "its name is not UTF-8")
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


def _read_rules(walk: _Walk, here: Path, folder: str, *, present: bool | None = None) -> None:
    """The folder's rules, or the folder as broken: rules that were seen but cannot be read are never taken for none."""
    if present is False:
        return
    try:
        text = _small_file(here / FILE_NAME)
    except FileNotFoundError as error:
        if present:
            walk.breaks(folder, f"{FILE_NAME} vanished: {error.strerror}")
    except (OSError, ValueError) as error:
        walk.breaks(folder, f"{FILE_NAME} cannot be read: {_reason(error)}")
    else:
        walk.rules.append((unicodedata.normalize("NFC", folder), text))


def _small_file(path: Path) -> str:
    """The text of a regular file of at most 1 MiB that is no link: what lies in a tree is not trusted."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = b""
        while len(data) <= _SMALL_BYTES and (part := os.read(descriptor, _SMALL_BYTES + 1)):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > _SMALL_BYTES:
        raise ValueError("larger than 1 MiB")
    return data.decode("utf-8-sig")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "unknown").lower() if isinstance(error, OSError) else str(error)


def _ignores(walk: _Walk, here: Path, folder: str, names: set[str]) -> list[tuple[str, GitIgnoreSpec]]:
    found = []
    for name in IGNORE_FILES:
        if name in names:
            try:
                spec = GitIgnoreSpec.from_lines(_small_file(here / name).splitlines())
            except (OSError, ValueError) as error:
                # What it would have left out must not come in meanwhile.
                walk.breaks(folder, f"{name} cannot be read: {_reason(error)}")
            else:
                found.append((f"{folder}/" if folder else "", spec))
    return found


def _ignored(relative: str, is_folder: bool, ignores: Sequence[tuple[str, GitIgnoreSpec]]) -> bool:
    verdict = False
    for prefix, spec in ignores:
        result = spec.check_file(relative[len(prefix) :] + ("/" if is_folder else "")).include
        verdict = verdict if result is None else result
    return verdict
