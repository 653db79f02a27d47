"""What the books and the job files say, walked: put right in Nexudus or in the files, or accepted, and then it ends.

What belongs here: differences of the reconciliation, sales and rows that are odd, sites that left bridge.toml. What
does not: held lines (`test_held.py`), and credits that were changed by hand (`tests/steps/test_credits_by_hand.py`).
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pipeline.domain.money.references import reference
from pipeline.errors import MissingError
from pipeline.operations.held import accept_jobs, decide
from pipeline.store.lines import lines_in
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.operations.remedies.stories import (
    MONEY,
    billed,
    decided,
    printed,
    run,
    sentences,
    standing,
    unexplained,
    walked,
)
from tests.worlds import LONDON, PRODUCTS, customer, mail, world

SALES = "coworkerproducts"
payers = iter(range(101, 118))
ELSE = 118


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 119)]
    with telling(world(people)) as harness:
        assert harness.sync().ok
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    """Nothing needs a person, before and after, and the books of the day agree."""
    assert sentences(whole) == []
    yield whole
    whole.advance(minutes=20)
    assert unexplained(whole) == 0
    assert sentences(whole) == []


def sold(harness: Harness, number: int) -> tuple[str, int]:
    """A customer's job of 30 that is sold: the job and the sale."""
    job = printed(harness, number, 30)
    run(harness, 31)
    (sale,) = (each["Id"] for each in harness.sales() if each["CoworkerId"] == number)
    return job, sale


def by_hand(harness: Harness, job: str, **fields: object) -> int:
    """A sale that somebody types, with the reference of a job."""
    ref = reference("london", job, "sale", 0)
    own = {"CoworkerId": ELSE, "BusinessId": LONDON, "ProductId": PRODUCTS[LONDON], "Quantity": 5}
    harness.add(SALES, own | {"PurchaseOrder": ref, "SaleDate": "2026-11-02T10:00:00Z"} | fields)
    return max(each["Id"] for each in harness.sales())


def test_sales_that_were_changed_by_hand_are_put_right_in_nexudus(harness: Harness) -> None:
    numbers = [next(payers) for _ in range(3)]
    (_, raised), (_, moved), (job, _) = (sold(harness, number) for number in numbers)
    harness.advance(minutes=20)
    harness.edit(SALES, raised, Quantity=60)
    harness.edit(SALES, moved, CoworkerId=ELSE)
    copy = by_hand(harness, job, CoworkerId=numbers[2], Quantity=30)
    assert unexplained(harness) == 30 + 30 + 30
    with walked(harness, "books disagree") as cause, walked(harness, "stopped: charges"):
        for words in ("correct the sale in Nexudus", "move the sale in Nexudus", "delete all but one there"):
            assert words in " ".join(cause.facts)
        harness.edit(SALES, raised, Quantity=30)
        harness.edit(SALES, moved, CoworkerId=numbers[1])
        harness.delete(SALES, copy)
        assert unexplained(harness) == 0
        harness.resume("london", "charges")
    assert [billed(harness, number) for number in numbers] == [30, 30, 30]


def test_what_an_invoice_keeps_as_it_is_is_accepted_by_the_command_and_told_again_if_it_changes(
    harness: Harness,
) -> None:
    number = next(payers)
    job, sale = sold(harness, number)
    harness.edit(SALES, sale, Quantity=60)
    harness.bill(number)
    harness.advance(minutes=20)
    assert unexplained(harness) == 30
    with walked(harness, "books disagree") as cause, walked(harness, "stopped: charges"):
        assert "`printbridge held accept --job JOB --reason TEXT`" in cause.remedy
        with pytest.raises(MissingError, match="Job 4711 is none of those of which the books differ"):
            accept_jobs(harness.sites, [job, "4711"], reason="all or none", operator="test")
        assert "books disagree" in standing(harness)
        said = printbridge("held", "accept", "--job", job, "--reason", "credited with note 7").out
        assert said == f"Accepted: job {job} of 2026-11-02 (30 cents). Later changes count from here.\n"
        assert "books disagree" not in standing(harness), "at once, without another reconciliation"
        harness.resume("london", "charges")
    assert unexplained(harness) == 0, "and it stays accepted"
    printbridge("held", "accept", "--reason", "nothing is named", code=2)
    harness.edit(SALES, sale, Quantity=70)
    assert unexplained(harness) == 40, "another number of cents is a new question"
    harness.edit(SALES, sale, Quantity=60)
    harness.resume("london", "charges")
    run(harness)


