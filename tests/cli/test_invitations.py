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
        assert "1 people were invited and have not logged in" in listed, listed
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
