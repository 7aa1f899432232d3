"""Where a document's readers come from: the `.ragacl.toml` files of a tree, evaluated root to leaf."""

import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from rag_qdrant.domain.access import EVERYONE, PUBLIC, Acl, Principals, principal, principals
from rag_qdrant.errors import UsageError

FILE_NAME = ".ragacl.toml"

Line = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One step of the evaluation: where `pattern` matches, `allow` replaces and `deny` accumulates."""

    pattern: str
    allow: Principals | None = None
    deny: Principals = frozenset()
    label: str = ""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_spec", GitIgnoreSpec.from_lines([self.pattern]))
        except ValueError as error:
            raise UsageError(f"{self.label}: the path {self.pattern!r} is no pattern: {error}") from error

    def matches(self, path: str) -> bool:
        """Whether the pattern covers `path`, relative to the folder of the rule, by git's pattern rules."""
        spec: GitIgnoreSpec = self._spec  # type: ignore[attr-defined]
        return spec.match_file(path)


@dataclass(frozen=True, kw_only=True)
class RuleFile:
    """The rules of one folder; `folder` is its path relative to the root, with `/`, empty for the root."""

    folder: str
    rules: tuple[Rule, ...]
    trust_embedded: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The readers that the rules give a document, and the steps that led there."""

    acl: Acl
    trail: tuple[str, ...]
    trust_embedded: bool = False


def decide(path: str, files: Sequence[RuleFile], *, root: Rule, owner: str | None) -> Decision:
    """Evaluate the rules for the document at `path` (relative to the root, with `/`).

    `root` is the source's own rule, from `--allow` and `--deny`; it stands before the first file. `files` may come
    in any order: only those of folders above the path count, root to leaf.
    """
    path = unicodedata.normalize("NFC", path)
    allow, deny, trail = frozenset(root.allow or ()), set(root.deny), []
    if root.allow or root.deny:
        trail.append(_step(root))
    trusted = False
    for file in sorted(files, key=lambda each: each.folder.count("/") if each.folder else -1):
        prefix = f"{file.folder}/" if file.folder else ""
        if not path.startswith(prefix):
            continue
        trusted = file.trust_embedded
        for rule in file.rules:
            if rule.matches(path[len(prefix) :]):
                allow = rule.allow if rule.allow is not None else allow
                deny |= rule.deny
                trail.append(_step(rule))
    if owner is not None:
        allow |= {owner}
    return Decision(acl=Acl(allow=allow, deny=frozenset(deny)), trail=tuple(trail), trust_embedded=trusted)


def _step(rule: Rule) -> str:
    parts = [rule.label]
    if rule.allow is not None:
        parts.append("allow " + (", ".join(sorted(rule.allow)) or "private"))
    if rule.deny:
        parts.append("deny " + ", ".join(sorted(rule.deny)))
    return ": ".join((parts[0], "; ".join(parts[1:]))) if len(parts) > 1 else parts[0]


def root_rule(allow: Sequence[str], deny: Sequence[str]) -> Rule:
    """The rule of `--allow` and `--deny`; `private` among the allowed means nobody but the owner."""
    allowed = _allowed(list(allow), "--allow") if allow else frozenset()
    return Rule(pattern="**", allow=allowed, deny=principals(deny), label="--allow/--deny")


def parse_rules(text: str, *, folder: str) -> RuleFile:
    """Parse one `.ragacl.toml`; an unknown key, a bad principal or bad TOML is a UsageError that names the place."""
    name = f"{folder}/{FILE_NAME}" if folder else FILE_NAME
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise UsageError(f"{name}: {error or 'nested too deeply'}") from error
    rules: list[Rule] = []
    try:
        _only(data, {"default", "rule", "trust_embedded"}, "the file")
        if "default" in data:
            rules.append(Rule(pattern="**", allow=_allowed(data["default"], "default"), label=f"{name} default"))
        tables = data.get("rule", [])
        if not isinstance(tables, list):
            raise UsageError("rules are written [[rule]], with two brackets")
        rules.extend(_rule(table, f"{name} rule {number}") for number, table in enumerate(tables, start=1))
        trusted = data.get("trust_embedded", False)
        if not isinstance(trusted, bool):
            raise UsageError("trust_embedded must be true or false")
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    return RuleFile(folder=folder, rules=tuple(rules), trust_embedded=trusted)


def _rule(table: object, label: str) -> Rule:
    if not isinstance(table, Mapping):
        raise UsageError("a rule must be a table: [[rule]]")
    _only(table, {"path", "allow", "deny"}, "[[rule]]")
    pattern = table.get("path")
    if not isinstance(pattern, str) or not pattern.strip():
        raise UsageError('a rule needs a path, such as path = "finance/**"')
    _check_pattern(pattern)
    if "allow" not in table and "deny" not in table:
        raise UsageError(f"the rule for {pattern!r} has neither allow nor deny")
    allow = _allowed(table["allow"], "allow") if "allow" in table else None
    deny = principals(_strings(table.get("deny", []), "deny"))
    pattern = unicodedata.normalize("NFC", pattern)
    return Rule(pattern=pattern, allow=allow, deny=deny, label=label)


def _check_pattern(pattern: str) -> None:
    """Refuse what git's rules would take for a comment or an exception, or can never match: a denial must deny."""
    if pattern.startswith(("!", "#")):
        raise UsageError(f"the path {pattern!r} starts with {pattern[0]!r}; put a backslash before it if it is meant")
    parts = pattern.strip("/").split("/")
    if pattern != pattern.strip() or not all(parts) or {".", ".."} & set(parts) or pattern.endswith("\\"):
        raise UsageError(f'the path {pattern!r} matches nothing; write it from the folder of the file, as "finance/**"')


def _allowed(value: object, key: str) -> Principals:
    """`private`, `everyone`, `public` or a list of principals; `private` adds nobody to the owner."""
    if isinstance(value, str):
        if value == "private":
            return frozenset()
        if value in (EVERYONE, PUBLIC):
            return frozenset({value})
        raise UsageError(f'{key} = "{value}"; write "private", "everyone", "public" or a list such as ["group:staff"]')
    entries = _strings(value, key)
    return frozenset(principal(entry) for entry in entries if entry != "private")


def _strings(value: object, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UsageError(f'{key} must be a list of principals, such as ["group:staff"]')
    return value


def _only(table: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r} in {where}; known: {', '.join(sorted(known))}")
