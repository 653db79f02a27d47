"""Printing flags in bulk, against a real sandbox: whom a choice names, what is written, and that nothing else is.

The oracle is the customer record as Nexudus holds it, every field of it.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.operations import access
from pipeline.operations.access import Choice, Result
from pipeline.steps.look import Looker
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.worlds import LEEDS, credit, customer, world

STAMPS = {"UpdatedOn", "UpdatedBy"}
RICH: dict[str, Any] = {
    "Notes": "Prefers the window.\r\nÖlçü, 写真", "Address": "1 Fold St", "MobilePhone": "+44 20", "Tags": "a,b",
    "AccessCardId": "A-77", "KeyFobNumber": "F-1", "BillingEmail": "bills@example.com", "Custom1": "x",
    "SignUpToNewsletter": False, "NotifyOnNewInvoice": False, "DoNotProcessInvoicesAutomatically": True,
    "BillingDay": 3, "Gender": 2, "Teams": [71], "Businesses": [1, 2],
}  # fmt: skip


def people() -> list[dict[str, Any]]:
    made = [
        customer(101, **RICH, TariffId=9, TariffName="Hot Desk", TeamNames="Blue Whale,Red Fox"),
        customer(102, TariffId=9, TariffName="Hot Desk", PaperCutPayAsYouPrint=True),
        customer(103, TariffId=8, TariffName="Private Office, large", TeamNames="Red Fox"),
        customer(104, Email="ÄNN@example.com"),
        customer(105, InvoicingBusinessId=LEEDS),
        customer(106, Archived=True, TariffId=9, TariffName="Hot Desk"),
        customer(107, Active=False, TariffId=9, TariffName="Hot Desk"),
        customer(108, CoworkerType=2, Email="änn@example.com", AccessPincode=""),
    ]
    return [{"CountryId": 1220, "SimpleTimeZoneId": 2023, **each} for each in made]


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    with telling(world(people(), sites=("london", "leeds"))) as harness:
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Harness:
    """The same customers with the flags they began with, and nobody's undo file."""
    for each in people():
        flag = each.get("PaperCutPayAsYouPrint", False)
        whole.edit("coworkers", each["Id"], PaperCutPayAsYouPrint=flag, PaperCutFreePrinting=False)
    for path in (whole.state_folder.path / "access").glob("*"):
        path.unlink()
    whole.heal()
    whole.forget_calls()
    return whole


def chosen(harness: Harness, **parts: Any) -> list[int]:
    found, _ = access.chosen(access.customers(harness.sites), Choice(**parts))
    return found["coworker_id"].to_list()


def records(harness: Harness) -> dict[int, dict[str, Any]]:
    """Every customer as Nexudus has it, without the stamps of the last change."""
    kept = harness.state()["nexudus"]["coworkers"]
    return {each["Id"]: {name: value for name, value in each.items() if name not in STAMPS} for each in kept}


def grant(harness: Harness, *numbers: int, **wanted: bool) -> tuple[list[Result], Path]:
    """Set flags for some customers, as the command does."""
    everyone = access.customers(harness.sites)
    planned = access.changes(everyone.filter(everyone["coworker_id"].is_in(numbers)), wanted)
    undo = access.undo_path(harness.sites)
    return access.carry_out(harness.sites, planned, undo, lambda _: None), undo


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, [101, 102, 103, 104, 105, 107, 108]),
        ({"plan": "hot desk"}, [101, 102, 107]),
        ({"plan": "Private Office, large"}, [103]),
        ({"team": "Red Fox"}, [101, 103]),
        ({"kind": "members"}, [101, 102, 103, 107]),
        ({"kind": "contacts"}, [104, 105, 108]),
        ({"business_id": LEEDS}, [105]),
        ({"kind": "members", "team": "Blue Whale"}, [101]),
        ({"emails": ("C101@Example.com", "ann@example.com", "änn@EXAMPLE.com")}, [101, 104, 108]),
    ],
)
def test_a_choice_names_customers_and_never_archived_ones(
    harness: Harness, parts: dict[str, Any], expected: list[int]
) -> None:
    assert chosen(harness, **parts) == expected


