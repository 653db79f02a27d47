"""Power that is lost in the middle of a commit: the run stops, and what the disk was not made to keep is gone or torn.

What belongs here: images of the warehouse around one commit, and what a disk may make of them. What does not: killing
runs (`runs.py`), and the world in which it happens (`crashes.py`).

DuckDB appends a commit to its log and has the disk keep it before it answers; at the end of each use it writes the log
into the file, block by block into free space, then the header that names them, and removes the log. So an image is
taken before the commit, after its answer, and after the file is closed; power that is lost in between leaves a mixture:

    the log ends at any byte of the commit that had no answer yet, or has zeros or rubbish from there on
    some blocks of the file are new, the header is old, the log is whole
    the same with blocks that are torn: some of their sectors are new

A sector of 4,096 bytes is written whole or not at all, the list of a folder's files is as `fsync` left it: a disk that
breaks these promises is not simulated, nor is a rename (`pipeline.store.backup.restore` has the disk keep its own).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

SECTOR, BLOCK = 4096, 256 * 1024
HEADERS = 3
"""The first sectors of the file: what it is, and two headers of which the newer one counts."""

BEFORE, COMMITTED, CLOSED = "before", "committed", "closed"


def log_of(store: Path) -> Path:
    """The write-ahead log beside a warehouse."""
    return store.with_name(store.name + ".wal")


def image(store: Path, folder: Path) -> None:
    """Copy a warehouse as it lies on the disk now: the file and, where there is one, its log."""
    folder.mkdir(parents=True)
    for path in (store, log_of(store)):
        if path.exists():
            shutil.copyfile(path, folder / path.name)


def _read(images: Path, moment: str, path: Path) -> bytes:
    found = images / moment / path.name
    return found.read_bytes() if found.exists() else b""


def _torn_log(images: Path, store: Path, chance: random.Random) -> tuple[bytes, bytes]:
    old, new = (_read(images, moment, log_of(store)) for moment in (BEFORE, COMMITTED))
    return _read(images, COMMITTED, store), new[: chance.randint(len(old), max(len(old), len(new) - 1))]


def _spoiled_log(images: Path, store: Path, chance: random.Random) -> tuple[bytes, bytes]:
    """As long as the whole log, but the last part never arrived."""
    file, torn = _torn_log(images, store, chance)
    missing = len(_read(images, COMMITTED, log_of(store))) - len(torn)
    return file, torn + (bytes(missing) if chance.random() < 0.5 else chance.randbytes(missing))


def _mixed(images: Path, store: Path, chance: random.Random, size: int) -> tuple[bytes, bytes]:
    """The file before the checkpoint, with some of the pieces of a size that are new; the headers are old."""
    old, new = (bytearray(_read(images, moment, store)) for moment in (COMMITTED, CLOSED))
    old += bytes(max(0, len(new) - len(old)))
    for start in range(HEADERS * SECTOR, len(new), size):
        if chance.random() < 0.5:
            old[start : start + size] = new[start : start + size]
    return bytes(old), _read(images, COMMITTED, log_of(store))


def _half_done_checkpoint(images: Path, store: Path, chance: random.Random) -> tuple[bytes, bytes]:
    return _mixed(images, store, chance, BLOCK)


def _torn_checkpoint(images: Path, store: Path, chance: random.Random) -> tuple[bytes, bytes]:
    return _mixed(images, store, chance, SECTOR)


LOSSES: dict[str, tuple[Callable[[Path, Path, random.Random], tuple[bytes, bytes]], bool]] = {
    "log torn": (_torn_log, False),
    "end of the log spoiled": (_spoiled_log, False),
    "checkpoint half done": (_half_done_checkpoint, True),
    "checkpoint torn": (_torn_checkpoint, True),
}
"""What may be left, and whether the commit had been answered, so that it must be there."""


def lose(loss: str, images: Path, store: Path, chance: random.Random) -> None:
    """Leave the warehouse as a loss of power does.

    Args:
        loss: one of LOSSES.
        images: where a run put its images.
        store: the file of the warehouse.
        chance: chooses bytes and sectors.
    """
    file, log = LOSSES[loss][0](images, store, chance)
    store.write_bytes(file)
    log_of(store).write_bytes(log)
    if not log:
        log_of(store).unlink()
