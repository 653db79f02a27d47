"""What a campaign is asked for and what it answers: its scale, its line of the table, a folder of its own.

What belongs here: what every campaign shares. What does not: the campaigns (`campaigns.py`), and the table
(`__main__.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    test: str
    wanted: str
    reached: str
    good: bool


class Scale(NamedTuple):
    """How far the campaigns go. `minutes` ends each of the long ones, whatever they have reached."""

    seed: int
    jobs: int
    kills: int
    steps: int
    rounds: int
    worlds: int
    sample: int
    minutes: float


Say = Callable[[str], None]


@contextmanager
def folder_of_its_own() -> Generator[Path]:
    """An empty folder that goes with the campaign."""
    with tempfile.TemporaryDirectory(prefix="printbridge-") as folder:
        yield Path(folder)
