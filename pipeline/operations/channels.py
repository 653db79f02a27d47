"""Channels: how a message reaches people, by e-mail (SMTP) and by webhook (Slack, Teams).

What belongs here: one message over one channel as plain text, and what its failure means. What does not: what is worth
a message, and what was told before (`alerts.py`).

A message may hold names of products, customers and printers, which anybody may choose: none of them becomes a link, a
mention, a heading or a header of a mail.
"""

from __future__ import annotations

import html
import ipaddress
import logging
import platform
import re
import smtplib
import ssl
import unicodedata
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from typing import Any, Literal, NamedTuple

import httpx

from pipeline.errors import ConfigError, RejectedError, TransientError
from pipeline.services.http import address, connect, exchange, shown
from pipeline.settings import AlertSettings, secret

SECONDS = 10.0
"""How long a mail server or webhook may keep us waiting."""

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """What is told: one line, and the rest."""

    title: str
    text: str


Send = Callable[[Message, datetime], None]
"""Sends a message, with the time of sending (UTC). Raises PrintbridgeError."""


def channels(settings: AlertSettings) -> dict[str, Send]:
    """The configured channels by name; empty where nothing is configured."""
    found: dict[str, Send] = {}
    if settings.smtp_host:
        found["e-mail"] = partial(_mail, settings)
    if settings.webhook_env:
        found["webhook"] = partial(_post, settings)
    return found


# --- text from outside -----------------------------------------------------------------------------------------------

_BREAK = "\u200b"
"""No space that anybody sees, but no part of an address or of a mark either."""

_OWN = r"bridge\.toml|docs/runbook\.md"
"""What looks like an address and is ours."""

_LIVE = re.compile(
    rf"(?P<own>\b(?:{_OWN})\b)"
    r"|:(?=//)|(?<=mailto):"  # an address with its scheme
    r"|(?<=\w)[.\u3002\uff0e\uff61](?=[^\W\d_]{2})"  # one without: a domain
    r"|@"  # a mention
    r"|\](?=[(\[:])"  # a link in Markdown
    r"|<(?=[^\s\d])"  # a tag, and a mention or link of Slack
    r"|\{(?=\{)"  # a function in a card
)
_MARK = re.compile(r"^(?=[ \t]*(?:[#>*+=|~_-]|`{3}|\d+[.)]))", re.MULTILINE)
"""Where a line begins with what makes it a heading, a list, a table or a quotation."""


def plain(text: str) -> str:
    """A text that every channel shows as it is: nothing in it is live, and only line feeds end a line."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = "".join(_character(each) for each in text)
    text = _LIVE.sub(lambda found: found[0] if found["own"] else found[0] + _BREAK, text)
    return _MARK.sub(_BREAK, text)


def _character(each: str) -> str:
    category, direction = unicodedata.category(each), unicodedata.bidirectional(each)
    if each == "\n":
        return each
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if direction in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} else each


def _harmless(message: Message) -> Message:
    """The message with both parts plain, the title on one line."""
    return Message(" ".join(plain(message.title).split()), plain(message.text))


# --- e-mail ----------------------------------------------------------------------------------------------------------


def _mail(settings: AlertSettings, message: Message, at: datetime) -> None:
    """Hand one message to the mail server.

    Raises:
        PrintbridgeError: the server could not be reached, has no TLS, or refused the message.
    """
    message, mail = _harmless(message), EmailMessage()
    mail["Subject"] = f"[printbridge] {message.title}"
    mail["From"] = settings.from_address
    mail["To"] = ", ".join(settings.to)
    mail["Date"] = format_datetime(at)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message.title}\n\n{message.text}\n")
    host, port = settings.smtp_host or "", settings.smtp_port
    try:
        with _connected(host, port) as server:
            if settings.smtp_user and settings.smtp_password_env:
                server.login(settings.smtp_user, secret(settings.smtp_password_env))
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise ConfigError(
            f"The mail server {host}:{port} refused the login ({error.smtp_code})",
            "check smtp_user and the variable that smtp_password_env names",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(
            f"The mail server {host}:{port} did not take the message ({type(error).__name__}: {shown(str(error))})",
            "check smtp_host and smtp_port in [alerts]; it is tried again",
        ) from error
    if refused:
        log.warning("the mail server %s:%s refused %d of %d recipients", host, port, len(refused), len(settings.to))


def _connected(host: str, port: int) -> smtplib.SMTP:
    """A connection with TLS; without it only on this machine."""
    name, context = platform.node() or "localhost", ssl.create_default_context()
    if port == smtplib.SMTP_SSL_PORT:
        return smtplib.SMTP_SSL(host, port, local_hostname=name, timeout=SECONDS, context=context)
    server = smtplib.SMTP(host, port, local_hostname=name, timeout=SECONDS)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=context)
    elif not _is_loopback(host):
        server.close()
        raise ConfigError(
            f"The mail server {host}:{port} offers no STARTTLS; nothing was sent",
            "set smtp_port to 465 if it speaks TLS there, or use another server",
        )
    return server


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- webhook ---------------------------------------------------------------------------------------------------------


def payload(style: Literal["slack", "teams"], message: Message) -> dict[str, Any]:
    """The body that an incoming webhook of Slack, or of Teams (a workflow that posts an adaptive card), takes."""
    message = _harmless(message)
    if style == "slack":
        title, text = (html.escape(part, quote=False) for part in (message.title, message.text))
        return {"text": f"*{title}*\n{text}"}
    blocks: list[dict[str, Any]] = [{"type": "TextBlock", "text": message.title, "weight": "Bolder", "wrap": True}]
    blocks += [{"type": "TextBlock", "text": line, "wrap": True} for line in message.text.split("\n") if line]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard", "version": "1.4", "body": blocks,
    }  # fmt: skip
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _post(settings: AlertSettings, message: Message, _at: datetime) -> None:
    """Hand one message to the webhook, whose address is a secret and stands in no message.

    Raises:
        PrintbridgeError: the webhook could not be reached or refused the message.
    """
    url = secret(settings.webhook_env or "")
    host = address(url, key=f"the address in {settings.webhook_env}")
    try:
        with connect(read_seconds=SECONDS, connections=1, transport=None) as http:
            request = http.build_request("POST", url, json=payload(settings.webhook_style, message))
            reply = exchange(http, request, limit=65536, seconds=2 * SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransientError(
            f"The webhook at {host} gave no answer ({type(error).__name__})", "it is tried again"
        ) from error
    if reply.status >= 300:
        raise RejectedError(
            f"The webhook at {host} answered HTTP {reply.status} ({shown(reply.content.decode('utf-8', 'replace'))})",
            f"check the variable {settings.webhook_env} and webhook_style in [alerts]",
        )
