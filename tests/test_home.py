"""The state folder: made where it can be, private, and never somebody else's folder.

What belongs here: `pipeline/home.py`. What does not: the files in it, which have tests of their own.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home import prepared_home


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path, None, None]:
    """Where the state folder is to be; the mask of new files is put back."""
    monkeypatch.setenv("PRINTBRIDGE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    mask = os.umask(0o022)
    yield tmp_path / "state"
    os.umask(mask)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode)[-3:]


def test_a_new_folder_is_made_private_and_is_dagsters_home(state: Path) -> None:
    assert prepared_home().path == state
    assert (mode(state), mode(state / "dagster.yaml")) == ("700", "600")
    assert os.environ["DAGSTER_HOME"] == str(state)
    assert prepared_home().path == state, "and is found again"


@pytest.mark.parametrize("names", [(), (".gitkeep", "lost+found"), ("warehouse.duckdb", "backups")])
def test_an_empty_folder_a_new_disk_and_a_warehouse_put_there_by_hand_are_taken(
    state: Path, names: tuple[str, ...]
) -> None:
    state.mkdir(mode=0o755)
    for name in names:
        (state / name).write_text("")
    prepared_home()
    assert mode(state) == "700"


def test_a_folder_of_somebody_else_is_left_as_it_is(state: Path) -> None:
    """As root, `PRINTBRIDGE_HOME=/tmp` would close the folder of everybody to everybody."""
    state.mkdir(mode=0o755)
    (state / "thesis.txt").write_text("mine")
    (state / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is no state folder of printbridge: it holds notes.txt and 1 more"):
        prepared_home()
    assert (mode(state), len(list(state.iterdir()))) == ("755", 2)


def test_a_place_that_cannot_be_written_is_said_with_the_remedy(state: Path) -> None:
    state.write_text("a file, and no folder")
    with pytest.raises(ConfigError, match=r"cannot be written.*name another folder with PRINTBRIDGE_HOME"):
        prepared_home()