def test_what_nobody_has_is_said(harness: Harness) -> None:
    everyone = access.customers(harness.sites)
    assert access.chosen(everyone, Choice(emails=("c101@example.com", "no@example.com")))[1] == ["no@example.com"]
    with pytest.raises(ConfigError, match=r"No customer has 'Hot Dsk' among their plans.*use one of: Hot Desk"):
        access.chosen(everyone, Choice(plan="Hot Dsk"))


def test_a_grant_sets_the_flag_and_no_other_field(harness: Harness) -> None:
    before = records(harness)
    results, undo = grant(harness, 101, 102, 103, 104, pay=True)
    assert [(each.coworker_id, each.outcome) for each in results] == [(101, "done"), (103, "done"), (104, "done")]
    expected = {number: dict(record) for number, record in before.items()}
    for number in (101, 103, 104):
        expected[number]["PaperCutPayAsYouPrint"] = True
    assert records(harness) == expected, "PUT clears what is left out, so every field must have been sent back"
    assert harness.writes() == {"PUT coworkers": 3}, "102 has the flag, so it must not be written"

    assert stat.S_IMODE(undo.stat().st_mode) == 0o600
    assert json.loads(undo.read_text("utf-8")) == {
        "former_flags": [{"id": number, "PaperCutPayAsYouPrint": False} for number in (101, 103, 104)]
    }, "ids and former flags, and nothing about the people"

    back = access.still_due(access.customers(harness.sites), access.read_undo(undo))
    assert all(each.outcome == "done" for each in access.carry_out(harness.sites, back, undo, lambda _: None))
    assert records(harness) == before, "undo must leave every record as it was"


def test_both_flags_go_in_one_write_and_revoke_takes_them(harness: Harness) -> None:
    before = records(harness)
    grant(harness, 101, pay=True, free=True)
    assert harness.writes() == {"PUT coworkers": 1}
    now = records(harness)[101]
    assert (now["PaperCutPayAsYouPrint"], now["PaperCutFreePrinting"]) == (True, True)
    grant(harness, 101, pay=False, free=False)
    assert records(harness) == before


def test_a_lost_answer_is_looked_up_and_not_repeated(harness: Harness) -> None:
    harness.fault("nexudus", "PUT coworkers", "drop_after")
    results, undo = grant(harness, 101, pay=True)
    assert [each.outcome for each in results] == ["done"], "the write had its effect: reading back must show it"
    assert harness.writes() == {"PUT coworkers": 1}
    assert len(access.read_undo(undo)) == 1


def test_a_write_that_may_still_happen_stays_in_the_undo_file(harness: Harness) -> None:
    harness.fault("nexudus", "PUT coworkers", "drop_before")
    results, undo = grant(harness, 101, 103, pay=True)
    assert [each.outcome for each in results] == ["unknown", "done"]
    assert "look again with `printbridge access list`" in results[0].detail
    assert [each.coworker_id for each in access.read_undo(undo)] == [101, 103]


def test_a_refusal_is_told_and_leaves_nothing_to_undo(harness: Harness) -> None:
    harness.fault("nexudus", "PUT coworkers", "status", code=401, times=2)
    results, undo = grant(harness, 101, 103, 104, pay=True)
    assert [(each.coworker_id, each.outcome) for each in results] == [(101, "failed")], "nobody after a missing right"
    assert "Coworker" in results[0].detail, "the message must name the right that is missing"
    assert not undo.exists()


