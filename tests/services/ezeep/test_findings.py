"""What the doctor says of a site on ezeep, on a real organisation of the sandbox."""

from __future__ import annotations

from pathlib import Path

from pipeline.domain.rules import Price
from pipeline.operations.doctor import examine
from pipeline.services.ezeep.findings import members, organisation, unpriced
from tests.harness import Harness
from tests.steps.test_ezeep import SITE, lisbon
from tests.worlds import printer_customer


def said(harness: Harness, check: str) -> list[tuple[str, str]]:
    found = [each for each in examine(harness.sites[SITE]) if each.check == check]
    return [(each.status, f"{each.seen}. {each.remedy}") for each in found]


def test_the_doctor_asks_client_organisation_group_and_prices(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        assert said(harness, "token")[0][0] == "pass"
        assert said(harness, "organisation")[0][0] == "pass"
        ((status, text),) = said(harness, "group")
        assert (status, "there is no group printbridge yet" in text) == ("warn", True)
        ((status, text),) = said(harness, "prices")
        assert (status, "every page on A4 has a price at 1 printer" in text) == ("pass", True)
        ((status, text),) = said(harness, "ezeep")
        assert (status, "follows its documents" in text) == ("warn", True)
        assert harness.sync(SITE).ok
        ((status, text),) = said(harness, "group")
        assert status == "pass", text


def test_a_client_that_is_not_let_in_says_so_once(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        harness.reconfigure(EZEEP_SECRET_LISBON="wrong")
        ((status, text),) = said(harness, "token")
        assert (status, "client_secret_env" in text) == ("fail", True)
        assert said(harness, "group") == [], "while the door is shut the others would only say the same"


def test_a_client_of_several_organisations_and_a_printer_without_a_price() -> None:
    assert organisation({"a": "Here"}, "a").status == "pass"
    assert organisation({"a": "Here", "b": "There"}, "a").status == "warn"
    assert organisation({"b": "There"}, "a").status == "fail"
    assert organisation({}, "a").status == "fail"
    assert [members(number, "g", 0).status for number in (0, 1, 2)] == ["warn", "pass", "fail"]
    (finding,) = unpriced(["Front", "Back"], [Price(5, printer="Front"), Price(5, printer="Back", colour=False)])
    assert (finding.status, "1 printer (Back)" in finding.seen) == ("fail", True)
