"""The invented spaces: believable in their figures, complete in their cases, the same for the same seed."""

from __future__ import annotations

import statistics
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from pipeline.configuration import load_settings
from pipeline.domain.people import accounts
from pipeline.sandbox.invented.configuration import settings_for
from pipeline.sandbox.invented.prints import make_prints, make_refunds
from pipeline.sandbox.invented.world import (
    FIRST_IDS,
    MODELS,
    make_world,
    pricing_models,
    printing_customers,
    renewals,
)
from pipeline.services.digests import Digester
from pipeline.services.nexudus import records
from pipeline.services.nexudus.client import moment
from pipeline.settings import Settings

SITES = ("london", "athens")
BEGIN = datetime(2026, 10, 1, 4, tzinfo=UTC)
END = datetime(2026, 11, 1, tzinfo=UTC)
SCRIPTS = {"LATIN", "CYRILLIC", "GREEK", "CJK", "ARABIC", "HEBREW", "DEVANAGARI"}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def world() -> Json:
    return make_world(300, SITES, clock=BEGIN.isoformat())


@pytest.fixture(scope="module")
def jobs(world: Json) -> list[Json]:
    return make_prints(world, BEGIN, END)


def ready_file(world: Json) -> Json:
    """What a running sandbox would say of itself."""
    sites = {
        name: {
            "papercut_url": f"http://127.0.0.1:1/sites/{name}/rpc/api/xmlrpc", "token": f"token-{name}",
            "jobs_uri": f"postgresql+psycopg://reader:secret@127.0.0.1:2/{name}",
        }
        for name in world["sites"]
    }  # fmt: skip
    return {
        "nexudus_url": "http://127.0.0.1:1", "nexudus_email": "bridge@example.com", "nexudus_password": "synthetic",
        "control_url": "http://127.0.0.1:1/control", "sites": sites,
    }  # fmt: skip


