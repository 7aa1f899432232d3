"""The command line's contract: what scripts read, what people read, and how a command ends."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import qdrant_edge as qe

from rag_qdrant.adapters.indexes.edge import folder as edge_folder
from rag_qdrant.adapters.indexes.edge.shard import META_ID
from rag_qdrant.errors import IndexBusy
from rag_qdrant.testing.fakes import HashEmbedder
from tests.cli import Cli
from tests.syncing import write

pytestmark = pytest.mark.usefixtures("fake_models")

FILES = {
    "leave.md": "# Leave\n\nEverybody has 27 days of leave.\n\n## Parental\n\n"
    "Parents take 12 weeks of parental leave.\n",
    "pay.txt": "The pay rise is 3 percent in April.\n",
    ".ragacl.toml": 'default = "everyone"\n[[rule]]\npath = "pay.txt"\nallow = ["group:finance"]\n',
}
HIT = {
    "rank", "score", "id", "document", "source", "type", "title", "section", "pages", "lines", "start", "end", "text",
    "tags", "modified",
}  # fmt: skip


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Cli:
    monkeypatch.setenv("RAG_INDEX", f"edge:{folder / 'index'}")
    write(folder / "hr", FILES)
    (folder / "principals.toml").write_text('[groups]\nfinance = ["user:carla"]\n')
    monkeypatch.setenv("RAG_GROUPS", str(folder / "principals.toml"))
    return Cli(capsys, monkeypatch)


@pytest.fixture
def filled(cli: Cli) -> Cli:
    assert cli("ingest", "hr", "--tag", "team=people", "--owner", "user:olga").code == 0
    return cli


def test_ingest_says_what_it_did_and_who_can_read_it(cli: Cli) -> None:
    ran = cli("ingest", "hr")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "hr: 2 added; 2 documents, 2 passages",
        "who can read it: everyone 1, group:finance 1",
    ]
    again = cli("ingest", "hr", "--json").json
    keys = {"source", "added", "updated", "unchanged", "removed", "failed", "documents", "chunks", "seconds"}
    assert keys <= set(again)
    assert (again["added"], again["unchanged"], again["failed"]) == (0, 2, [])


def test_search_json_has_every_key_and_absent_facts_are_null(filled: Cli) -> None:
    ran = filled("search", "parental leave", "--json")
    assert ran.code == 0
    found = ran.json
    assert set(found) == {"query", "mode", "hits", "seconds"}
    assert set(found["seconds"]) == {"embed", "search", "rerank"}
    first = found["hits"][0]
    assert set(first) == HIT
    assert (first["rank"], first["document"], first["source"], first["type"]) == (1, "hr/leave.md", "hr", "markdown")
    assert (first["title"], first["pages"], first["tags"]) == ("Leave", None, {"team": "people"})
    assert FILES["leave.md"][first["start"] : first["end"]] == first["text"]
    assert first["lines"] == [1, 7]


def test_two_people_get_what_each_may_read(filled: Cli) -> None:
    carla = filled("search", "pay rise", "--as", "user:carla", "--json").json
    assert "hr/pay.txt" in [hit["document"] for hit in carla["hits"]]
    ben = filled("search", "pay rise", "--as", "user:ben", "--json").json
    assert [hit["document"] for hit in ben["hits"]] == ["hr/leave.md"]
    nobody = filled("search", "pay rise", "--as", "public")
    assert (nobody.code, nobody.out, nobody.err) == (3, "", "rag-qdrant: nothing found\n")


def test_filters_narrow_a_search(filled: Cli) -> None:
    for arguments, names in (
        (("--type", "text"), ["hr/pay.txt"]),
        (("--tag", "team=people", "--where", "type != text"), ["hr/leave.md"]),
        (("--since", "2001-01-01", "--source", "hr", "--type", "markdown"), ["hr/leave.md"]),
        (("--until", "2001-01-01"), []),
    ):
        found = filled("search", "leave pay", "--json", *arguments)
        assert [hit["document"] for hit in found.json["hits"]] == names
        assert found.code == (0 if names else 3)


def test_many_queries_give_one_object_a_line(filled: Cli, folder: Path) -> None:
    (folder / "queries.txt").write_bytes("\ufeffparental leave\r\n\r\npay rise\r\n".encode())
    ran = filled("search", "--queries", "queries.txt")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["query"] for line in lines] == ["parental leave", "pay rise"]
    assert all(line["hits"] for line in lines)


def test_explain_shows_each_legs_rank_and_score(filled: Cli) -> None:
    legs = filled("search", "parental leave", "--explain", "--json").json["hits"][0]["legs"]
    assert set(legs) == {"dense", "keyword"}
    assert legs["dense"]["rank"] == 1
    assert "dense #1" in filled("search", "parental leave", "--explain").out


def test_csv_is_no_formula_for_a_spreadsheet(cli: Cli, folder: Path) -> None:
    write(folder / "evil", {"=cmd.txt": "=HYPERLINK(1) tide", "b.txt": "+1 tide"})
    cli("ingest", "evil", "--allow", "everyone")
    rows = list(csv.DictReader(io.StringIO(cli("search", "tide", "--csv").out)))
    assert {row["text"] for row in rows} == {"'=HYPERLINK(1) tide", "'+1 tide"}
    assert all(not value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_nothing_that_a_document_says_can_move_the_cursor(cli: Cli, folder: Path) -> None:
    evil = "tide \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe\u2066 \x7f\u2028 gauge\r overwritten"
    write(folder / "evil", {"a.txt": evil, "\u202eb.md": f"# {evil}\n\ntide\n"})
    cli("ingest", "evil", "--allow", "everyone")
    runs = [
        cli("search", "tide gauge", "--explain"),
        cli("search", "tide gauge", "--json"),
        cli("search", "tide gauge", "--csv"),
        cli("ask", "tide gauge"),
        cli("ask", "tide gauge", "--prompt"),
        cli("documents"),
        cli("documents", "--json"),
        cli("show", "evil/a.txt"),
        cli("acl", "explain", "evil/a.txt", "--as", "user:x"),
        cli("remove", "evil/*", "--yes"),
    ]
    for ran in runs:
        for character in "\x1b\x07\x9b\x7f\r\u202e\u2066\u2028":
            assert character not in ran.out + ran.err


def test_ask_answers_with_citations_and_refuses_with_exit_3(filled: Cli) -> None:
    ran = filled("ask", "How many weeks of parental leave?", "--json")
    answer = ran.json
    assert set(answer) == {"question", "answer", "citations", "passages", "model"}
    assert "12 weeks" in answer["answer"]
    assert answer["model"] is None
    citation = answer["citations"][0]
    assert set(citation) == {"number", "document", "pages", "lines", "start", "end", "quote"}
    assert FILES["leave.md"][citation["start"] : citation["end"]] == citation["quote"]
    assert "no chat model" in ran.err
    assert filled("ask", "zebra crossing giraffes?", "--as", "user:ben").code == 3


def test_the_prompt_fences_numbered_passages(filled: Cli) -> None:
    prompt = filled("ask", "parental leave?", "--prompt").out
    assert "[1] Leave | " in prompt
    assert prompt.rstrip().endswith("Question: parental leave?")
    only = filled("ask", "parental leave?", "--context-only", "--json").json
    assert only["hits"][0]["document"] == "hr/leave.md"


def test_show_gives_a_document_or_a_hit_with_what_stands_around_it(filled: Cli) -> None:
    assert filled("show", "hr/pay.txt").out == "The pay rise is 3 percent in April.\n\n"
    hit = filled("search", "pay rise", "--json", "--type", "text").json["hits"][0]
    shown = filled("show", hit["id"], "--json").json
    assert (shown["document"], shown["text"], shown["hit"]) == ("hr/pay.txt", hit["text"], hit["id"])


def test_forbidden_and_unknown_are_the_same_answer(filled: Cli) -> None:
    hit = filled("search", "pay rise", "--json", "--type", "text").json["hits"][0]
    record = filled("documents", "--json").json["documents"][1]["id"]
    for name, other in (("hr/pay.txt", "hr/none.txt"), (hit["id"], hit["id"][:-1] + "0"), (record, record[:-1] + "0")):
        for command in (("show",), ("share",), ("acl", "show"), ("remove",)):
            tail = {"share": ("user:ben",), "remove": ("--yes",)}.get(command[0], ())
            answers = [filled(*command, each, *tail, "--as", "user:ben") for each in (name, other)]
            assert answers[0].code == answers[1].code == 3
            assert answers[0].out == answers[1].out == ""
            assert answers[0].err.replace(name, "X") == answers[1].err.replace(other, "X")


def test_share_and_unshare_say_whom_and_how_many(filled: Cli) -> None:
    ran = filled("share", "hr/pay.txt", "user:ben")
    assert (ran.out, ran.err) == ("changed 1 document, 1 passage\n", "letting user:ben read 1 document\n")
    assert "hr/pay.txt" in filled("search", "pay", "--as", "user:ben").out
    ran = filled("unshare", "hr/pay.txt", "user:ben", "--json")
    assert ran.json == {"documents": 1, "chunks": 1}
    assert "still let in: group:finance, user:olga" in ran.err
    explained = filled("acl", "explain", "hr/pay.txt", "--as", "user:ben").out
    assert "may not be read" in explained
    assert "denied as: user:ben" in explained
    assert filled("acl", "reset", "hr/pay.txt").code == 0
    assert filled("acl", "show", "hr/pay.txt", "--json").json["documents"][0]["unshared"] == []


def test_acl_sync_applies_changed_rules_without_reading_documents(
    filled: Cli, folder: Path, fake_models: list[HashEmbedder]
) -> None:
    (folder / "hr" / ".ragacl.toml").write_text('default = "private"\n')
    made = sum(len(each.embedded) for each in fake_models)
    assert filled("acl", "sync", "hr").out == "changed 2 documents, 2 passages\n"
    assert sum(len(each.embedded) for each in fake_models) == made
    assert filled("search", "leave", "--as", "user:ben").code == 3
    assert filled("search", "leave", "--as", "user:olga").code == 0
    (folder / "hr" / ".ragacl.toml").write_text("default = [")
    ran = filled("acl", "sync", "hr")
    assert ran.code == 1
    assert "keep their readers" in ran.err


def test_acl_test_plants_canaries_and_leaves_none(filled: Cli) -> None:
    before = filled("documents", "--json").out
    ran = filled("acl", "test", "--json")
    assert ran.json["wrong"] == []
    assert ran.json["looks"] >= 60
    assert filled("documents", "--json").out == before
    assert filled("sources", "--json").json["sources"][0]["documents"] == 2


def test_sources_and_documents_tell_the_owner_more(filled: Cli, folder: Path) -> None:
    write(folder / "hr", {"broken.txt": ""})
    assert filled("ingest", "hr").code == 1
    for viewer, failed in ((("--as", "user:olga"), 1), ((), 1), (("--as", "user:carla"), None)):
        row = filled("sources", "--json", *viewer).json["sources"][0]
        assert set(row) == {"source", "owner", "documents", "chunks", "failed", "synced"}
        assert row["failed"] == failed
        assert (row["synced"] is None) == (failed is None)
    listed = filled("documents", "--failed", "--json").json["documents"]
    assert [(row["document"], row["state"], row["reason"]) for row in listed] == [
        ("hr/broken.txt", "failed", "empty file")
    ]
    keys = {"id", "document", "source", "type", "title", "state", "reason", "chunks", "bytes", "modified", "tags"}
    assert set(listed[0]) == keys
    assert filled("documents", "--failed", "--as", "user:carla", "--json").json["documents"] == []


def test_remove_asks_and_purge_leaves_no_text_on_the_disk(filled: Cli, folder: Path) -> None:
    ran = filled("remove", "hr/pay.txt")
    assert (ran.code, "pass --yes" in ran.err) == (2, True)
    assert filled("remove", "hr/pay.txt", "--yes", "--json").json == {"documents": 1, "chunks": 1}
    assert filled("search", "pay rise", "--type", "text").code == 3
    assert filled("purge", "--yes").code == 0
    on_disk = b"".join(path.read_bytes() for path in (folder / "index").rglob("*") if path.is_file())
    assert b"27 days of leave" in on_disk
    assert b"3 percent in April" not in on_disk
    assert filled("remove", "source:hr", "--yes").code == 0
    assert filled("sources").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("search", "x", "--mode", "fuzzy"), 2, "hybrid, dense, keyword"),
        (("search", ""), 2, "empty"),
        (("search",), 2, "--queries"),
        (("search", "x", "--limit", "0"), 2, "1 or more"),
        (("search", "x", "--where", "acl.allow = public"), 2, "no field 'acl.allow'"),
        (("search", "x", "--where", "type = "), 2, "expected a value"),
        (("search", "x", "--since", "yesterday"), 2, "2025-01-31"),
        (("search", "x", "--as", "ben"), 2, "user:NAME"),
        (("search", "x", "--as", "user:a b"), 2, "white space"),
        (("search", "x", "--index", "egde:x"), 2, "installed: edge, memory"),
        (("search", "x", "--embed", "opanai:x"), 2, "installed: onnx"),
        (("search", "x", "--collection", "../up"), 2, "no collection"),
        (("search", "x", "--collection", "other"), 3, "rag-qdrant ingest"),
        (("search", "x", "--embed", "fake:other"), 4, "made with fake:hash"),
        (("search", "x", "--groups", "none.toml"), 2, "no groups file"),
        (("search", "x", "--env-file", "none.env"), 2, "none.env"),
        (("ask", ""), 2, "empty"),
        (("ingest", "nowhere"), 2, "no file or folder 'nowhere'"),
        (("ingest", "hr", "--allow", "ben"), 2, "user:NAME"),
        (("ingest", "hr", "--tag", "a b=c"), 2, "tag name"),
        (("ingest", "hr", "--owner", "ben"), 2, "user:NAME"),
        (("show", "hr/none.txt"), 3, "no document or passage"),
        (("acl", "explain", "hr/pay.txt"), 2, "--as user:NAME"),
        (("share", "hr/pay.txt", "ben"), 2, "user:NAME"),
        (("purge", "--yes", "--as", "user:olga"), 2, "--as"),
        (("embed", "--role", "both"), 2, "document or query"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_bad_input_gets_the_exit_code_and_what_to_write(
    filled: Cli, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ran = filled(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def claimed(place: Path) -> edge_folder.Claim:
    """The folder's claim, once the holder of the ingest has gone: it stays for a moment after its last client."""
    for _ in range(200):
        try:
            with edge_folder.Claim(place, purpose="is a test"):
                break
        except IndexBusy:
            time.sleep(0.05)
    return edge_folder.Claim(place, purpose="is a test")


