"""Alerts, from a real run to a real mail server and webhook: one message for a cause, and not one for each run.

The oracle is what the mail server and the web server received.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipeline.errors import ConfigError, PrintbridgeError
from pipeline.operations import alerts
from pipeline.operations.channels import Message, channels, payload
from pipeline.settings import AlertSettings
from pipeline.store import stops
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.optional import self_signed
from tests.sinks import MailServer, WebServer, listening
from tests.stores import transaction
from tests.worlds import customer, world

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


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


@pytest.fixture(scope="module")
def whole(mail: MailServer, web: WebServer) -> Generator[Harness, None, None]:
    """A site in step, and an operator who wants to be told."""
    section = (
        f'[alerts]\nsmtp_host = "127.0.0.1"\nsmtp_port = {mail.port}\nfrom_address = "bridge@example.com"\n'
        'to = ["ops@example.com", "finance@example.com"]\nwebhook_env = "HOOK"\n[nexudus]'
    )
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in (101, 102, 103)]
    with telling(world(people), rounding="hold") as harness:
        harness.reconfigure({"[nexudus]": section}, HOOK=web.url)
        assert harness.run().ok
        yield harness


@pytest.fixture
def harness(whole: Harness, mail: MailServer, web: WebServer) -> Generator[Harness, None, None]:
    """The site with nothing to tell, before and after."""
    yield whole
    whole.heal()
    whole.resume("london", *stops.PHASES)
    for ref in held(whole):
        decide(whole, ref)
    assert whole.sync().ok
    look(whole)
    mail.mails.clear()
    web.posts.clear()
    assert look(whole) == "nothing new"
    assert mail.mails == []


def look(harness: Harness) -> str:
    """One evaluation of the sensor; what it says of itself."""
    with dg.DagsterInstance.get() as instance, dg.build_sensor_context(instance=instance) as context:
        return harness.defs.resolve_sensor_def("tell_people").evaluate_tick(context).skip_message or ""


def held(harness: Harness) -> list[str]:
    with harness.sites.store.connect() as con:
        return [row[0] for row in con.execute(
            "SELECT ref FROM charge_event GROUP BY ref HAVING arg_max(state, n) = 'held'").fetchall()]  # fmt: skip


def decide(harness: Harness, ref: str) -> None:
    from pipeline.operations.held import decide as decided

    decided(harness.sites, [ref], "void", reason="a test", operator="test")


def test_held_charges_are_told_once_again_after_a_day_and_anew(
    harness: Harness, mail: MailServer, web: WebServer
) -> None:
    for name in ("c101@example.com", "c102@example.com"):
        harness.print_job(name, "2.5")
    harness.advance(minutes=31)
    harness.sync()
    assert look(harness) == (
        "told by e-mail: london: 2 charges held (fractional_cost);"
        " told by webhook: london: 2 charges held (fractional_cost)"
    )
    (sent,) = mail.mails
    assert sent["Subject"] == "[printbridge] london: 2 charges held (fractional_cost)"
    assert (sent["To"], sent["From"]) == ("ops@example.com, finance@example.com", "bridge@example.com")
    text = sent.get_content()
    for needed in ("Customers: 101, 102.", "2 charges, 6 cents", "`printbridge held list --site london`",
                   "docs/runbook.md#held-fractional_cost"):  # fmt: skip
        assert needed in text, f"the message must say {needed!r}:\n{text}"
    assert "@example.com" not in text, "a message must hold no e-mail of a customer"
    assert web.posts[0]["text"].startswith("*london: 2 charges held (fractional_cost)*\n")

    harness.sync()
    assert look(harness) == "nothing new", "the same cause must not be told for every run"
    harness.advance(hours=25)
    harness.sync()
    mail.mails.clear()
    look(harness)
    assert mail.subjects() == ["[printbridge] london: 2 charges held (fractional_cost)"], "a reminder after a day"

    for ref in held(harness):
        decide(harness, ref)
    assert look(harness) == "nothing new"
    harness.print_job("c103@example.com", "2.5")
    harness.advance(minutes=31)
    harness.sync()
    look(harness)
    assert mail.subjects() == ["[printbridge] london: 1 charge held (fractional_cost)"], "a cause that comes back"


def test_a_failed_run_is_told_once_and_anew_after_a_run_that_worked(harness: Harness, mail: MailServer) -> None:
    harness.fault("nexudus", "GET coworkers", "status", code=500, times=1000)
    assert not harness.run(**{"printbridge/dry_run": "true"}).ok
    assert look(harness) == "nothing new", "the failure of a plan was seen by the person who asked for it"
    for _ in range(2):
        harness.advance(minutes=61)
        assert not harness.run().ok
        look(harness)
    assert mail.subjects() == ["[printbridge] london: nexudus_lists failed"]
    harness.heal()
    assert harness.run().ok
    assert look(harness) == "nothing new"
    harness.advance(minutes=61)
    harness.fault("nexudus", "GET coworkers", "status", code=500, times=1000)
    assert not harness.run().ok
    look(harness)
    (sent,) = mail.mails
    for needed in ("Step nexudus_lists of sync_site, partition london.", "TransientError: GET spaces/coworkers",
                   "`printbridge run --site london`"):  # fmt: skip
        assert needed in sent.get_content(), sent.get_content()
    harness.heal()
    assert harness.run().ok


def test_a_safety_stop_is_told_and_not_the_runs_that_it_ends(harness: Harness, mail: MailServer) -> None:
    with transaction(harness.sites.store) as con:
        reason = "5 cents of 2026-11-02 cannot be explained"
        stops.record(con, "london", "charges", state="stopped", reason=reason, at=harness.sites.clock())
    assert harness.run().stopped
    harness.advance(hours=5)
    look(harness)
    (sent,) = mail.mails
    assert sent["Subject"] == "[printbridge] london: stopped for charges"
    assert "Why: 5 cents of 2026-11-02 cannot be explained." in sent.get_content()
    assert "`printbridge resume london charges`" in sent.get_content()
    harness.resume("london", "charges")
    assert harness.run().ok


def test_a_site_without_a_finished_run_is_told(harness: Harness, mail: MailServer) -> None:
    harness.advance(hours=2, minutes=50)
    assert look(harness) == "nothing new"
    harness.advance(hours=1)
    look(harness)
    (sent,) = mail.mails
    assert sent["Subject"] == "[printbridge] london: no finished run for 4 hours"
    assert "`printbridge dev`" in sent.get_content()


def test_missing_seats_are_told(harness: Harness, mail: MailServer) -> None:
    harness.reconfigure({"[sites.london]\n": "[sites.london]\nlicence_users = 4\n"})
    try:
        look(harness)
        assert mail.subjects() == ["[printbridge] london: licence seats are running out"]
    finally:
        harness.reconfigure({"licence_users = 4\n": ""})


def test_a_mail_server_that_fails_stops_nothing_and_is_tried_again(
    harness: Harness, mail: MailServer, web: WebServer
) -> None:
    harness.print_job("c101@example.com", "2.5")
    harness.advance(minutes=31)
    mail.refusing = True
    try:
        assert harness.sync().ok
        said = look(harness)
        assert f"e-mail failed: The mail server 127.0.0.1:{mail.port} did not take the message" in said
        look(harness)
    finally:
        mail.refusing = False
    assert (mail.mails, len(web.posts)) == ([], 1), "the webhook works, so it tells once"
    look(harness)
    assert (len(mail.mails), len(web.posts)) == (1, 1), "the mail is told as soon as its server works"


def test_a_test_message_names_the_channel_that_fails(harness: Harness, mail: MailServer, web: WebServer) -> None:
    assert alerts.test_message(harness.sites) == [("e-mail", None), ("webhook", None)]
    assert mail.subjects() == ["[printbridge] a test message"]
    web.status = 404
    try:
        (_, fine), (_, error) = alerts.test_message(harness.sites)
    finally:
        web.status = 200
    assert fine is None
    assert f"The webhook at 127.0.0.1:{web.server_address[1]} answered HTTP 404" in str(error)
    assert "a-secret-path" not in str(error), "the address of a webhook is a secret"


def test_without_anybody_to_be_told_it_says_so(harness: Harness) -> None:
    settings = harness.sites.settings
    harness.sites.settings = settings.model_copy(update={"alerts": AlertSettings()})
    try:
        with pytest.raises(ConfigError, match=r"bridge\.toml names nobody to be told"):
            alerts.test_message(harness.sites)
    finally:
        harness.sites.settings = settings


def test_the_commands_show_and_tell_what_stands(harness: Harness, mail: MailServer) -> None:
    harness.print_job("c101@example.com", "2.5")
    harness.advance(minutes=31)
    harness.sync()
    document = printbridge("alerts", "check", "--json").document
    assert [cause["kind"] for cause in document["causes"]] == ["held: fractional_cost"]
    assert len(document["told"]) == 2
    shown = printbridge("alerts", "check").out
    assert "`printbridge held list --site london`" in shown
    assert len(mail.mails) == 1, "what the timer told the daemon must not tell again"
    assert look(harness) == "nothing new"
    mail.mails.clear()
    assert printbridge("alerts", "test").out == "e-mail: sent\nwebhook: sent\n"
    assert mail.subjects() == ["[printbridge] a test message"]
    told = printbridge("alerts", "test", "--json").document["channels"]
    assert told == [{"channel": "e-mail", "error": None}, {"channel": "webhook", "error": None}]


# --- channels --------------------------------------------------------------------------------------------------------


def test_the_shape_of_slack_and_of_teams() -> None:
    message = Message("london: <1> & more", "a\n\nNext: b.")
    assert payload("slack", message) == {"text": "*london: &lt;1&gt; &amp; more*\na\n\nNext: b."}
    teams = payload("teams", message)
    (card,) = teams["attachments"]
    assert (teams["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert [block["text"] for block in card["content"]["body"]] == ["london: <1> & more", "a", "Next: b."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user ann.b+c@exämple.com is gone", "user (e-mail) is gone"),
        ("user `c101@example.com`\nis gone", "user `(e-mail)` is gone"),
        ("customer 101", "customer 101"),
    ],
)
def test_no_address_of_a_person_is_left(text: str, expected: str) -> None:
    assert alerts.anonymous(text) == expected


def test_mail_goes_by_tls_with_a_login_and_only_to_a_server_that_proves_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path, "DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = MailServer(context)
    monkeypatch.setenv("MAIL_PASSWORD", "pass word")
    settings = AlertSettings(
        smtp_host="localhost", smtp_port=server.port, smtp_user="bridge", smtp_password_env="MAIL_PASSWORD",
        from_address="bridge@example.com", to=["ops@example.com"],
    )  # fmt: skip
    with listening(server):
        with pytest.raises(PrintbridgeError, match="SSLCertVerificationError"):
            channels(settings)["e-mail"](Message("a", "b"), AT)
        assert server.mails == [], "nothing may be told to a server that cannot prove its name"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        channels(settings)["e-mail"](Message("London: 写真", "one\ntwo"), AT)
    (sent,) = server.mails
    assert (sent["Subject"], sent.get_content().splitlines()) == (
        "[printbridge] London: 写真", ["London: 写真", "", "one", "two"],
    )  # fmt: skip
    assert server.logins == [" bridge pass word"]