def test_an_edit_between_the_two_reads_is_not_overwritten(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    real = harness.sites.nexudus.record

    def record(entity: str, id_: int) -> dict[str, Any]:
        read = real(entity, id_)
        harness.edit("coworkers", 101, Notes="Moved to the attic.")
        return read

    monkeypatch.setattr(harness.sites.nexudus, "record", record)
    (result,), undo = grant(harness, 101, pay=True)
    assert (result.outcome, result.detail.split(";")[0]) == ("skipped", "was changed in Nexudus at this moment")
    assert records(harness)[101]["Notes"] == "Moved to the attic."
    assert harness.writes() == {}
    assert not undo.exists()
    harness.edit("coworkers", 101, Notes=RICH["Notes"])


def test_a_change_of_another_field_is_seen_and_ends_the_command(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = harness.sites.nexudus.update

    def update(entity: str, body: dict[str, Any]) -> dict[str, Any]:
        return real(entity, {name: value for name, value in body.items() if name != "Notes"})

    monkeypatch.setattr(harness.sites.nexudus, "update", update)
    results, undo = grant(harness, 101, 103, 104, pay=True)
    assert [(each.coworker_id, each.outcome) for each in results] == [(101, "altered")], "nobody after a surprise"
    assert "Customer 101 has the flag now, but Notes changed at the same moment" in results[0].detail
    assert [each.coworker_id for each in access.read_undo(undo)] == [101]
    harness.edit("coworkers", 101, Notes=RICH["Notes"])


def test_dry_run_mode_writes_nothing(harness: Harness) -> None:
    harness.reconfigure({"[nexudus]": 'mode = "dry_run"\n[nexudus]'})
    try:
        with pytest.raises(ConfigError, match='mode is "dry_run"'):
            grant(harness, 101, pay=True)
        assert harness.writes() == {}
    finally:
        harness.reconfigure({'mode = "dry_run"\n': ""})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"former_flags": [{"id": "x"}]}', '{"former_flags": 3}'])
def test_what_is_no_undo_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "undo.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="is not an undo file"):
        access.read_undo(path)


def test_a_file_of_addresses(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text("\ufeff# new\nc101@example.com\n\n  änn@example.com \nc101@example.com\n", "utf-8")
    assert access.addresses(path) == ("c101@example.com", "änn@example.com")
    path.write_text("Ann Example;ann@example.com\n", "utf-8")
    with pytest.raises(ConfigError, match="does not hold one e-mail to a line"):
        access.addresses(path)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_then_does_then_undoes(harness: Harness, tmp_path: Path) -> None:
    before = records(harness)
    people_file = tmp_path / "people.txt"
    people_file.write_text("c101@example.com\nc102@example.com\nnobody@example.com\n", "utf-8")
    words = ("access", "grant", "--pay", "--emails", str(people_file))
    shown = printbridge(*words).out
    assert "1 of 2 chosen customers would change" in shown, shown
    assert "1 e-mails belong to no customer: nobody@example.com." in shown, shown
    assert "Nothing was written to Nexudus. The same command with --apply does it." in shown, shown
    assert harness.writes() == {}

    done = printbridge(*words, "--apply", "--json").document
    assert done["results"] == [{"customer": 101, "outcome": "done", "detail": ""}]
    assert records(harness)[101]["PaperCutPayAsYouPrint"] is True
    listed = printbridge("access", "list", "--json").document["customers"]
    assert {row["customer"]: row["pay"] for row in listed} == {101: "on", 102: "on"}, "only those with a flag"

    undone = printbridge("access", "undo", done["undo"], "--apply")
    assert "1 of 1 chosen customers: 1 done" in undone.out, undone.out
    assert records(harness) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("grant", "--pay"), "say who"),
        (("grant", "--pay", "--site", "london"), "say who"),
        (("grant", "--all"), "say which flag"),
        (("revoke", "--pay", "--all", "--plan", "Hot Desk"), "--all goes with --site"),
        (("revoke", "--pay", "--members", "--contacts"), "every customer is one or the other"),
        (("list", "--site", "paris"), "There is no site 'paris'"),
    ],
)
def test_a_command_that_does_not_say_who_or_what_is_refused(
    harness: Harness, words: tuple[str, ...], said: str
) -> None:
    refused = printbridge("access", *words, code=2)
    assert said in refused.err, refused.err
    assert harness.writes() == {}


def test_the_command_says_whom_a_flag_does_not_help(harness: Harness) -> None:
    shown = printbridge("access", "grant", "--pay", "--all").out
    assert "1 chosen customers get no print user until this is put right: is suspended (107)." in shown, shown
    assert "1 chosen customers get no print user until this is put right: has no PIN (108)." in shown, shown


# --- defaults for new customers ---------------------------------------------------------------------------------------

NEW = {"members_pay_from": "2026-10-01T00:00:00Z"}


