"""How each service says what a planned fault makes it say: failures, refusals, lists that come short.

What belongs here: the answers of `core.ACTIONS` in the words of PaperCut, Nexudus and ezeep. What does not: connections
and bytes (`misbehaviour.py`), answers that are not planned (`nexudus/`, `papercut/`, `ezeep/`).
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from pipeline.sandbox import wire
from pipeline.sandbox.ezeep.answers import reply
from pipeline.sandbox.nexudus import Answer
from pipeline.sandbox.nexudus.answers import (
    DeniedError,
    GenericError,
    InvalidError,
    RefusedError,
    error,
    json_answer,
    throttled,
)
from pipeline.sandbox.nexudus.records import Record, dump, load


class Manner(Protocol):
    """The words of one service."""

    def failed(self, code: int) -> Answer:
        """A failure with a status code."""
        ...

    def shortened(self, answer: Answer, *, empty: bool) -> Answer:
        """The list of an answer without its second half, or without all of it and with a total of 0."""
        ...

    def refused(self, style: str, /) -> Answer:
        """Success in HTTP, failure in the body; in one of the styles of `core.STYLES` where the service has them."""
        ...

    def rejected(self) -> Answer:
        """A record that breaks a rule: what is wrong is named, so nothing was done."""
        ...

    def throttled(self, style: str, seconds: float) -> Answer:
        """Too many requests."""
        ...


class NexudusManner:
    """The words of Nexudus."""

    def failed(self, code: int) -> Answer:
        """A failure with a status code."""
        return json_answer(code, (DeniedError() if code in (401, 403) else GenericError()).body)

    def shortened(self, answer: Answer, *, empty: bool) -> Answer:
        """A list without records; a record, or an array of them, is no list."""
        content: Any = load(answer.body)
        if "Records" not in content:
            return answer
        rows: list[Record] = content["Records"]
        missing: Record = {"Records": [], "TotalItems": 0} if empty else {"Records": rows[: len(rows) // 2]}
        return answer._replace(body=dump(content | missing))

    def refused(self, _style: str, /) -> Answer:
        """`WasSuccessful` is false."""
        return json_answer(200, RefusedError(GenericError().body["Message"]).body)

    def rejected(self) -> Answer:
        """A product that may not be sold."""
        invalid = InvalidError(error("ProductId", "may not be sold at the moment"))
        return json_answer(invalid.status, invalid.body)

    def throttled(self, style: str, seconds: float) -> Answer:
        """In one of three styles."""
        return throttled(style, seconds)


class PaperCutManner:
    """The words of PaperCut: XML-RPC."""

    def failed(self, code: int) -> Answer:
        """The page of its servlet container."""
        page = b"<html><body><h2>HTTP ERROR %d</h2></body></html>" % code
        return Answer(code, page, "text/html;charset=iso-8859-1")

    def shortened(self, answer: Answer, *, empty: bool) -> Answer:
        """An array without values; a number alone becomes 0 when it is to be empty."""
        values = re.findall(rb"<value>[^<]*</value>", answer.body)
        kept = b"".join(values[: 0 if empty else len(values) // 2])
        body = re.sub(rb"<data>.*</data>", lambda _: b"<data>" + kept + b"</data>", answer.body, flags=re.DOTALL)
        return answer._replace(body=re.sub(rb"<int>\d+</int>", b"<int>0</int>", body) if empty else body)

    def refused(self, style: str, /) -> Answer:
        """The answer false, or a fault."""
        if style == "fault":
            return Answer(200, wire.fault("java.lang.Exception: The change could not be saved."), "text/xml")
        value = b"<params><param><value><boolean>0</boolean></value></param></params>"
        return Answer(200, b'<?xml version="1.0"?><methodResponse>' + value + b"</methodResponse>", "text/xml")

    def rejected(self) -> Answer:
        """A fault."""
        return self.refused("fault")

    def throttled(self, style: str, seconds: float) -> Answer:
        """As a server in front of it would."""
        return throttled(style, seconds)


class EzeepManner:
    """The words of ezeep. No source shows how it fails, so each of these answers is labelled an invention."""

    def failed(self, code: int) -> Answer:
        """A failure with a status code."""
        return reply(code, {"detail": f"The request failed with status {code}."}, invention="planned fault")

    def shortened(self, answer: Answer, *, empty: bool) -> Answer:
        """A page without results; an empty one is also the last. A record, or a report, is no list."""
        if not answer.media_type.startswith("application/json"):
            return answer
        content: Any = load(answer.body)
        if "results" not in content:
            return answer
        rows: list[Record] = content["results"]
        missing: Record = {"results": rows[: len(rows) // 2]}
        if empty:
            missing = {"results": [], "count": 0, "next": None, "previous": None}
        return answer._replace(body=dump(content | missing))

    def refused(self, _style: str, /) -> Answer:
        """An error in the body of a success."""
        return reply(200, {"detail": "The change could not be saved."}, invention="planned fault")

    def rejected(self) -> Answer:
        """A rule that the record breaks."""
        body = {"non_field_errors": ["This may not be changed at the moment."]}
        return reply(400, body, invention="planned fault")

    def throttled(self, style: str, seconds: float) -> Answer:
        """In the words of Django REST framework for `429_text`, else as a server in front of it would."""
        if style != "429_text":
            return throttled(style, seconds)
        detail = f"Request was throttled. Expected available in {max(round(seconds), 1)} seconds."
        return reply(429, {"detail": detail}, invention="planned fault")
