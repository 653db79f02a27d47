"""What commands write where: documents for scripts, bars in a terminal, plain lines where there is none.

What belongs here: standard output and standard error of every command that takes long or that a script would call. What
does not: what the commands do (`test_cli.py`, `test_access.py`, `test_adopt.py`, `test_alerts.py`).
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipeline.cli.main import app
from tests.commands import PRINTBRIDGE, ROOT, printbridge
from tests.harness import Harness, telling
from tests.stores import transaction
from tests.worlds import customer, world

HELD = {"london": {"max_charge": 40}}


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """A site in step, with two charges that wait for a person. The last test restores a backup, and ends the story."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True)]), sites=HELD) as running:
        assert running.sync().ok
        running.print_job("c101@example.com", 90)
        running.print_job("c101@example.com", 91)
        running.advance(hours=1)
        assert running.sync().ok
        yield running


WITHOUT = {"init", "dev", "sandbox", "demo"}
"""Commands that write files once, or serve until they are ended."""


def test_every_command_that_a_script_would_call_takes_json() -> None:
    def walk(command: Any, name: str = "") -> Generator[tuple[str, set[str]], None, None]:
        for below, each in getattr(command, "commands", {}).items():
            yield from walk(each, f"{name} {below}".strip())
        if not hasattr(command, "commands"):
            yield name, {option for parameter in command.params for option in parameter.opts}

    found = dict(walk(typer.main.get_command(app)))
    assert {name for name, options in found.items() if "--json" not in options} == WITHOUT


def document(*words: str) -> dict[str, Any]:
    """The one document that a command with --json writes on standard output."""
    return printbridge(*words, "--json").document


def in_terminal(*words: str) -> tuple[str, str]:
    """What a command writes on standard output, a pipe, and on standard error, a terminal."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                seen.append(data)
        except OSError:  # Linux: nobody has the terminal open any more
            pass

    reader = threading.Thread(target=read)
    process = subprocess.Popen(
        [*PRINTBRIDGE, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    reader.start()
    out, _ = process.communicate(timeout=120)
    reader.join(10)
    os.close(ours)
    return out, b"".join(seen).decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals of this kind")
@pytest.mark.parametrize("words", [("plan", "--json"), ("doctor", "--json"), ("report", "2026-11", "--json")])
def test_long_work_has_a_bar_in_a_terminal_and_a_clean_pipe(harness: Harness, words: tuple[str, ...]) -> None:
    out, err = in_terminal(*words)
    assert json.loads(out), "the pipe must hold the document and nothing else"
    assert "london" in err, f"the bar must name what is worked on: {err!r}"
    assert "0/1" in err, f"the bar must say how much is done of how much: {err!r}"
    assert "\x1b[" in err, "a bar is drawn over itself, not line by line"


@pytest.mark.parametrize("words", [("plan",), ("run",), ("doctor",), ("report", "2026-11"), ("recover",)])
def test_long_work_has_plain_lines_where_there_is_no_terminal(harness: Harness, words: tuple[str, ...]) -> None:
    said = printbridge(*words, code=None)
    assert "[1/1] london ...\n" in said.err, said.err
    assert "\x1b" not in said.out + said.err, "no colours, no bars"


def test_the_report_names_its_files(harness: Harness) -> None:
    site = document("report", "2026-11")["sites"]["london"]
    endings = {Path(file).suffix for file in site["files"]}
    assert (site["ok"], endings) == (True, {".csv", ".xlsx", ".html"})
    assert all(Path(file).is_file() for file in site["files"])


def test_decisions_are_documents(harness: Harness) -> None:
    waiting = document("held", "list")["held"]
    assert len(waiting) == 2, "both jobs cost more than max_charge"
    first, second = (line["ref"] for line in waiting)
    void = document("held", "void", first, "--reason", "a test")
    assert (void["state"], void["cents"], [line["ref"] for line in void["lines"]]) == ("void", 90, [first])
    assert document("held", "retry", second, "--reason", "a test")["state"] == "priced"


def test_resuming_with_json_asks_nobody(harness: Harness) -> None:
    assert "nobody can be asked with --json" in printbridge("resume", "london", "--json", code=2).err
    with transaction(harness.sites.store) as con:
        from pipeline.store import stops

        stops.record(con, "london", "charges", state="stopped", reason="a test", at=harness.sites.clock())
    resumed = document("resume", "london", "--yes")
    assert (resumed["site"], list(resumed["resumed"])) == ("london", ["charges"])
    assert resumed["resumed"]["charges"].startswith("a test"), "the cause of the stop comes first"
    assert document("resume", "london", "--yes")["resumed"] == {}


def test_a_recovery_is_a_document(harness: Harness) -> None:
    assert "Nexudus holds 0 sales" in document("recover")["sites"]["london"][0]


def test_a_backup_and_its_restore_are_documents(harness: Harness) -> None:
    made = document("backup")["backup"]
    assert made["tables"] > 10
    assert Path(made["folder"]).is_dir()
    restored = document("backup", "--restore", made["folder"])
    assert restored["restored"] == made["folder"]
    assert Path(restored["former"]).exists()
