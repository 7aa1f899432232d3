"""The embedder in process: the packaged model, and any folder with a model and its tokenizer."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rag_qdrant.adapters.models import onnx
from rag_qdrant.errors import StateConflict, UsageError


@pytest.fixture(scope="module")
def model() -> onnx.OnnxEmbedder:
    return onnx.open_embedder("all-MiniLM-L6-v2")


@pytest.fixture
def model_folder(tmp_path: Path, model: onnx.OnnxEmbedder) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    shutil.copy(model._files.model, folder / "model.onnx")
    shutil.copy(model._files.tokenizer, folder / "tokenizer.json")
    return folder


def test_like_is_near_and_unlike_is_far(model: onnx.OnnxEmbedder) -> None:
    rows = model.embed(["The cat sat on the mat.", "A cat was sitting on a mat.", "Revenue grew."], role="document")
    assert rows.shape == (3, model.dim) == (3, 384)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert rows[0] @ rows[1] > 0.8
    assert rows[0] @ rows[2] < 0.3


def test_a_batch_gives_each_text_the_vector_that_it_has_alone(model: onnx.OnnxEmbedder) -> None:
    texts = [
        "short",
        "a somewhat longer text about tides",
        "",
        "日本語の文",
        "x " * 200,
        "\ud800 lone",
        "tide\x00gauge",
    ]
    together = model.embed(texts * 3, role="document")
    for place, text in enumerate(texts):
        assert together[place] == pytest.approx(model.embed([text], role="document")[0], abs=1e-4)
    assert model.embed([], role="document").shape == (0, 384)


def test_tokens_are_counted_as_the_model_sees_them_and_nothing_is_cut_in_silence(model: onnx.OnnxEmbedder) -> None:
    assert model.count_tokens(["", "hello", "hello world"]) == [2, 3, 4]
    assert model.embed(["hello " * 254], role="query").shape == (1, 384)
    with pytest.raises(UsageError, match=r"257 tokens.*takes 256"):
        model.embed(["hello " * 255], role="query")


def test_a_folder_with_model_and_tokenizer_takes_its_place(model: onnx.OnnxEmbedder, model_folder: Path) -> None:
    (model_folder / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    other = onnx.open_embedder(str(model_folder))
    assert (other.spec, other.max_tokens, other.dim) == (f"onnx:{model_folder}", 128, 384)
    assert other.embed(["tide"], role="query") == pytest.approx(model.embed(["tide"], role="query"), abs=1e-5)
    assert other.fingerprint != model.fingerprint


@pytest.mark.parametrize("pooling", ["pooling_mode_cls_token", "pooling_mode_lasttoken"])
def test_pooling_and_prefixes_are_read_from_the_folder(model_folder: Path, pooling: str) -> None:
    plain = onnx.open_embedder(str(model_folder))
    (model_folder / "1_Pooling").mkdir()
    (model_folder / "1_Pooling" / "config.json").write_text(json.dumps({pooling: True}))
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    (model_folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    other = onnx.open_embedder(str(model_folder))
    assert other.fingerprint != plain.fingerprint
    query, document = (other.embed(["tide"], role=role)[0] for role in ("query", "document"))
    assert query @ document < 0.999
    assert other.count_tokens(["tide"]) == [plain.count_tokens(["passage: tide"])[0]]


def test_a_folder_that_is_none_says_what_is_wanted(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(UsageError, match="onnx:all-MiniLM-L6-v2"):
        onnx.open_embedder(str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"no model\.onnx"):
        onnx.open_embedder(str(tmp_path))
    (model_folder / "config.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        onnx.open_embedder(str(model_folder))
    (model_folder / "config.json").unlink()
    (model_folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match="ONNX Runtime"):
        onnx.open_embedder(str(model_folder)).embed(["x"], role="query")
    (model_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="not a tokenizer"):
        onnx.open_embedder(str(model_folder)).count_tokens(["x"])
    (model_folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"no tokenizer\.json"):
        onnx.open_embedder(str(model_folder))


def test_a_packaged_file_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_MODEL_SHA256", "0" * 64)
    with pytest.raises(StateConflict, match="force-reinstall"):
        onnx.open_embedder("")
    monkeypatch.setattr(onnx, "_MODEL", ("no-such-package", "x"))
    with pytest.raises(UsageError, match="pip install no-such-package"):
        onnx.open_embedder("")
