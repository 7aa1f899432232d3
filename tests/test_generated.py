"""What is generated from the code is what the code says now, and the public names are those that were promised."""

import ast
from pathlib import Path

import rag_qdrant
from docs.generate import help_text
from rag_qdrant.settings import env_example, markdown_table

ROOT = Path(__file__).parent.parent


def test_env_example_is_generated_from_the_settings() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()


def test_the_readme_shows_the_help_and_the_settings_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert help_text() in readme
    assert markdown_table() in readme


def test_the_public_names_are_few_and_each_is_there() -> None:
    assert dir(rag_qdrant) == [
        "App", "Hit", "IngestRequest", "Query", "RagError", "View", "ask", "ingest", "open_app", "search", "share",
        "unshare",
    ]  # fmt: skip
    for name in dir(rag_qdrant):
        assert callable(getattr(rag_qdrant, name))


def test_every_file_and_function_keeps_its_size() -> None:

    long: list[str] = []
    for path in sorted((ROOT / "rag_qdrant").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{path.name}: more than 400 lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    long.append(f"{path.name}:{node.lineno} {node.name}: {size} lines")
    assert long == []
