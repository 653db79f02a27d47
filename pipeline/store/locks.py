"""The one way to be alone: a named lock, held by one process at a time.

What belongs here: holding a name, and asking whether it is held. What does not: what is done meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import TransientError

LOCK_SECONDS = 600.0


@contextmanager
def hold(
    folder: Path, name: str, *, wait_seconds: float = LOCK_SECONDS, once: bool = False
) -> Generator[None, None, None]:
    """Hold a name for one piece of work; whoever else wants it waits, in whatever process it is.

    Args:
        folder: where the lock files lie; made if need be.
        name: a site, or a name that no site can have, for what the sites share.
        wait_seconds: how long to wait for another holder.
        once: nobody will hold this name again, so its file goes with it.

    Raises:
        TransientError: the other holder took longer than `wait_seconds`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise TransientError(
            f"Another run has held site {name} for more than {wait_seconds:.0f} s",
            "look at the run list for a run that hangs, and cancel it; the next run tries again",
        ) from None
    try:
        yield
    finally:
        if once:
            path.unlink(missing_ok=True)
        lock.release()


def is_held(folder: Path, name: str) -> bool:
    """Whether a process that lives holds a name now; the system frees the names of one that was killed.

    Args:
        folder: where the lock files lie.
        name: as in `hold`.
    """
    path = folder / f"{name}.lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def sweep(folder: Path, beginning: str) -> None:
    """Remove the files of names with this beginning that nobody holds: their holders were killed."""
    for path in folder.glob(f"{beginning}*.lock"):
        if not is_held(folder, path.stem):
            path.unlink(missing_ok=True)
