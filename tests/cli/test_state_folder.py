"""A state folder that cannot be used, and damaged records of Dagster: an error with a remedy, and nothing is sent.

What belongs here: what the commands answer, and that the remedy works. What does not: a damaged warehouse
(`tests/store/test_warehouse.py`).
"""

from __future__ import annotations

import os
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home import prepared_home
from tests.campaign.runs import WARM
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.worlds import customer, world


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """A site in step."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True)])) as running:
        assert running.run().ok
        yield running


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
def test_a_damaged_record_of_dagster_is_an_error_with_a_remedy_and_nothing_is_sent(harness: Harness, name: str) -> None:
    home = harness.state_folder.path
    harness.forget_calls()
    (home / name).write_bytes(b"This is no database. " * 500)
    for words in (("run",), ("dev", "--port", "39999")):
        said = printbridge(*words, code=1)
        assert "Dagster's records of runs" in said.err
        assert "What to do: check that the disk has room" in said.err
    said = printbridge("alerts", "check").out
    assert "no look at any site" in said
    assert "Dagster's records of runs" in said
    assert harness.writes() == {}
    for folder in ("history", "schedules"):  # as the remedy says
        (home / folder).rename(home / f"{folder}-of-{name.replace('/', '-')}")
    printbridge("run")


@pytest.mark.parametrize("words", [("run",), ("dev",), ("plan",), ("held", "list"), ("alerts", "check")])
def test_a_state_folder_that_cannot_be_made_is_an_error_with_a_remedy(
    harness: Harness, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    harness.forget_calls()
    said = printbridge(*words, code=2, PRINTBRIDGE_HOME=str(tmp_path / "file" / "data"))
    assert f"The state folder {tmp_path / 'file' / 'data'} cannot be written" in said.err
    assert "What to do: give its owner" in said.err
    assert harness.writes() == {}


def test_a_read_only_state_folder_is_refused_and_left_as_it_is(folder: Path) -> None:
    folder.chmod(0o555)
    here, there = WARM.Pipe(duplex=False)
    process = WARM.Process(target=_prepare, args=(str(folder), there))
    process.start()
    process.join(60)
    assert here.poll(), "it was not refused"
    assert here.recv().startswith(f"The state folder {folder} cannot be written: Permission denied")
    assert folder.stat().st_mode & 0o777 == 0o555
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)


def _prepare(folder: str, answer: Connection) -> None:
    if os.getuid() == 0:
        os.setuid(65534)  # nothing is read-only for the superuser
    os.environ["PRINTBRIDGE_HOME"] = folder
    try:
        prepared_home()
    except ConfigError as error:
        answer.send(error.tried)
