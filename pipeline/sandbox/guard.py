"""The process that outlives the sandbox just long enough to stop its PostgreSQL and remove the folder.

What belongs here: waiting for the end of standard input, which comes when the sandbox stops, crashes or is killed.
What does not: starting anything. Run as `python guard.py PG_CTL DATA_FOLDER [SYSTEM_USER]`; imports nothing of ours.
"""

from __future__ import annotations

import shutil
import subprocess
import sys


def main(pg_ctl: str, folder: str, user: str | None = None) -> None:
    """Wait for the sandbox to end, then stop the server at once (its data is worth nothing) and remove `folder`."""
    sys.stdin.read()
    stop = [pg_ctl, "-D", folder, "-m", "immediate", "-w", "stop"]
    subprocess.run(stop, user=user, cwd="/", capture_output=True, check=False)  # noqa: S603 - our own binary
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
