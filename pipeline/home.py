"""The state folder: where everything lies that this installation keeps.

What belongs here: its paths, making it, and Dagster's own settings in it. What does not: what the files hold
(`store`), and the configuration (`settings.py`).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.errors import ConfigError

DAGSTER_YAML = """\
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
python_logs: {python_log_level: INFO}  # what is printed; the record of a run has everything
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}  # nothing prints
run_launcher: {module: pipeline.dagster.launcher, class: WarmLauncher}
run_monitoring: {enabled: true}
run_retries: {enabled: true, max_retries: 0, retry_on_asset_or_op_failure: false}
schedules: {use_threads: true, num_workers: 4}
retention:
  schedule: {purge_after_days: {skipped: 7, success: 30, failure: 30}}
  sensor: {purge_after_days: {skipped: 1, success: 30, failure: 30}}
"""
"""Dagster's own settings for a state folder; the tracked `data/dagster.yaml` is the same text (a test holds it)."""

FORMER = {
    "a37b35ab96b2103951962fb64e8e9c467ff38665974e8d66b056f194b5e1d73b",
    "8e38920dfae6b31aa6689978743c475a313d6c650bca3d98743e672944cd7cba",
}
"""The SHA-256 of each text that it had before: a file that nobody has edited follows the program."""


@dataclass(frozen=True)
class Home:
    """Where state lives: `PRINTBRIDGE_HOME`, `./data` by default. Every file in it is private to its owner."""

    path: Path

    @property
    def warehouse(self) -> Path:
        """The DuckDB file."""
        return self.path / "warehouse.duckdb"

    @property
    def exports(self) -> Path:
        """Reports for people."""
        return self.path / "exports"

    @property
    def backups(self) -> Path:
        """Copies of the warehouse."""
        return self.path / "backups"

    @property
    def workspace(self) -> Path:
        """Where Dagster finds the code server; `printbridge dev` writes it at every start."""
        return self.path / "workspace.yaml"

    @property
    def locks(self) -> Path:
        """One lock file for each name that is held: a site, or what the sites share."""
        return self.path / "locks"


def home() -> Home:
    """The state folder named by the environment, as an absolute path. It may not exist yet."""
    return Home(Path(os.environ.get("PRINTBRIDGE_HOME") or "data").absolute())


def prepared_home() -> Home:
    """The state folder, made if need be, private to its owner, and known to Dagster as its home.

    Raises:
        ConfigError: nothing can be written there, or it holds what is not ours; nothing was changed.
    """
    os.umask(0o077)
    state = home()
    dagster_yaml = state.path / "dagster.yaml"
    try:
        state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state.path):
            pass  # before anything is sent, for what is done must be noted here; and before anything is changed
        if not dagster_yaml.exists():
            _refuse_if_foreign(state.path)
            _write_settings(dagster_yaml)
        elif sha256(dagster_yaml.read_bytes()).hexdigest() in FORMER:
            _write_settings(dagster_yaml)
        state.path.chmod(0o700)  # a checkout brings the folder with it, open to others
    except OSError as error:
        raise _unusable(state, error) from error
    os.environ["DAGSTER_HOME"] = str(state.path)
    return state


def _write_settings(place: Path) -> None:
    """Whole or not at all: Dagster does not start with half of them."""
    part = place.with_suffix(".part")
    part.write_text(DAGSTER_YAML, "utf-8")
    part.replace(place)


def unusable(error: BaseException) -> ConfigError | None:
    """What it means for a person that a file of the state folder cannot be used; None for every other error."""
    state = home()
    if not isinstance(error, OSError) or not Path(str(error.filename)).is_relative_to(state.path):
        return None
    return _unusable(state, error)


def _unusable(state: Home, error: OSError) -> ConfigError:
    where = error.filename or state.path
    return ConfigError(
        f"The state folder {state.path} cannot be written: {error.strerror} ({where})",
        "give its owner, who runs printbridge, the right to write there, make room on the disk, or name another folder"
        " with PRINTBRIDGE_HOME",
    )


def _refuse_if_foreign(path: Path) -> None:
    """A folder that somebody else uses, such as /tmp, would be closed to everybody but us."""
    names = {each.name for each in path.iterdir() if not each.name.startswith(".")} - {"lost+found"}
    found = sorted(names)
    if found and "warehouse.duckdb" not in names:
        raise ConfigError(
            f"{path} is no state folder of printbridge: it holds {found[0]}"
            + (f" and {len(found) - 1} more" if len(found) > 1 else "")
            + ", and no warehouse of ours; nothing in it was changed",
            "name a new or an empty folder with PRINTBRIDGE_HOME",
        )
