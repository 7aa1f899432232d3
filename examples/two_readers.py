"""The Python API in one page: a folder, two people, and a document that changes hands."""

from pathlib import Path
from tempfile import TemporaryDirectory

from rag_qdrant import Query, View, open_app, search, share, unshare

FILES = {
    "handbook.md": "# Handbook\n\nEverybody has 27 days of leave, and salaries are reviewed each March.\n",
    "budget.md": "# Budget\n\nThe pay rise planned for 2026 is 3.2 percent, from April.\n",
    ".ragacl.toml": 'default = "everyone"\n\n[[rule]]\npath = "budget.md"\nallow = ["user:carla"]\n',
}
QUESTION = Query(text="How large is the pay rise?", limit=2)


def main() -> None:
    """Ingest, then look as Ana before and after she is let in."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "company"
        folder.mkdir()
        for name, text in FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
        admin = open_app(index=f"edge:{place}/index")
        ana = open_app(index=f"edge:{place}/index", as_=["user:ana"])
        with admin.open_index(create=True) as index:
            admin.ingest(index, [folder])
            everything = View.administrator(index)

            def seen() -> list[str]:
                return [hit.chunk.document for hit in search(ana.view(index), QUESTION, embedder=admin.embedder)]

            print("Ana finds", seen())
            share(everything, "company/budget.md", frozenset({"user:ana"}))
            print("after share", seen())
            unshare(everything, "company/budget.md", frozenset({"user:ana"}))
            print("after unshare", seen())


if __name__ == "__main__":
    main()
