"""What the command says before it works: its help and version, bad usage, and a configuration that is not there yet.

What belongs here: commands that need no server. What does not: commands at work (`test_main.py` and its neighbours).
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.commands import ROOT, printbridge


def test_the_version_is_told() -> None:
    assert printbridge("--version").out == f"printbridge {metadata.version('printbridge')}\n"


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.cli.main; print({'dagster', 'polars', 'duckdb', 'pydantic', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n", "import heavy modules inside the commands, so that --help is fast"
    assert "Usage: printbridge [OPTIONS] COMMAND" in printbridge("--help").out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["held", "void", "REF"],
        ["sandbox", "--world", "absent.json", "--ready-file", "ready.json"],
        ["dev", "--port", "70000"],
    ],
)
def test_bad_usage_ends_with_2(words: list[str]) -> None:
    said = printbridge(*words, code=2)
    assert said.out == ""
    assert "Usage: printbridge" in said.err


def test_init_then_a_configuration_without_secrets(tmp_path: Path) -> None:
    place = {"PRINTBRIDGE_CONFIG": str(tmp_path / "bridge.toml"), "PRINTBRIDGE_HOME": str(tmp_path / "data")}
    absent = printbridge("run", code=2, **place)
    assert absent.err.startswith(f"Config: There is no configuration file {tmp_path}/bridge.toml. What to do: run `pri")
    listed = printbridge("held", "list", "--json", code=2, **place)
    assert listed.err == absent.err, "a person reads the same"
    assert listed.document["error"] == "config"
    assert f"{listed.document['tried']}. What to do: {listed.document['remedy']}" in listed.err
    assert printbridge("run", code=2, **place) == absent, "forked, the command must answer as when it is started anew"

    assert "Next: fill in both, then run `printbridge doctor`." in printbridge("init", **place).out
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600

    empty = printbridge("doctor", code=2, **place)
    assert "names environment variables that are not set: NEXUDUS_EMAIL, NEXUDUS_PASSWORD" in empty.err
    assert "exists and is not overwritten" in printbridge("init", code=2, **place).err
    assert not (tmp_path / "data").exists(), "nothing is made before the configuration holds"
