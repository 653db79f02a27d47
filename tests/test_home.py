"""The state folder: made where it can be, private, and never somebody else's folder.

What belongs here: `pipeline/home.py`. What does not: the files in it, which have tests of their own.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home import DAGSTER_YAML, prepared_home

FORMER_TEXT = """\
# Dagster's own settings; read only from DAGSTER_HOME, which `printbridge` sets to this folder.
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  runs:
    max_concurrent_runs: 8
    tag_concurrency_limits:
      - {key: dagster/partition, value: {applyLimitPerUniqueValue: true}, limit: 1}
      - {key: dagster/partition/site, value: {applyLimitPerUniqueValue: true}, limit: 1}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1, dequeue_use_threads: true}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}  # nothing prints
run_monitoring: {enabled: true}
run_retries: {enabled: true, max_retries: 0, retry_on_asset_or_op_failure: false}
schedules: {use_threads: true, num_workers: 4}
"""
"""The text as it was before runs started warm."""


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


def test_settings_of_dagster_that_nobody_edited_follow_the_program_and_edited_ones_stay(state: Path) -> None:
    prepared_home()
    file = state / "dagster.yaml"
    for former, now in ((FORMER_TEXT, DAGSTER_YAML), (FORMER_TEXT + "# ours\n", FORMER_TEXT + "# ours\n")):
        file.write_text(former, "utf-8")
        prepared_home()
        assert file.read_text("utf-8") == now


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
