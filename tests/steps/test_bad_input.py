"""Bad input against real servers: each gives an error that says where and what to do, and nothing is lost.

What belongs here: wrong set-up, wrong data, answers that end short; in each test the cause is mended at the end and the
next run must complete the work. What does not: bridge.toml itself (`test_settings.py`), and writes whose outcome is
unknown (`test_reruns.py`).
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pipeline.dagster.outcomes import Outcome
from tests.harness import Harness, telling
from tests.worlds import PIN_LENGTH, PRODUCTS, customer, world

ADDRESSES = "auth.webservices.allowed-addresses"


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """A world that every test leaves in order."""
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in (101, 102)]
    with telling(world(people)) as running:
        assert running.sync().ok
        yield running


@pytest.fixture
def work(harness: Harness) -> Generator[int, None, None]:
    """A customer who waits for a user; afterwards everything must be done."""
    number = max(record["Id"] for record in harness.state()["nexudus"]["coworkers"]) + 1
    harness.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))
    yield number
    outcome = harness.sync()
    assert outcome.ok, f"once the cause is mended the next run must succeed: {outcome.failures}"
    assert f"c{number}@example.com" in harness.users(), "the next run must complete what the bad input held up"


def failed(outcome: Outcome, step: str, kind: str, *words: str) -> None:
    """One step failed, with an error of the right kind whose text has the words an operator needs."""
    assert step in outcome.failures, f"{step} should have failed: {outcome}"
    found, text = outcome.failures[step]
    assert found == kind, f"{step} should have failed as {kind}: {found}: {text}"
    for word in (*words, "What to do:"):
        assert word in text, f"the error should name {word!r}: {text}"


def found(outcome: Outcome, check: str, *words: str) -> None:
    """The run succeeded and a check names the rows at fault."""
    assert outcome.ok, outcome.failures
    texts = [text for text in outcome.findings if check in text]
    assert texts, f"the check {check} should not have passed: {outcome.findings}"
    for word in (*words, "What to do:"):
        assert word in texts[0], f"the check should name {word!r}: {texts[0]}"


def test_wrong_nexudus_password(harness: Harness, work: int) -> None:
    harness.reconfigure(NEXUDUS_PASSWORD="wrong-password")
    outcome = harness.sync()
    failed(outcome, "nexudus_customers", "ConfigError", "password_env", "API Access", harness.sites.nexudus.host)
    assert "wrong-password" not in str(outcome.failures), "an error must never show a password"
    harness.reconfigure(NEXUDUS_PASSWORD=harness.ready["nexudus_password"])


def test_wrong_papercut_token(harness: Harness, work: int) -> None:
    harness.reconfigure(TOKEN_LONDON="wrong-token")
    outcome = harness.sync()
    failed(outcome, "print_user_sync", "ConfigError", "auth.webservices.auth-token", "token_env")
    assert "wrong-token" not in str(outcome.failures), "an error must never show a token"
    harness.reconfigure(TOKEN_LONDON=harness.ready["sites"]["london"]["token"])


def test_wrong_database_password(harness: Harness, work: int) -> None:
    right = harness.ready["sites"]["london"]["jobs_uri"]
    secret = right.split(":")[2].split("@")[0]
    harness.reconfigure(DB_LONDON=right.replace(secret, "wrong-db-password"))
    outcome = harness.sync()
    failed(outcome, "print_users", "ConfigError", "DB_LONDON")
    assert "wrong-db-password" not in str(outcome.failures), "an error must never show a password"
    harness.reconfigure(DB_LONDON=right)


def test_address_not_allowed(harness: Harness, work: int) -> None:
    harness.papercut("setConfigValue", ADDRESSES, "10.0.0.1")
    try:
        failed(harness.sync(), "print_user_sync", "ConfigError", ADDRESSES)
    finally:
        _mend_addresses(harness)


def _mend_addresses(harness: Harness) -> None:
    """Nobody can be let in from outside any more, so the sandbox's own switch plays PaperCut's screen."""
    harness.switch(address_list="restart")


def test_minimum_password_length_below_eight(harness: Harness, work: int) -> None:
    harness.papercut("setConfigValue", PIN_LENGTH, "6")
    failed(harness.sync(), "print_user_sync", "ConfigError", PIN_LENGTH, "'6'", "Config Editor")
    assert f"c{work}@example.com" not in harness.users(), "no user may get a password shorter than eight"
    harness.papercut("setConfigValue", PIN_LENGTH, "8")


def _charged(harness: Harness) -> set[tuple[int, int]]:
    return {(sale["CoworkerId"], sale["Quantity"]) for sale in harness.sales()}


def test_product_not_priced_at_one_cent(harness: Harness, work: int) -> None:
    harness.edit("products", PRODUCTS[1], Price=0.02)
    harness.print_job("c101@example.com", 31)
    harness.advance(minutes=31)
    failed(harness.sync(), "nexudus_print_charges", "ConfigError", str(PRODUCTS[1]), "0.02", "charge_product_id")
    assert (101, 31) not in _charged(harness), "with a wrong price nothing may be charged"
    harness.edit("products", PRODUCTS[1], Price=0.01)
    assert harness.sync().ok
    assert (101, 31) in _charged(harness), "the job must be charged once the price is right"


def test_job_with_a_fractional_price_is_held_and_the_others_are_charged(harness: Harness, work: int) -> None:
    job = harness.print_job("c101@example.com", "12.5")["job_id"]
    harness.print_job("c102@example.com", 33)
    harness.advance(minutes=31)
    outcome = harness.sync(checks=True)
    assert outcome.ok, outcome.failures
    text = next((text for text in outcome.findings if "nothing_is_held" in text), "")
    for word in ("12.5", "printer p1", "whole prices", "rounding"):
        assert word in text, f"the check should name {word!r}: {outcome.findings}"
    assert (102, 33) in _charged(harness), "one bad job must not stop the others"
    harness.print_job("c101@example.com", 13, job_id=job)
    assert harness.sync().ok
    assert (101, 13) in _charged(harness), "the job must be charged once it has a whole price"


def test_job_of_an_unknown_user_is_reported_and_not_charged(harness: Harness, work: int) -> None:
    before = _charged(harness)
    job = harness.print_job("staff", 44)["job_id"]
    harness.advance(minutes=31)
    outcome = harness.sync(checks=True)
    assert outcome.ok, outcome.failures
    text = next((text for text in outcome.findings if "jobs_have_an_owner" in text), "")
    for word in (f"job {job} at p1", "44.00 credits", "by hand in Nexudus"):
        assert word in text, f"the check should name {word!r}: {outcome.findings}"
    assert _charged(harness) == before, "nobody may be charged for the job of an unknown user"


def test_customer_without_a_pin(harness: Harness, work: int) -> None:
    harness.edit("coworkers", work, AccessPincode="")
    found(harness.sync(checks=True), "pins_are_usable", f"customer {work}: no PIN", "Access")
    assert f"c{work}@example.com" not in harness.users(), "without a PIN there is no password, so no user"
    harness.edit("coworkers", work, AccessPincode="88888")


def test_two_customers_with_one_pin(harness: Harness, work: int) -> None:
    harness.edit("coworkers", work, AccessPincode="10101")
    found(harness.sync(checks=True), "pins_are_usable", f"customers 101, {work}: one PIN")
    assert "c101@example.com" in harness.users(), "the elder keeps the PIN and the user"
    assert f"c{work}@example.com" not in harness.users(), "two users with one PIN could release each other's jobs"
    harness.edit("coworkers", work, AccessPincode=f"{10000 + work}")


@pytest.mark.parametrize("odd", [{"Active": None}, {"PaperCutFreePrinting": None}, {"AccessPincode": ["20101"]}])
def test_a_record_that_cannot_be_read_keeps_its_user_and_stops_nobody(
    harness: Harness, work: int, odd: dict[str, object]
) -> None:
    (right,) = [each for each in harness.state()["nexudus"]["coworkers"] if each["Id"] == 101]
    harness.edit("coworkers", 101, **odd)
    harness.print_job("c101@example.com", work)
    harness.advance(hours=2)
    assert harness.sync().ok
    assert {"c101@example.com", f"c{work}@example.com"} <= set(harness.users())
    assert (101, work) in _charged(harness), "the row that the customer had still decides"
    told = harness.sites.store.read("print_accounts", "london").filter(coworker_id=101)
    assert told.height == 1, "an odd record is no evidence for anything"
    harness.edit("coworkers", 101, **{name: right.get(name) for name in odd})


def test_a_list_that_ends_short_removes_nobody(harness: Harness, work: int) -> None:
    harness.advance(hours=2)  # a complete read is due
    harness.fault("nexudus", "GET coworkers", "truncate", times=50)
    before = set(harness.users())
    failed(harness.sync(), "nexudus_customers", "TransientError", "coworkers", harness.sites.nexudus.host)
    assert set(harness.users()) == before, "on an incomplete list nobody may be removed"
    harness.heal()


def test_an_empty_customer_list_is_not_believed(harness: Harness, work: int) -> None:
    harness.advance(hours=2)
    everybody = [record for record in harness.state()["nexudus"]["coworkers"] if not record.get("Deleted")]
    for record in everybody:
        harness.delete("coworkers", record["Id"])
    before = set(harness.users())
    failed(harness.sync(), "nexudus_customers", "UnsafeError", "listed no coworkers")
    assert set(harness.users()) == before, "an empty list must never empty PaperCut"
    for record in everybody:
        harness.add("coworkers", record)


def test_an_empty_user_list_is_not_believed() -> None:
    given = world([customer(101, PaperCutPayAsYouPrint=True)], sites=("london", "leeds"))
    for site in given["sites"].values():
        site["users"] = []
    with telling(given, sites={"leeds": {"jobs": "print_log"}}) as harness:
        for site in ("london", "leeds"):
            failed(harness.sync(site), "print_users", "UnsafeError", harness.sites[site].printing.host)
            assert harness.users(site) == {}, "on an empty list nothing may be created"


def test_a_log_line_that_does_not_parse() -> None:
    given = world([customer(101, PaperCutPayAsYouPrint=True)])
    with telling(given, jobs="print_log") as harness:
        assert harness.sync().ok
        harness.print_job("c101@example.com", 30)
        harness.print_job("c101@example.com", 40)
        log = harness.config.parent / "sandbox" / "printlog-london" / "printlog_2026_11_02.log"
        good = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(good[0].replace(b"\t30.00\t", b"\tthirty\t") + good[1])
        harness.advance(minutes=31)
        found(harness.sync(checks=True), "lines_are_readable", "printlog_2026_11_02.log:1", "cost")
        assert _charged(harness) == {(101, 40)}, "the lines that parse must be charged"
        log.write_bytes(b"".join(good))
        assert harness.sync().ok
        assert _charged(harness) == {(101, 30), (101, 40)}, "the corrected line must be charged, the others once"


def test_a_database_that_is_not_there_is_told_with_its_remedy(harness: Harness) -> None:
    """In the words of printbridge, not in those of the driver underneath."""
    right = harness.ready["sites"]["london"]["jobs_uri"]
    harness.reconfigure(DB_LONDON="postgresql+psycopg://reader:secret@127.0.0.1:1/papercut")
    kind, text = harness.run().failures["print_users"]
    harness.reconfigure(DB_LONDON=right)
    assert (kind, "What to do: " in text) == ("TransientError", True), text
    assert "DB_LONDON" in text, "it must name the variable with the address"
    assert "secret" not in text, text
    assert harness.run().ok


def test_a_plan_needs_no_answer_about_passwords(harness: Harness, work: int) -> None:
    """The length of passwords is asked for again, with its remedy, when the first one is written."""
    before = ("nexudus_customers", "nexudus_credits", "nexudus_teams", "print_users", "print_jobs", "print_accounts")
    assert harness.sync(only=before).ok
    harness.fault("london", "api.getConfigValue", "status", times=99)
    outcome = harness.sync(only=("user_sync_plan",))
    harness.heal()
    assert outcome.ok, outcome.failures
    planned = harness.sites.store.read("user_sync_plan", "london")
    assert f"c{work}@example.com" in planned.filter(action="create")["username"].to_list()
