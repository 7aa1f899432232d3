"""Who may read what: principals, access lists and the scopes in which an index is read or changed."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rag_qdrant.errors import UsageError

PUBLIC = "public"
EVERYONE = "everyone"
MAX_ENTRIES = 256
"""An access list with more entries than this is refused, never cut."""

Principals = frozenset[str]

# Control and format characters (bidirectional controls among them), surrogates, separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_ASCII_UPPER = re.compile(r"[A-Z]+")


def principal(text: str) -> str:
    """The canonical form of `public`, `everyone`, `user:ID` or `group:ID`.

    An ID has 1 to 200 characters without white space, control or bidirectional characters; it is kept in
    Unicode NFC with ASCII letters in lower case, on both sides of every comparison.

    >>> principal("user:Ana@Example.com")
    'user:ana@example.com'
    """
    if text in (PUBLIC, EVERYONE):
        return text
    kind, colon, name = text.partition(":")
    if kind not in ("user", "group") or not colon:
        raise UsageError(f"no principal {text!r}; write public, everyone, user:NAME or group:NAME")
    name = _ASCII_UPPER.sub(lambda match: match.group().lower(), unicodedata.normalize("NFC", name))
    if not 1 <= len(name) <= 200:
        raise UsageError(f"the name in {text[:40]!r} has {len(name)} characters; it may have 1 to 200")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        raise UsageError(f"the name in {text!r} has white space, control or bidirectional characters; leave them out")
    return f"{kind}:{name}"


def principals(texts: Iterable[str]) -> Principals:
    """The canonical forms of several principals."""
    return frozenset(principal(text) for text in texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Acl:
    """Who may read a document: in `allow` and not in `deny`; deny wins; empty means nobody."""

    allow: Principals = frozenset()
    deny: Principals = frozenset()

    def __post_init__(self) -> None:
        if len(self.allow) + len(self.deny) > MAX_ENTRIES:
            raise UsageError(
                f"{len(self.allow) + len(self.deny)} readers on one document; at most {MAX_ENTRIES}: use a group"
            )

    def readable_by(self, viewer: Principals) -> bool:
        """Whether somebody who is all of `viewer` may read; the definition that every index is tested against."""
        return bool(self.allow & viewer) and not self.deny & viewer

    def as_payload(self) -> dict[str, list[str]]:
        """The one object that is stored, always whole."""
        return {"allow": sorted(self.allow), "deny": sorted(self.deny)}


NOBODY = Acl()


def acl_from_payload(value: object) -> Acl:
    """The access list in a stored object; missing or malformed means nobody."""
    if not isinstance(value, Mapping) or set(value) != {"allow", "deny"}:
        return NOBODY
    allow, deny = value["allow"], value["deny"]
    for entries in (allow, deny):
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            return NOBODY
    if len(allow) + len(deny) > MAX_ENTRIES:
        return NOBODY
    return Acl(allow=frozenset(allow), deny=frozenset(deny))


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What `share` and `unshare` changed by hand, kept apart from the rules so that it survives every sync."""

    shared: Principals = frozenset()
    unshared: Principals = frozenset()

    def __bool__(self) -> bool:
        return bool(self.shared or self.unshared)

    def share(self, added: Principals) -> "Overrides":
        """These overrides after `added` were let in."""
        return Overrides(shared=self.shared | added, unshared=self.unshared - added)

    def unshare(self, taken: Principals) -> "Overrides":
        """These overrides after `taken` were put out."""
        return Overrides(shared=self.shared - taken, unshared=self.unshared | taken)

    def apply(self, rules: Acl) -> Acl:
        """The access list that holds: the rules' with the overrides after them.

        Who was put out leaves `allow` whatever the rules grant. A single user is denied as well, because a group
        may let them in; a group is not, because its members may have been let in by name.
        """
        users = frozenset(name for name in self.unshared if name.startswith("user:"))
        return Acl(allow=(rules.allow | self.shared) - self.unshared, deny=rules.deny | users)

    def tightened(self, other: "Overrides") -> "Overrides":
        """These overrides with everybody out whom the other put out."""
        return self.unshare(other.unshared)

    def merged(self, other: "Overrides") -> "Overrides":
        """The tighter of two: put out by either stays out, let in only by both."""
        return Overrides(shared=self.shared & other.shared, unshared=self.unshared | other.unshared)


@dataclass(frozen=True, slots=True)
class Readers:
    """Content as the given principals may read it."""

    principals: Principals


@dataclass(frozen=True, slots=True)
class Managers:
    """The ledger, patches and deletions of the sources that the given principals own; no text comes back."""

    principals: Principals


@dataclass(frozen=True, slots=True)
class Administrator:
    """Everything: an explicit match-all."""


Scope = Readers | Managers | Administrator


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Who is in which group, expanded for the viewer at each request and never in a document."""

    members: Mapping[str, Principals] = field(default_factory=dict)

    def of(self, names: Principals) -> Principals:
        """Everything that somebody who is all of `names` is; groups may hold groups."""
        if names == {PUBLIC}:
            return names
        found = set(names) | {PUBLIC, EVERYONE}
        while True:
            more = {group for group, members in self.members.items() if group not in found and members & found}
            if not more:
                return frozenset(found)
            found |= more


def groups_from_mapping(data: Mapping[str, object]) -> Groups:
    """The groups in a parsed `principals.toml`: one table `[groups]`, names to lists of principals."""
    unknown = sorted(set(data) - {"groups"})
    if unknown:
        raise UsageError(f"unknown table [{unknown[0]}] in the groups file; it has one table, [groups]")
    table = data.get("groups", {})
    if not isinstance(table, Mapping):
        raise UsageError("`groups` in the groups file must be a table: [groups]")
    members: dict[str, Principals] = {}
    for name, value in table.items():
        group = principal(f"group:{name}")
        if group in members:
            raise UsageError(f"{group} stands twice in the groups file")
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise UsageError(f"{group} in the groups file must be a list of principals, such as ['user:ana']")
        members[group] = principals(value)
        if members[group] & {PUBLIC, EVERYONE}:
            raise UsageError(f"{group} in the groups file holds public or everyone; name users and groups")
    return Groups(members=members)
