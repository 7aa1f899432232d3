"""What `rag-qdrant search` stands on, without it: its libraries, its model and one hybrid query, from the shell."""

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
import qdrant_edge as qe
import tokenizers
import typer
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError

LIBRARIES = (dotenv_values, BaseModel, ConfigDict, Field, ValidationError, typer)
"""Imported because ours are, name by name: their time is the libraries', not ours."""


def main(shard_folder: str, model: str, tokenizer: str, query: str) -> None:
    shard = qe.EdgeShard.load(shard_folder)
    terms = qe.Bm25(qe.Bm25Config(k=1.2, b=0.75, avg_len=100.0, language="english")).embed_query(query)
    live = qe.Filter(must=[_any_of("kind", ["chunk"]), _any_of("live", [1])])
    exact = qe.SearchParams(exact=True)
    ranked = qe.SearchParams(exact=True, idf=qe.IdfParams(live))
    nearest, matching = (
        qe.Query.Nearest(_vector(model, tokenizer, query), using="dense"),
        qe.Query.Nearest(terms, using="terms"),
    )
    legs = [
        qe.QueryRequest(limit=100, query=nearest, filter=live, params=exact),
        qe.QueryRequest(limit=100, query=matching, filter=live, params=ranked),
    ]
    dense, _ = shard.query_batch(qe.QueryBatchRequest(legs))
    for record in shard.retrieve([point.id for point in dense[:10]], True, False):
        sys.stdout.write(json.dumps(record.payload) + "\n")
    shard.close()


def _any_of(field: str, values: list[str] | list[int]) -> Any:
    return qe.FieldCondition(field, match=qe.MatchAny(values))


def _vector(model: str, tokenizer: str, text: str) -> list[float]:
    """As adapters/models/onnx.py makes it for one query: no graph optimisation, no spinning threads."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    encoder = tokenizers.Tokenizer.from_file(tokenizer)
    encoder.no_truncation()
    encoder.no_padding()
    ids = np.array([encoder.encode(text).ids], np.int64)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    pooled = np.asarray(session.run(None, given)[0])[0].mean(axis=0)
    return [float(each) for each in pooled / np.linalg.norm(pooled)]


if __name__ == "__main__":
    main(*sys.argv[1:])
