"""The printbridge command in a process of its own, as an operator starts it, and what it answered.

What belongs here: starting it. What does not: expectations; those are in the tests.

A command loads Dagster, Polars and the rest first, which takes longer than most of what it is asked. Each command is
started like that once. When a test process starts it again, it is forked from a server that has loaded them.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaign.runs import WARM

PRINTBRIDGE = (sys.executable, "-m", "pipeline.cli.main")
ROOT = Path(__file__).parent.parent
SECONDS = 120
"""A command that takes longer hangs."""

GROUPS = {"held", "access", "alerts"}
STREAMS = (("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY))

_started: set[tuple[str, ...]] = set()


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def printbridge(*words: str, answer: str = "", code: int | None = 0, **environment: str) -> Said:
    """Run the command; it must end with `code`, without a traceback."""
    name = words[: 2 if words[0] in GROUPS else 1]
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    said = (_forked if name in _started else _started_anew)(words, answer, given)
    _started.add(name)
    assert "Traceback" not in said.err, said.err
    assert code is None or said.code == code, f"{words} ended with {said.code}: {said.out}{said.err}"
    return said


def _started_anew(words: tuple[str, ...], answer: str, environment: Mapping[str, str]) -> Said:
    done = subprocess.run(
        [*PRINTBRIDGE, *words], input=answer, capture_output=True, text=True, timeout=SECONDS, check=False,
        env=environment,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def _forked(words: tuple[str, ...], answer: str, environment: Mapping[str, str]) -> Said:
    with tempfile.TemporaryDirectory(prefix="printbridge-") as place:
        files = [Path(place) / name for name, _ in STREAMS]
        for file, text in zip(files, (answer, "", ""), strict=True):
            file.write_text(text, "utf-8")
        process = WARM.Process(target=_command, args=(words, dict(environment), place), daemon=False)
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{words} did not end within {SECONDS} s")
        _, out, err = (file.read_text("utf-8") for file in files)
        return Said(process.exitcode, out, err)


def _command(words: tuple[str, ...], environment: dict[str, str], place: str) -> None:
    atexit._clear()  # what the server would do at its end
    for number, (name, flags) in enumerate(STREAMS):
        os.dup2(os.open(Path(place) / name, flags), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")  # a forked process has none
    sys.argv = ["printbridge", *words]
    from pipeline.cli.main import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
