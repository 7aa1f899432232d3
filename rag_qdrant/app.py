"""The composition root: settings to collaborators, each built when it is first needed."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rag_qdrant import registry
from rag_qdrant.domain.access import Groups, Principals, groups_from_mapping, principal, principals
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.errors import NothingFound, StateConflict, UsageError
from rag_qdrant.ports import ChatModel, Embedder, Extractor, Index, Reranker, Tree
from rag_qdrant.settings import Resolved, Settings, resolve
from rag_qdrant.usecases.ingest import IngestReport, IngestRequest, Silent, ingest
from rag_qdrant.view import View


@dataclass(eq=False)
class App:
    """What one command works with; `as_names` are the principals of `--as`, none for the administrator."""

    resolved: Resolved
    as_names: tuple[str, ...] = ()

    @property
    def groups_file(self) -> Path:
        """Where the groups are looked for."""
        return (self.resolved.settings.groups or self.resolved.config_folder / "principals.toml").expanduser()

    @property
    def index_spec(self) -> str:
        """The index of the settings, with the place that `edge:` stands for."""
        spec = self.resolved.settings.index
        return f"edge:{self.resolved.data_folder / 'index'}" if spec in ("edge:", "edge") else spec

    @cached_property
    def groups(self) -> Groups:
        """The groups file, read now; a file that was named must be there."""
        path = self.groups_file
        if self.resolved.settings.groups is None and not os.path.lexists(path):
            return Groups()
        try:
            return groups_from_mapping(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            # Never taken for no groups: a denial of a group would be lifted.
            raise UsageError(f"no groups file {str(path)!r} can be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: {error}") from error

    @cached_property
    def viewer(self) -> Principals | None:
        """All that `--as` stands for, groups expanded; None is the administrator."""
        return self.principals_of(self.as_names) if self.as_names else None

    def principals_of(self, names: Sequence[str]) -> Principals:
        """The principals that somebody who goes by these names is."""
        return self.groups.of(principals(names))

    @cached_property
    def user(self) -> str | None:
        """RAG_USER as a principal."""
        name = self.resolved.settings.user
        return principal(name if name is None or ":" in name else f"user:{name}") if name else None

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder of the settings."""
        return registry.embedder(self.resolved.settings.embed)

    @cached_property
    def chat(self) -> ChatModel | None:
        """The chat model of the settings, if there is one."""
        spec = self.resolved.settings.chat
        return None if spec == "none" else registry.chat_model(spec)

    @cached_property
    def reranker(self) -> Reranker | None:
        """The reranker of the settings, if there is one."""
        spec = self.resolved.settings.rerank
        return None if spec == "none" else registry.reranker(spec)

    def following(self, index: Index) -> "App":
        """This app with the embedder that the index was made with, unless another was asked for."""
        if self.resolved.origins["embed"] != "default" or index.meta.embedder == self.resolved.settings.embed:
            return self
        settings = self.resolved.settings.model_copy(update={"embed": index.meta.embedder})
        return App(replace(self.resolved, settings=settings), self.as_names)

    def embedder_for(self, index: Index) -> Embedder:
        """The embedder, if it is the one that the index was made with; StateConflict says what to do otherwise."""
        embedder, meta = self.following(index).embedder, index.meta
        if embedder.spec != meta.embedder:
            raise StateConflict(
                f"this index was made with {meta.embedder}, not {embedder.spec}: leave --embed and RAG_EMBED out to "
                "use that one, or ingest into another --index or --collection"
            )
        if embedder.fingerprint != meta.fingerprint or embedder.dim != meta.dim:
            raise StateConflict(
                f"{meta.embedder} has changed since this index was made (model, tokenizer or prefixes): bring the old "
                "files back, or ingest into another --index or --collection"
            )
        return embedder

    def open_index(self, *, create: bool = False) -> Index:
        """The index of the settings; made if `create`."""
        settings = self.resolved.settings
        opener, place = registry.index_opener(self.index_spec)
        name = settings.collection
        if not name or name.startswith(".") or "/" in name or "\\" in name or len(name) > 100:
            raise UsageError(f"no collection {name!r}; letters, digits, - and _ make a name")
        try:
            return opener(place, collection=name, create=None)
        except NothingFound:
            if not create:
                raise
        return opener(place, collection=name, create=self._meta())

    def _meta(self) -> IndexMeta:
        settings, embedder = self.resolved.settings, self.embedder
        return IndexMeta(
            embedder=embedder.spec,
            fingerprint=embedder.fingerprint,
            dim=embedder.dim,
            language=settings.bm25_language,
            average_length=settings.bm25_average_length,
        )

    def view(self, index: Index) -> View:
        """The index as `--as` says, or as its administrator."""
        return View.administrator(index) if self.viewer is None else View.of(index, self.viewer)

    def administrator(self, index: Index) -> View:
        """The whole index: whoever can open it here holds its files."""
        return View.administrator(index)

    def evaluation_index(self, name: str) -> Index:
        """The index that a judged collection is measured in: its own, kept so that a second run embeds nothing."""
        resolved = self.resolved
        place = {} if resolved.origins["index"] == "flag" else {"index": f"edge:{resolved.data_folder / 'eval'}"}
        settings = resolved.settings.model_copy(update={"collection": f"eval-{name}"[:100], **place})
        return App(replace(resolved, settings=settings)).open_index(create=True)

    def trees(self, paths: Sequence[Path], include: Sequence[str], exclude: Sequence[str]) -> list[Tree]:
        """What lies under the paths now."""
        from rag_qdrant.adapters.files import Selection, find_tree  # noqa: PLC0415 - only a sync needs it

        return [find_tree(path, Selection(include=include, exclude=exclude)) for path in paths]

    def ingest(self, index: Index, paths: Sequence[Path], request: IngestRequest | None = None) -> IngestReport:
        """Sync folders and files into an index, under this app's view, without a word to a terminal."""
        extractor = self.extractor()
        try:
            return ingest(
                self.view(index),
                self.trees(paths, (), ()),
                request or IngestRequest(),
                embedder=self.embedder_for(index),
                extractor=extractor,
                progress=Silent(),
            )
        finally:
            extractor.close()

    def extractor(self) -> Extractor:
        """Readers in child processes, with the limits of the settings."""
        from rag_qdrant.adapters.readers.pool import ReaderPool  # noqa: PLC0415 - only a sync needs it

        settings = self.resolved.settings
        return ReaderPool(
            seconds=settings.read_timeout_s,
            max_bytes=settings.max_file_mb * 1_000_000,
            memory_bytes=settings.read_memory_mb << 20,
        )


def open_app(*, as_: Sequence[str] = (), env_file: Path | None = None, **settings: object) -> App:
    """An App from settings by their names (`index="edge:./index"`), over the environment and `.env`.

    `as_` names principals whose view `App.view` then gives; without any it is the administrator's.
    """
    unknown = sorted(set(settings) - set(Settings.model_fields))
    if unknown:
        raise UsageError(f"no setting {unknown[0]!r}; settings: {', '.join(Settings.model_fields)}")
    return App(resolve(settings, env_file=env_file), tuple(as_))
