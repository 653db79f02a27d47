"""What PaperCut's answers mean, and how a call becomes XML-RPC and back.

What belongs here: pure functions over the wire of `papercut-api.md` sections 1, 2 and 4.1; section numbers below are
its. What does not: sending anything (`papercut.py`), and business rules.
"""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Literal, cast
from xml.parsers.expat import ExpatError

from pipeline.errors import ConfigError, PermanentError, PrintbridgeError, RejectedError
from pipeline.services.http import shown, unsent

Kind = Literal[
    "answered",   # XML-RPC, a value or a fault
    "unreached",  # definitely not done: no connection was made
    "throttled",  # definitely not done: asked to wait
    "passing",    # a read that failed in a way that passes
    "misplaced",  # a read that met something else than the web services
    "unknown",    # a write that may have happened
]  # fmt: skip

CENT_FRACTION = Decimal("0.0001")  # prices may have fractions of a cent; doubles carry noise behind them

_LIMIT = Decimal(10) ** 12  # credits: no balance or price comes near

_REFERENCE = re.compile(r"&#(?:x([0-9a-f]{1,8})|(\d{1,10}));", re.IGNORECASE)
_REFERENCES = re.compile(r"(?:&#(?:x[0-9a-f]{1,8}|\d{1,10});)+", re.IGNORECASE)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_CARRIED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")  # above U+FFFF PaperCut's reader makes other characters
_BEYOND = re.compile("[\U00010000-\U0010ffff]+")
_CLASS_PREFIX = re.compile(r"^(?:\s*\w+(?:\.[\w$]+)+:\s*)+")


class NoSuchCallError(ConfigError):
    """PaperCut has no method with this name and these argument types: nothing was carried out."""


class UnreadableError(Exception):
    """The body is not a usable XML-RPC response."""


def outcome(*, reads: bool, answer: int | Exception) -> Kind:
    """What an answer means; the only place that decides it (`money-safety.md` fact 4, 1.1).

    Args:
        reads: whether the call changes nothing.
        answer: the HTTP status, or the exception that came instead of a usable answer.
    """
    if isinstance(answer, Exception):
        if unsent(answer):
            return "unreached"
        return "passing" if reads else "unknown"
    if answer == 200:
        return "answered"
    if answer == 429:
        return "throttled"
    if not reads:
        return "unknown"
    return "passing" if answer >= 500 or answer == 408 else "misplaced"


def encode(method: str, arguments: Sequence[object]) -> bytes:
    """One call as ASCII XML. Types are exact: str, bool, int, float and lists of them (1.4).

    Raises:
        TypeError: None or another type that PaperCut cannot take.
        RejectedError: a text with a character that XML, or PaperCut's reader of it, cannot carry; nothing was sent.
    """
    for argument in arguments:
        _check(argument)
    text = xmlrpc.client.dumps(tuple(cast("Any", arguments)), f"api.{method}")
    return text.replace("\r", "&#13;").encode("ascii", "xmlcharrefreplace")


def _check(argument: object) -> None:
    if isinstance(argument, list):
        for item in cast("list[object]", argument):
            _check(item)
    elif type(argument) is str:
        if found := _NOT_CARRIED.search(argument):
            raise RejectedError(
                f"a text for PaperCut holds U+{ord(found[0]):04X}, which its XML cannot carry; nothing was sent",
                "remove that character from the record in Nexudus",
            )
    elif type(argument) not in {bool, int, float}:
        raise TypeError(f"PaperCut takes no {type(argument).__name__}")


def flattened(text: str) -> str:
    """A text in the form that PaperCut keeps: to be sent, and to be compared with what PaperCut says.

    The XML reader that PaperCut's library uses by default takes characters above U+FFFF (emoji, rare surnames) for
    others and drops a text of blanks only, so such a text differs from what was sent, for ever. A run of such
    characters becomes `?`; what XML cannot carry becomes a blank; a blank text becomes empty. For texts that people
    read only: a user name, PIN or card number is never changed, but refused.
    """
    flat = _NOT_CARRIED.sub(" ", _BEYOND.sub("?", text))
    return flat if flat.strip() else ""


def decode(content: bytes) -> Any:
    """The one value of a response.

    Raises:
        UnreadableError: not an XML-RPC response, or one with a document type.
        xmlrpc.client.Fault: the response is a fault.
    """
    try:
        text = content.decode("utf-8")
        if re.search("<!doctype", text, re.IGNORECASE):
            raise UnreadableError("the answer is a page or has a document type, which is refused")
        # Python's own types do not describe what loads takes and gives.
        values = cast("tuple[Any, ...]", xmlrpc.client.loads(_REFERENCES.sub(_lenient, text))[0])
    except xmlrpc.client.Fault:
        raise
    except (ExpatError, xmlrpc.client.Error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadableError(f"the answer is not XML-RPC ({type(error).__name__}: {shown(str(error))})") from error
    if len(values) != 1:
        raise UnreadableError(f"the answer holds {len(values)} values instead of one")
    return values[0]


def _lenient(run: re.Match[str]) -> str:
    """Character references that XML allows: the server writes characters outside the basic plane as two surrogates.

    What still is no character of XML becomes U+FFFD, so that one odd name does not make a whole list unreadable.
    """
    codes = [int(hexadecimal, 16) if hexadecimal else int(number) for hexadecimal, number in _REFERENCE.findall(run[0])]
    text = "".join(chr(code) if code <= 0x10FFFF else "\ufffd" for code in codes)
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return "".join(f"&#{0xFFFD if _NOT_XML.match(character) else ord(character)};" for character in text)


def amount(text: str) -> Decimal:
    """A balance or price in credits, exact to a hundredth of a cent: doubles carry noise (4.1).

    Raises:
        PermanentError: not a number, or one of 10^12 or more.
    """
    try:
        number = Decimal(text.strip()).quantize(CENT_FRACTION, ROUND_HALF_UP)
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_finite() and abs(number) < _LIMIT:
        return number
    raise PermanentError(f"PaperCut sent {shown(text)!r} where an amount belongs", "report it with this message")


def exact(credits_: Decimal | int) -> float:
    """The double that the wire wants, and only if its shortest text is exactly this amount.

    Raises:
        ValueError: it has more digits than a double keeps.
    """
    double = float(credits_)
    if Decimal(repr(double)) != credits_:
        raise ValueError(f"{credits_} has no exact double")
    return double


def refusal(call: str, raw: str) -> PrintbridgeError:
    """What a fault means, by our own reading of its text; its code says nothing (section 2).

    Args:
        call: the method and the server, the beginning of the sentence.
        raw: the text of the fault, without secrets.
    """
    tried = f"{call} refused ({shown(_CLASS_PREFIX.sub('', raw))})"
    editor = "(PaperCut: Options > Config Editor)"
    if re.search(r"address\b.*\bnot allowed", raw, re.IGNORECASE):
        key = "auth.webservices.allowed-addresses"
        return ConfigError(tried, f"add the address of this machine to {key}, separated by a comma, no spaces {editor}")
    if "NoSuchMethodException" in raw or re.search(r"RPC handler .* not found", raw):
        return NoSuchCallError(tried, "report it with the version of PaperCut: this call has another form there")
    if re.search(
        r"\btoken\b|access denied|not authori[sz]ed|unauthori[sz]ed|authentication failed", raw, re.IGNORECASE
    ):
        key = "auth.webservices.auth-token"
        return ConfigError(tried, f"the variable that token_env names must hold the value of {key} {editor}")
    return RejectedError(tried, "correct what PaperCut names, then run again")