def test_a_sale_on_an_invoice_whose_line_a_person_voided_ends_with_the_credit_note(harness: Harness) -> None:
    number = next(payers)
    job = printed(harness, number, 30)
    harness.advance(minutes=31)
    assert harness.sync(only=MONEY[:-1]).ok
    harness.fault("nexudus", "POST coworkerproducts", "drop_after")
    harness.sync(only=MONEY[-1:])
    harness.edit(SALES, max(each["Id"] for each in harness.sales()), Quantity=60)
    run(harness, 20)
    decided(harness, job, "void")
    harness.bill(number)
    harness.advance(minutes=20)
    assert unexplained(harness) > 0
    with walked(harness, "books disagree") as cause, walked(harness, "stopped: charges"):
        assert f"issue a credit note, then `printbridge held accept --job {job} --reason TEXT`" in cause.facts[0]
        accept_jobs(harness.sites, [job], reason="credited with note 8", operator="test")
        assert unexplained(harness) == 0
        harness.resume("london", "charges")


def test_sales_of_no_job_are_deleted_or_lose_their_reference(harness: Harness) -> None:
    mistake, stays = by_hand(harness, "999998"), by_hand(harness, "999999")
    sold(harness, next(payers))
    with walked(harness, "sale of no job") as cause:
        assert cause.facts == (f"Sale {mistake} in Nexudus.", f"Sale {stays} in Nexudus.")
        harness.delete(SALES, mistake)
        harness.edit(SALES, stays, PurchaseOrder="", Notes="a poster")
    assert billed(harness, ELSE) == 5


def test_a_site_that_left_the_file_is_decided_as_it_is_or_put_back() -> None:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in (101, 102)]
    with telling(world(people, sites=("london", "leeds")), rounding="hold", customers="all") as harness:
        assert harness.sync().ok
        assert harness.sync("leeds").ok
        for number in (101, 102):
            harness.print_job(mail(number), "2.4", site="leeds")
        harness.advance(minutes=31)
        assert harness.sync("leeds").ok
        text = harness.config.read_text("utf-8")
        with harness.sites.store.connect() as con:
            first, second = lines_in(con, "leeds", "held")["ref"]
        harness.reconfigure({text: text.partition("[sites.leeds]")[0]})
        with walked(harness, "site removed") as cause:
            assert cause.facts[0] == "2 charges (4 cents) outstanding: 2 held."
            decide(harness.sites, [first], "void", reason="a gift", operator="test")
            assert "1 charge (2 cents) outstanding" in standing(harness)["site removed"].facts[0]
            harness.config.write_text(text, "utf-8")
            harness.reconfigure()
            decide(harness.sites, [second], "priced", reason="right", operator="test")
            assert harness.sync("leeds").ok
        assert [sale["Quantity"] for sale in harness.sales()] == [2]
        assert sentences(harness) == []


# --- job files --------------------------------------------------------------------------------------------------------

HEAD = "Time,User,Printer,Pages,Copies,Document,Cost\n"


def test_rows_that_may_be_one_print_are_retried_or_voided_and_a_row_that_cannot_be_read_is_corrected() -> None:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in (101, 102)]
    with telling(world(people), jobs="csv") as harness:
        assert harness.sync().ok
        export = harness.config.parent / "sandbox" / "printlog-london" / "export.csv"
        rows = [
            f"2026-11-02 09:0{minute}:10,{mail(number)},p1,3,1,a,{cost}\n"
            for minute, number, cost in ((1, 101, "30.00"), (2, 102, "40.00"))
        ]
        export.write_text(HEAD + rows[0] * 2 + rows[1] * 2 + rows[1].replace("09:02", "09:05").replace("40.00", "x"))
        run(harness, 40)
        with harness.sites.store.connect() as con:
            held_jobs = dict(lines_in(con, "london", "held").select("coworker_id", "job_id").iter_rows())
        with walked(harness, "unreadable jobs") as odd, walked(harness, "held: twin") as cause:
            assert "retry this line to charge" in cause.facts[-1]
            assert "export.csv" in odd.facts[0]
            export.write_text(HEAD + rows[0] * 2 + rows[1] * 2 + rows[1].replace("09:02", "09:05"))
            decided(harness, held_jobs[101], "retry")
            decided(harness, held_jobs[102], "void")
        assert (billed(harness, 101), billed(harness, 102)) == (60, 80)
        assert sentences(harness) == []
