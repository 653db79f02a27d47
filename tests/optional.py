"""Programs from the system's packages that some tests need: where there is none the test is skipped, but not in CI.

What belongs here: finding them, and what more than one test makes with them. What does not: any other use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

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


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """A new certificate of a host (`DNS:` or `IP:` before its name) that signs itself, and its key, as PEM files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = program("openssl", "openssl")
    names = ["-subj", f"/CN={host.partition(':')[2]}", "-addext", f"subjectAltName={host}", "-days", "2"]
    form = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command = [openssl, "req", *form, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
