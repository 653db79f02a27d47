"""The commands `access sync` and `access invitations` against a real ezeep of the sandbox."""

from __future__ import annotations

from pathlib import Path

from tests.commands import printbridge
from tests.steps.test_ezeep import SITE, STAFF, lisbon
from tests.worlds import mail, printer_customer


def test_a_person_invites_whom_they_choose_and_sees_who_has_not_logged_in(folder: Path) -> None:
    people = [printer_customer(1), printer_customer(2), printer_customer(3, EzeepBluePrintingEnabled=False)]
    emails = folder / "emails.txt"
    emails.write_text(f"{mail(1)}\n{mail(3)}\nnobody@example.com\n", "utf-8")
    with lisbon(folder, people, invite="by_hand") as harness:
        choice = ("access", "sync", "--site", SITE, "--emails", str(emails))
        shown = " ".join(printbridge(*choice).out.split())
        assert harness.users(SITE).keys() == {STAFF}, "without --apply nobody is invited"
        for words in ("1 of 2 chosen customers would be invited", "1 e-mails belong to no customer",
                      "1 chosen customer (3) not invited: printing with ezeep is not switched on",
                      "an e-mail of its own", "--apply does it"):  # fmt: skip
            assert words in shown, shown
        printbridge(*choice, "--apply")
        assert harness.users(SITE).keys() == {STAFF, mail(1)}
        listed = printbridge("access", "invitations", "--site", SITE).out
        assert "invited and not logged in yet: 1 person" in listed, listed
        harness.advance(days=31)
        (again,) = printbridge("access", "invitations", "--site", SITE, "--resend", "--apply", "--json").document[
            "invitations"
        ]
        assert (again["customer"], again["state"], again["sent again"]) == (1, "expired", "done")
        assert harness.state()["sites"][SITE]["mails"] == {mail(1): 2}
        harness.accept(mail(1))
        assert printbridge("access", "invitations", "--site", SITE, "--json").document["invitations"] == []


def test_somebody_must_be_chosen(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)], invite="by_hand"):
        printbridge("access", "sync", "--site", SITE, code=2)


def test_a_dry_run_by_configuration_asks_for_nobody_and_sends_no_mail(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)], invite="by_hand") as harness:
        printbridge("access", "sync", "--site", SITE, "--emails", _file(folder, mail(1)), "--apply")
        harness.reconfigure({"[nexudus]": 'mode = "dry_run"\n[nexudus]'})
        for command in (("sync", "--all"), ("invitations", "--resend")):
            said = printbridge("access", *command, "--site", SITE, "--apply", code=2)
            assert 'set mode = "apply"' in said.err + said.out
        assert harness.state()["sites"][SITE]["mails"] == {mail(1): 1}
        harness.reconfigure({'mode = "dry_run"\n': ""})
        assert harness.sync(SITE).ok
        assert harness.users(SITE).keys() == {STAFF, mail(1)}, "what was refused was not kept for later"


def test_a_site_that_cannot_be_looked_at_says_so_in_one_document(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)], invite="by_hand") as harness:
        harness.fault(SITE, "GET users", "status", times=99)
        said = printbridge("access", "sync", "--site", SITE, "--all", "--json", code=1).document
        assert "GET /sites/lisbon/account/v1/users/" in str(said["run"])


def _file(folder: Path, *emails: str) -> str:
    path = folder / "emails.txt"
    path.write_text("\n".join(emails), "utf-8")
    return str(path)
