"""Fixtures that most tests share. Everything here is real: processes, sockets, databases, Dagster runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from pipeline.sandbox.database import get_server

# Before Polars is loaded: the processes of a test run share two cores, and its frames are small.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """Let the one process that starts the others add the system user of PostgreSQL: two at once would add it twice."""
    if not hasattr(config, "workerinput"):
        with tempfile.TemporaryDirectory() as place:
            get_server(Path(place), cleanup_mode=None, start=False)


@pytest.fixture
def folder() -> Generator[Path, None, None]:
    """An empty folder that a database server under another user can reach; in memory where the system offers it."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(prefix="printbridge-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)