def test_an_index_of_another_layout_is_refused(filled: Cli, folder: Path) -> None:
    place = folder / "index" / "docs"
    with claimed(place):
        shard = qe.EdgeShard.load(str(place / edge_folder.SHARD))
        shard.update(qe.UpdateOperation.set_payload([META_ID], {"schema": 99}))
        shard.close()
    ran = filled("search", "leave")
    assert ran.code == 4
    assert "layout 99" in ran.err


def test_the_embedder_of_the_index_is_used_unless_another_is_asked_for(
    filled: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAG_EMBED")
    assert filled("search", "leave", "--json").code == 0


def test_settings_come_from_flag_environment_env_file_and_default(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("RAG_COLLECTION=from-file\nRAG_USER=user:env\n")
    monkeypatch.setenv("RAG_USER", "user:outside")
    rows = {row["setting"]: row for row in cli("config", "show", "--json", "--index", "memory:").json["settings"]}
    assert (rows["RAG_INDEX"]["value"], rows["RAG_INDEX"]["from"]) == ("memory:", "flag")
    assert (rows["RAG_USER"]["value"], rows["RAG_USER"]["from"]) == ("user:outside", "environment")
    assert (rows["RAG_COLLECTION"]["value"], rows["RAG_COLLECTION"]["from"]) == ("from-file", ".env")
    assert rows["RAG_MAX_FILE_MB"]["from"] == "default"
    monkeypatch.setenv("RAG_MAX_FILE_MB", "many")
    ran = cli("config", "show")
    assert (ran.code, "RAG_MAX_FILE_MB" in ran.err) == (2, True)


def test_doctor_says_each_failure_with_its_fix(filled: Cli) -> None:
    checks = filled("doctor", "--json").json["checks"]
    assert {check["name"] for check in checks} >= {
        "groups",
        "embedder",
        "index",
        "passages",
        "unfinished",
        "failed files",
    }
    assert all(check["well"] for check in checks)
    ran = filled("doctor", "--collection", "none")
    assert ran.code == 1
    assert "FAIL index" in ran.out


def test_eval_measures_a_judged_folder_and_holds_a_floor(cli: Cli, folder: Path) -> None:
    judged = folder / "judged"
    texts = {"d1": "tide gauges drift in cold water", "d2": "parental leave of twelve weeks", "d3": ""}
    write(
        judged,
        {
            "corpus.jsonl": "".join(json.dumps({"_id": i, "title": "", "text": t}) + "\n" for i, t in texts.items()),
            "queries.jsonl": '{"_id": "q1", "text": "tide gauges"}\n{"_id": "q2", "text": "parental leave"}\n',
            "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\nq9\td1\t1\n",
        },
    )
    ran = cli("eval", "judged", "--json", "--against", "keyword")
    found = ran.json
    assert (found["dataset"], found["mode"], found["queries"]) == ("judged", "hybrid", 3)
    # The third judged query has no text and so no result: it counts 0.
    assert found["measures"]["nDCG@10"] == pytest.approx(2 / 3, abs=1e-4)
    assert cli("eval", "judged", "--floor", "0.9").code == 1
    assert cli("eval", "hr").code == 3


def test_embed_turns_lines_into_vectors(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\r\ntwo\n"))
    rows = [json.loads(line) for line in cli("embed").out.splitlines()]
    assert [len(row) for row in rows] == [32, 32]


def test_the_version_and_the_help_are_said(cli: Cli) -> None:
    assert cli("--version").out.startswith("rag-qdrant 0.")
    assert "ingest" in cli("--help").out
    assert "--confirm-removals" in cli("ingest", "--help").out


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "qdrant_edge", "qdrant_client", "onnxruntime", "tokenizers", "openai", "httpx", "scipy", "rich"}
    code = (
        "import sys; from rag_qdrant.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.strip("'[] \n") for name in ran.stderr.split(",")}
    assert not heavy & loaded


@pytest.mark.usefixtures("cli")
def test_an_interrupted_command_exits_130(folder: Path) -> None:
    environment = {**os.environ, "RAG_EMBED": "onnx:all-MiniLM-L6-v2"}
    write(folder / "much", {f"{number}.txt": f"tide {number} " * 150 for number in range(200)})
    command = [sys.executable, "-m", "rag_qdrant", "ingest", "much", "-v"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