@pytest.fixture
def settings(world: Json, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    text, environment = settings_for(world, ready_file(world))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (folder / "bridge.toml").write_text(text, "utf-8")
    return load_settings(folder / "bridge.toml")


def test_a_seed_gives_one_world_and_one_month(world: Json, jobs: list[Json]) -> None:
    assert make_world(300, SITES, clock=BEGIN.isoformat()) == world
    assert make_prints(world, BEGIN, END) == jobs
    assert make_world(300, SITES, seed=2, clock=BEGIN.isoformat()) != world
    assert make_prints(world, BEGIN, END, seed=2) != jobs


@pytest.mark.parametrize(("customers", "sites"), [(1, 1), (7, 2), (300, 2), (10_000, 10)])
def test_a_world_has_the_size_that_was_asked_for(customers: int, sites: int) -> None:
    made = make_world(customers, [f"site{number}" for number in range(sites)])
    ids = [account["Id"] for account in made["nexudus"]["coworkers"]]
    assert ids == list(range(FIRST_IDS["coworkers"], FIRST_IDS["coworkers"] + customers))
    assert len(made["sites"]) == sites
    assert len({site["business_id"] for site in made["sites"].values()}) == sites


def test_more_customers_than_pins_are_refused() -> None:
    with pytest.raises(ValueError, match="larger"):
        make_world(100_001)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_reason_to_be_left_out_occurs(settings: Settings, seed: int) -> None:
    made = make_world(300, SITES, seed=seed, clock=BEGIN.isoformat())
    stamp = {"UpdatedOn": "2026-09-01T00:00:00Z", "ExtraServiceIsPrintingCredit": True, "Notes": None}
    people = [stamp | account for account in made["nexudus"]["coworkers"]]
    credits_ = [stamp | credit for credit in made["nexudus"]["coworkerextraservices"]]
    customers = records.customers(people, Digester("key"), moment, BEGIN)
    grants = records.credits_of(credits_, moment, BEGIN)
    uses = pl.DataFrame(schema={"credit_id": pl.Int64, "open_cents": pl.Int64})
    reasons: Counter[str | None] = Counter()
    for name, site in settings.sites.items():
        reasons.update(accounts.print_accounts(customers, grants, uses, site.rules(name), BEGIN)["reason"])
    expected = {"suspended", "archived", "no_email", "plus_alias", "no_pin", "pin_clash", "other_location",
                "no_access", "no_credit", None}  # fmt: skip
    assert set(reasons) == expected, "the world lacks a case, or has one that it should not"


def test_the_accounts_hold_the_cases_of_the_rules(world: Json) -> None:
    accounts_ = world["nexudus"]["coworkers"]
    per_email = Counter(account["Email"].lower() for account in accounts_ if account["Email"])
    shared = [email for email, number in per_email.items() if number > 1]
    kinds = {
        email: sorted(a["CoworkerType"] for a in accounts_ if (a["Email"] or "").lower() == email) for email in shared
    }
    assert [1, 2] in kinds.values(), "no company shares the e-mail of a person"
    assert [1, 1] in kinds.values(), "nobody has two individual accounts"
    pins = Counter(account["AccessPincode"] for account in accounts_ if account["AccessPincode"])
    assert sorted(pins.values())[-2:] == [1, 2], "there is to be one PIN clash"
    assert {account["TariffId"] > 0 for account in accounts_} == {True, False}
    assert any(account["TeamNames"] for account in accounts_)
    assert any(not account["Email"].isascii() for account in accounts_ if account["Email"])
    assert any(account["Email"] != account["Email"].lower() for account in accounts_ if account["Email"])
    letters = {unicodedata.name(letter, "").split()[0].partition("-")[0] for a in accounts_ for letter in a["FullName"]}
    assert letters >= SCRIPTS, f"no name is written in {SCRIPTS - letters}"


def test_credits_come_from_plans_products_and_people(world: Json) -> None:
    credits_ = world["nexudus"]["coworkerextraservices"]
    printing = {each["Id"] for each in world["nexudus"]["extraservices"] if each["IsPrintingCredit"]}
    assert len(printing) == len(SITES)
    origins = {
        "plan": lambda credit: credit.get("IsFromTariff") and credit["ExpireDate"] > BEGIN.isoformat(),
        "lapsed plan": lambda credit: credit.get("IsFromTariff") and credit["ExpireDate"] < BEGIN.isoformat(),
        "product": lambda credit: credit.get("CoworkerProductUniqueId"),
        "person": lambda credit: credit.get("Notes"),
        "used up": lambda credit: credit["RemainingUses"] == 0,
        "not for printing": lambda credit: credit["ExtraServiceId"] not in printing,
    }
    assert [name for name, fits in origins.items() if not any(map(fits, credits_))] == []
    expiries = {credit["ExpireDate"] for credit in credits_ if credit.get("IsFromTariff")}
    assert {"2026-11-01T00:00:00Z", "2026-10-31T22:00:00Z"} <= expiries, "plans end with the month of their location"
    assert {credit["ValidFrom"] for credit in renewals(world)} == {"2026-11-01T00:00:00Z", "2026-10-31T22:00:00Z"}


def test_each_site_has_a_model_a_zone_prices_and_staff_of_its_own(world: Json, settings: Settings) -> None:
    assert pricing_models(world) == dict(zip(SITES, MODELS, strict=False))
    assert [site.timezone for site in settings.sites.values()] == ["Europe/London", "Europe/Athens"]
    assert [site.pricing_model for site in settings.sites.values()] == list(MODELS[:2])
    emails = {account["Email"].lower() for account in world["nexudus"]["coworkers"] if account["Email"]}
    for name, site in world["sites"].items():
        assert settings.sites[name].charge_from == BEGIN
        for printer in site["printers"]:
            black, colour = printer["cost_simple"], printer["cost_color"]
            assert isinstance(black, int)
            assert colour == 0 or 5 <= colour / black <= 10
        staff = [user for user in site["users"] if not user["internal"]]
        assert {user["username"] in emails for user in staff} == {True, False}, (
            "somebody of the directory is a customer"
        )


def test_people_print_as_the_field_figures_say(world: Json, jobs: list[Json]) -> None:
    customers = [job for job in jobs if "@" in job["username"]]
    people = {job["username"] for job in customers}
    able = sum(len(printing_customers(world, site)) for site in SITES)
    assert 0.25 < len(people) / able < 0.4
    assert 10 < len(customers) / len(people) < 22
    assert 3 <= statistics.median(job["pages"] * job["copies"] for job in jobs) <= 5
    assert 0.40 < sum(job["color_pages"] > 0 for job in jobs) / len(jobs) < 0.52
    days = Counter(datetime.fromisoformat(job["at"]).weekday() for job in jobs)
    assert days.most_common(1)[0][0] == 1, "most is printed on Tuesdays"
    assert days[5] < len(jobs) / 50, "almost nothing is printed on Saturdays"


def test_jobs_are_requests_in_time_order_within_the_period(world: Json, jobs: list[Json]) -> None:
    moments = [datetime.fromisoformat(job["at"]) for job in jobs]
    assert moments == sorted(moments)
    assert moments[0] >= BEGIN
    assert moments[-1] < END
    for job in jobs:
        zone = ZoneInfo(world["sites"][job["site"]]["config"]["timezone"])
        assert 6 <= datetime.fromisoformat(job["at"]).astimezone(zone).hour < 20
        printer = next(each for each in world["sites"][job["site"]]["printers"] if each["name"] == job["printer"])
        black, colour = job["pages"] - job["color_pages"], job["color_pages"]
        assert job["cost"] == job["copies"] * (black * printer["cost_simple"] + colour * printer["cost_color"])
    assert any(job.get("printed") is False for job in jobs)
    assert any(job["copies"] > 1 for job in jobs)
    assert {job["duplex"] for job in jobs} == {True, False}
    assert sum(job["cost"] > 50_000 for job in jobs) == 1, "one job is larger than a site charges without asking"
    assert any("@" not in job["username"] for job in jobs), "staff prints, too"


def test_refunds_follow_their_job_and_some_are_partial(jobs: list[Json]) -> None:
    refunds = make_refunds(jobs, END)
    assert refunds == sorted(refunds, key=lambda refund: refund["at"])
    for refund in refunds:
        job = jobs[refund["print"]]
        assert job["at"] < refund["at"] < END.isoformat()
        assert 0 < refund.get("amount", job["cost"]) <= job["cost"]
    assert {"amount" in refund for refund in refunds} == {True, False}