@pytest.fixture(scope="module")
def new() -> Generator[Harness, None, None]:
    """A member who pays by default, one by default and by flag, one from before, and a contact."""
    since = {
        "CountryId": 1220,
        "SimpleTimeZoneId": 2023,
        "TariffId": 9,
        "TariffName": "Hot Desk",
        "RegistrationDate": "2026-10-05T00:00:00Z",
    }
    given = [
        customer(201, **since), customer(202, **since, PaperCutPayAsYouPrint=True),
        customer(203, TariffId=9, TariffName="Hot Desk"),
        customer(204, RegistrationDate="2026-10-05T00:00:00Z"),
    ]  # fmt: skip
    with telling(world(given), new_customers=NEW) as harness:
        assert harness.sync().ok
        yield harness


def users(harness: Harness) -> set[str]:
    outcome = harness.sync()
    assert outcome.ok, outcome.failures
    return set(harness.users()) - {"staff"}


def pays() -> dict[int, str]:
    """What `access list` says of everybody who pays."""
    return {row["customer"]: row["pay"] for row in printbridge("access", "list", "--json").document["customers"]}


def test_revoke_ends_a_default_and_its_undo_file_brings_it_back(new: Harness, tmp_path: Path) -> None:
    assert users(new) == {"c201@example.com", "c202@example.com"}
    assert pays() == {201: "default", 202: "on"}
    emails = tmp_path / "emails"
    emails.write_text("c201@example.com\nc202@example.com\n", "utf-8")
    revoke = ("access", "revoke", "--emails", str(emails), "--pay")
    shown = printbridge(*revoke, "--json").document
    assert [row["change"] for row in shown["changes"]] == ["pay default off", "pay off, pay default off"]
    assert users(new) == {"c201@example.com", "c202@example.com"}, "without --apply nothing changes"
    done = printbridge(*revoke, "--apply", "--json").document
    assert [row["outcome"] for row in done["results"]] == ["done", "done"]
    assert (users(new), pays()) == (set(), {}), "nobody of them prints any more"
    said = printbridge("explain", "c201@example.com").out
    assert "ended the default for new members (members_pay_from in bridge.toml, 2026-10-01 00:00)" in said
    assert printbridge(*revoke, "--apply", "--json").document["changes"] == [], "there is nothing left to end"
    printbridge("access", "undo", done["undo"], "--apply")
    assert pays() == {201: "default", 202: "on"}
    assert users(new) == {"c201@example.com", "c202@example.com"}


def test_an_ended_default_is_found_by_the_next_look_and_grant_sets_the_flag(new: Harness) -> None:
    looker = Looker(new.sites)
    assert looker.look(new.sites.clock())["london"][0] is None
    planned = access.changes(access.customers(new.sites).filter(coworker_id=201), {"pay": False})
    undo = access.undo_path(new.sites)
    access.carry_out(new.sites, planned, undo, lambda _: None, "a test")
    assert looker.look(new.sites.clock())["london"][0] is not None, (
        "nothing changed in Nexudus, and a run is needed all the same"
    )
    assert users(new) == {"c202@example.com"}
    grant(new, 201, pay=True)
    assert users(new) == {"c201@example.com", "c202@example.com"}
    assert pays() == {201: "on", 202: "on"}
    grant(new, 201, pay=False)
    assert users(new) == {"c202@example.com"}, "the default that was ended stays ended"
    access.carry_out(new.sites, access.read_undo(undo), undo, lambda _: None, "a test")


def test_explain_names_the_default_and_what_the_plan_waits_for(new: Harness) -> None:
    said = printbridge("explain", "201").out
    assert "The customer pays by the default for new members (members_pay_from in bridge.toml, 2026-10-01" in said
    new.papercut("addNewInternalUser", "c205@example.com", "word-12345", "Somebody", "c205@example.com", "", "")
    new.add("coworkers", customer(205, PaperCutPayAsYouPrint=True))
    new.add("coworkers", customer(206))
    new.add("coworkers", customer(207, PaperCutPayAsYouPrint=True))
    new.add("coworkerextraservices", credit(901, 206, 500_000))
    new.advance(minutes=1)
    new.reconfigure({"[sites.london]\n": "[sites.london]\nlicence_users = 3\n"})
    assert new.sync().ok
    assert "The last plan: hold, because the user exists in PaperCut but is not" in printbridge("explain", "205").out
    assert "is above max_credits (100000), so it does not count" in printbridge("explain", "206").out
    assert "The last plan: hold, because no licence seat" in printbridge("explain", "207").out
