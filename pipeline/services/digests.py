"""Keyed digests of PINs and card numbers, so that a change is seen without the value being kept.

What belongs here: making a digest. What does not: the values; they are fetched from Nexudus at the moment of writing.
The key is stretched from the Nexudus password, which is in the environment already and nowhere at rest: whoever holds
the warehouse alone cannot try out the hundred thousand PINs. A new password only means that PINs are written once more.
"""

from __future__ import annotations

import hashlib
import hmac


class Digester:
    """Makes digests that are equal for equal values.

    Args:
        secret: the Nexudus password.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.scrypt(secret.encode(), salt=b"printbridge digest", n=2**14, r=8, p=1, dklen=32)

    def __call__(self, value: str | None) -> str | None:
        """Sixteen hexadecimal digits that stand for the value; None for an empty one."""
        if not value or not value.strip():
            return None
        return hmac.digest(self._key, value.strip().encode(), "sha256")[:8].hex()
