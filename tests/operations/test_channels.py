"""Texts from outside in messages: whatever a product, customer or printer is called, nothing in a message is live.

The oracle is a Markdown parser that is not ours, and what a real mail server and web server received.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.operations.alerts import message
from pipeline.operations.channels import Message, channels, payload, plain
from pipeline.operations.kinds import Cause
from pipeline.settings import AlertSettings
from tests.sinks import MailServer, WebServer, listening

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)

NAMES = [
    "[Pay now](https://evil.example/pay)", "<!channel>", "<!here> all", "<@U024BE7LH>", "<https://evil.example|Invoice>",
    "@channel", "@here", "# Heading", "Heading\n=======", "![](https://evil.example/x.png)", "<at>Ann</at>",
    "www.evil.example", "evil.com/pay", "mailto:ann@evil.example", "Subject: x\r\nBcc: all@evil.example",
    "line\u2028[a][b]\u2028\u2028[b]: https://evil.example", "\ud800", "\u202egnp.exe",
    "{{DATE(2026-01-01T00:00:00Z)}}",
    "<a href='https://evil.example'>x</a>", "> quoted", "- item", "1. item", "```", "例え.テスト",
    "a\x0bb\x00c", "&lt;!here&gt;",
    "https://bridge.toml", "http://docs/runbook.md",
]  # fmt: skip
OUTSIDE = st.lists(
    st.one_of(st.sampled_from(NAMES), st.text(max_size=12), st.sampled_from(list("[]()<>@#!&:/.*_`\n\r\\|-={}")))
).map("".join)

LIVE = {"link_open", "heading_open", "image", "html_inline", "html_block", "autolink", "table_open"}
"""What Markdown would show as something else than text."""


def kinds(text: str) -> set[str]:
    """The kinds of tokens that Markdown finds in a text, nested ones too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return {each.type for token in tokens for each in (token, *(token.children or []))}


def parts(style: str, told: Message) -> list[str]:
    """What a reader of the webhook is shown."""
    body = payload(style, told)  # pyright: ignore[reportArgumentType]
    if style == "slack":
        return [body["text"]]
    return [block["text"] for block in body["attachments"][0]["content"]["body"]]


def assert_dead(text: str) -> None:
    assert "://" not in text
    assert not re.search(r"@\S", text.replace("\u200b", " ")), "a mention"
    assert not re.search(r"\w\.[a-z]{2}", re.sub(r"\bbridge\.toml\b|\bdocs/runbook\.md\b", "", text)), "a domain"
    assert not kinds(text) & LIVE
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)


@settings(max_examples=400, deadline=None)
@given(OUTSIDE, OUTSIDE, st.sampled_from(["slack", "teams"]))
def test_nothing_from_outside_is_live_in_a_webhook(title: str, name: str, style: str) -> None:
    told = message(Cause("x", "held", title, (f"Product {name} is too dear.", name), f"look at {name}"))
    shown = parts(style, told)
    for each in shown:
        assert_dead(html.unescape(each) if style == "slack" else each)
        assert style == "teams" or not re.search(r"<|>|&(?!lt;|gt;|amp;)", each), "Slack takes these for marks"
    assert len(shown) == 1 or shown[-1].startswith("More: docs/runbook.md#held")


@pytest.mark.parametrize("name", NAMES)
def test_each_known_trick_is_dead_and_what_is_ours_stays(name: str) -> None:
    assert_dead(plain(f"Product {name}"))
    assert_dead(plain(name))
    ours = "raise max_credits (1000) in bridge.toml, then `printbridge held list --site london`; 2.50 credits at 09:00."
    assert plain(ours) == ours


@pytest.fixture(scope="module")
def mail() -> Generator[MailServer, None, None]:
    server = MailServer()
    with listening(server):
        yield server


@pytest.fixture(scope="module")
def web() -> Generator[WebServer, None, None]:
    server = WebServer()
    with listening(server):
        yield server


@settings(max_examples=60, deadline=None)
@given(title=OUTSIDE, text=OUTSIDE)
def test_a_mail_has_its_own_headers_and_no_others(mail: MailServer, title: str, text: str) -> None:
    settings_ = AlertSettings(
        smtp_host="127.0.0.1", smtp_port=mail.port, from_address="bridge@example.com", to=["ops@example.com"]
    )
    mail.mails.clear()
    channels(settings_)["e-mail"](Message(title, text), AT)
    (sent,) = mail.mails
    assert {name.lower() for name in sent} == {
        "subject", "from", "to", "date", "auto-submitted", "content-type", "content-transfer-encoding", "mime-version",
    }  # fmt: skip
    assert (sent["From"], sent["To"], sent["Subject"][:14]) == (
        "bridge@example.com",
        "ops@example.com",
        "[printbridge] ",
    )
    assert_dead(sent["Subject"])


@settings(max_examples=40, deadline=None)
@given(title=OUTSIDE, text=OUTSIDE, style=st.sampled_from(["slack", "teams"]))
def test_any_text_reaches_the_webhook(web: WebServer, title: str, text: str, style: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOK", web.url)
        web.posts.clear()
        channels(AlertSettings(webhook_env="HOOK", webhook_style=style))["webhook"](Message(title, text), AT)  # pyright: ignore[reportArgumentType]
    assert len(web.posts) == 1
