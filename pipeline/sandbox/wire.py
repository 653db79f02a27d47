"""XML-RPC as Apache XML-RPC 2.0 reads and writes it, byte for byte.

What belongs here: a request body to a method name and typed arguments, a value or a fault to a response body, and the
Java names of the argument types. What does not: methods, tokens, users. Source: `papercut-api.md` 1.3 and 1.4.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from xml.etree import ElementTree as ET

from pipeline.sandbox import xml_text

_METHOD_NAME = re.compile(rb"<methodName>\s*([^<]*?)\s*</methodName>")
_JAVA_INT = re.compile(r"[+-]?\d+", re.ASCII)
_JAVA_DOUBLE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?|[+-]?(NaN|Infinity)", re.ASCII)
_JAVA_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "int",
    float: "double",
    str: "java.lang.String",
    list: "java.util.Vector",
    dict: "java.util.Hashtable",
    datetime: "java.util.Date",
    bytes: "[B",
}
_PLAIN = {"\t": "\t", "\n": "\n", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
_HEAD = '<?xml version="1.0"?><methodResponse>'


class ParseError(Exception):
    """The request is not XML-RPC. The library answers it with no fault: its servlet fails, or the connection ends."""


@dataclass(frozen=True)
class Call:
    """One request: `api.isUserExists` and its arguments, the token among them."""

    method: str
    arguments: list[Any]


def call_name(body: bytes) -> str:
    """The method name of a request, without reading the rest; empty when there is none."""
    match = _METHOD_NAME.search(body)
    return match.group(1).decode("utf-8", "replace") if match else ""


def read_call(body: bytes, *, minml: bool = False) -> Call:
    """Read a request.

    Unknown elements inside a value are skipped, so `<nil/>` arrives as an empty string.

    Args:
        body: the request.
        minml: read its characters as the default parser of PaperCut's library does (`xml_text.py`).

    Raises:
        ParseError: not well-formed XML, a DOCTYPE, no method name, or a number that Java cannot read.
    """
    parser = ET.XMLParser(target=_Builder())  # noqa: S314 - the builder refuses every DOCTYPE, so no entities exist
    try:
        text = xml_text.minml(body) if minml else xml_text.strict(body)
        parser.feed(text)
        root: ET.Element = parser.close()
        if text != body:  # something may have been carried through the parser
            for element in root.iter():
                element.text = xml_text.arrived(element.text or "")
        name = root.findtext("methodName")
        if root.tag != "methodCall" or name is None:
            raise ParseError("no methodCall with a methodName")
        return Call(name.strip(), [_read(value) for value in root.iterfind("params/param/value")])
    except (ET.ParseError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise ParseError(str(error)) from error


def response(value: Any) -> bytes:
    """The response that carries `value`: str, bool, int, float, Decimal (as a double), list, dict, datetime or bytes.

    Raises:
        TypeError: a value that the Java writer refuses, None above all.
    """
    return f"{_HEAD}<params><param>{_write(value)}</param></params></methodResponse>".encode("ascii")


def fault(text: str, code: int = 0) -> bytes:
    """The response that carries a fault: `faultString` comes first, then `faultCode`."""
    detail = _write({"faultString": text, "faultCode": code})
    return f"{_HEAD}<fault>{detail}</fault></methodResponse>".encode("ascii")


def java_types(arguments: list[Any]) -> str:
    """The argument types as Java prints them in a NoSuchMethodException."""
    return ", ".join(_JAVA_TYPES[type(argument)] for argument in arguments)


def java_double(number: float | Decimal) -> str:
    """`Double.toString`: `30.0`, `1.0E7`, `1.5E-4`, `12.300000000000001`."""
    number = float(number)
    if math.isnan(number):
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    power = len(text) - 1 + int(exponent) if number else 0
    if -3 <= power < 7:
        shown = f"{abs(Decimal(repr(number))):f}"
        shown = shown if "." in shown else f"{shown}.0"
    else:
        shown = f"{text[0]}.{text[1:] or '0'}E{power}"
    return f"-{shown}" if sign else shown


class _Builder(ET.TreeBuilder):
    def doctype(self, *_: str | None) -> None:
        raise ParseError("a DOCTYPE is not allowed")


def _read(value: ET.Element) -> Any:
    for child in value:
        reader = _READERS.get(child.tag)
        if reader:
            return reader(child)
    return value.text or ""


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()


def _integer(element: ET.Element) -> int:
    text = _text(element)
    if not _JAVA_INT.fullmatch(text) or not -(2**31) <= int(text[:99]) < 2**31:
        raise ParseError(f'java.lang.NumberFormatException: For input string: "{text}"')
    return int(text)


def _double(element: ET.Element) -> float:
    text = _text(element)
    if not _JAVA_DOUBLE.fullmatch(text):
        raise ParseError(f'java.lang.NumberFormatException: For input string: "{text}"')
    return float(text.rstrip("dDfF"))


def _date(element: ET.Element) -> datetime:
    try:
        return datetime.strptime(_text(element), "%Y%m%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ParseError(str(error)) from error


def _bytes(element: ET.Element) -> bytes:
    try:
        return base64.b64decode(_text(element))
    except ValueError as error:
        raise ParseError(str(error)) from error


_READERS: dict[str, Callable[[ET.Element], Any]] = {
    "string": lambda element: element.text or "",
    "int": _integer,
    "i4": _integer,
    "boolean": lambda element: _text(element) == "1",
    "double": _double,
    "dateTime.iso8601": _date,
    "base64": _bytes,
    "array": lambda element: [_read(value) for value in element.iterfind("data/value")],
    "struct": lambda element: {
        member.findtext("name", ""): _read(value)
        for member in element.iterfind("member")
        if (value := member.find("value")) is not None
    },
}


def _write(value: Any) -> str:
    return f"<value>{_content(value)}</value>"


def _content(value: Any) -> str:
    match value:
        case str():
            content = _escape(value)
        case bool():
            content = f"<boolean>{int(value)}</boolean>"
        case int():
            content = f"<int>{value}</int>"
        case float() | Decimal():
            content = f"<double>{java_double(value)}</double>"
        case list() | tuple():
            content = f"<array><data>{''.join(map(_write, cast('Sequence[object]', value)))}</data></array>"
        case dict():
            struct = cast("Mapping[object, object]", value)
            members = ((_escape(str(name)), _write(item)) for name, item in struct.items())
            content = f"<struct>{''.join(f'<member><name>{n}</name>{v}</member>' for n, v in members)}</struct>"
        case datetime():
            content = f"<dateTime.iso8601>{value:%Y%m%dT%H:%M:%S}</dateTime.iso8601>"
        case bytes():
            content = f"<base64>{base64.b64encode(value).decode('ascii')}</base64>"
        case _:
            raise TypeError(f"unsupported Java type: {type(value)}")
    return content


def _escape(text: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return "".join(_PLAIN.get(char) or _character(char) for char in text)


def _character(char: str) -> str:
    if " " <= char <= "\x7f":
        return char
    code = ord(char)
    if code > 0xFFFF:  # Java writes its two UTF-16 halves, which strict XML parsers refuse
        code -= 0x10000
        return f"&#{0xD800 + (code >> 10)};&#{0xDC00 + (code & 0x3FF)};"
    return f"&#{code};"
