"""Programs from the system's packages that some tests need: where there is none the test is skipped, but not in CI.

What belongs here: finding them. What does not: using them.
"""

from __future__ import annotations

import os
import shutil

import pytest

PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
NOTHING_SKIPPED = "PRINTBRIDGE_SKIP_NOTHING"
"""Set in `.ci/run`, which installs every package: a program that is missing there is a failure."""


def program(name: str, package: str) -> str:
    """The path of a program; skips the test where there is none, and says which Debian package has it."""
    found = shutil.which(name, path=PLACES)
    if found:
        return found
    said = f"{name} is not installed; run `apt-get install {package}` for this test"
    if os.environ.get(NOTHING_SKIPPED):
        pytest.fail(f"{said} ({NOTHING_SKIPPED} is set)")
    pytest.skip(said)
