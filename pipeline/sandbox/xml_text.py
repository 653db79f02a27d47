"""What the XML parsers of PaperCut's library make of a request's characters.

What belongs here: references to surrogate halves, which Java takes and strict parsers refuse, and the losses of the
library's default parser (MinML). What does not: XML-RPC itself (`wire.py`).

A character that no XML text may hold is carried through the parser in the last plane of Unicode, which nobody uses.
"""

from __future__ import annotations

import re

_CARRIER = 0x100000
_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,10}));")
_HALF_REFERENCES = re.compile(rb"(?:&#(?:x0*[dD][89a-fA-F][0-9a-fA-F]{2}|0*5(?:529[6-9]|5[3-9]\d\d|[67]\d{3}));)+")
_ABOVE = re.compile("[\U00010000-\U0010ffff]")
_BLANK_TEXT = re.compile(r">[ \t\r\n]+</")
_CARRIED = re.compile("[\U00100000-\U0010ffff]")


def strict(body: bytes) -> bytes:
    """A request for a strict parser: references to two halves become one to their character, as Java joins them."""
    return _HALF_REFERENCES.sub(lambda found: _joined(found.group().decode("ascii")).encode("ascii"), body)


def minml(body: bytes) -> str:
    """A request as the library's default parser reads it.

    A reference to a character above U+FFFF keeps its lower 16 bits only; here the character itself does, too, which
    is the worse of what it becomes by the server's character set. References to two halves arrive whole. A text of
    blanks alone is lost, unless they are references.
    """
    text = _BLANK_TEXT.sub("></", body.decode("utf-8", "replace"))
    text = _ABOVE.sub(lambda found: _reference(ord(found.group()) & 0xFFFF), text)
    return _REFERENCE.sub(lambda found: _reference(_code(found) & 0xFFFF), text)


def arrived(text: str) -> str:
    """A text behind the parser: carried characters are themselves again, and halves that belong together are joined."""
    if not _CARRIED.search(text):
        return text
    text = _CARRIED.sub(lambda found: chr(ord(found.group()) - _CARRIER), text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _joined(references: str) -> str:
    codes = [_code(found) for found in _REFERENCE.finditer(references)]
    text = "".join(map(chr, codes)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return "".join(_reference(ord(char)) for char in text)


def _code(found: re.Match[str]) -> int:
    return int(found.group(1), 16) if found.group(1) else int(found.group(2))


def _reference(code: int) -> str:
    allowed = code in {9, 10, 13} or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
    return f"&#{code if allowed else code + _CARRIER};"
