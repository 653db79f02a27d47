"""Lines on a real file: each question about the ledger, with lines beside the ones that it is about.

What belongs here: `pipeline/store/lines.py`. What does not: what may be entered and moved, and the credit use that is
open (`test_ledger.py`).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.money.references import reference
from pipeline.store import ledger, lines
from pipeline.store.ledger import Mover
from pipeline.store.warehouse import Warehouse
from tests.stores import NOW, charge, charges, enter, move, mover, transaction

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def ref(job: str, kind: str = "sale", site: str = "london") -> str:
    return reference(site, job, kind, 0)


def of_leeds(job: str, kind: str = "sale", **fields: object) -> dict[str, object]:
    return charge(job, kind, **{"ref": ref(job, kind, "leeds"), "site": "leeds", **fields})


def moved(store: Warehouse, job: str, *states: str, remote_id: int | None = None, at: float = 0) -> None:
    """A sale of london moves through some states; Nexudus gave its id with the last."""
    for state in states:
        move(store, ref(job), state, state, remote_id=remote_id if state == states[-1] else None, at=at)


def wanted(*jobs: str) -> pl.DataFrame:
    return pl.DataFrame({"job_id": jobs}, schema={"job_id": pl.String})


def test_the_lines_of_a_site_are_its_own_in_the_order_of_references_with_their_last_event(store: Warehouse) -> None:
    enter(store, charge("2"), charge("1"), of_leeds("3"))
    moved(store, "1", "sending", "confirmed", remote_id=7, at=5)
    with store.connect() as con:
        found = lines.lines_of_site(con, "london")
        some = lines.lines_of_site(con, "london", wanted("2", "3"))
        none = lines.lines_of_site(con, "london", wanted())
    assert found["ref"].to_list() == sorted([ref("1"), ref("2")])
    first = found.row(by_predicate=pl.col("job_id") == "1", named=True)
    assert (first["state"], first["n"], first["remote_id"], first["detail"]) == ("confirmed", 2, 7, "confirmed")
    assert (first["happened_at"], first["reason"]) == (NOW + timedelta(minutes=5), None)
    assert some["ref"].to_list() == [ref("2")], "a job of another site of the same number is another job"
    assert none.is_empty()
    assert set(found.columns) >= set(tables.columns("print_charges"))


def test_lines_as_a_report_shows_them_are_those_of_the_site_with_the_reason_only_while_they_are_held(
    store: Warehouse,
) -> None:
    enter(store, charge("1", state="held"), charge("2", state="held"), charge("3"), charge("4"), of_leeds("1"))
    moved(store, "2", "priced")
    moved(store, "3", "sending", "held")
    jobs = wanted("1", "2", "3")
    with store.connect() as con:
        shown = lines.lines_shown(con, "london", jobs).sort("ref")
        whole = lines.lines_of_site(con, "london", jobs)
    assert dict(shown.select("job_id", "reason").iter_rows()) == {"1": "because", "2": None, "3": "held"}
    assert shown.equals(whole.select(shown.columns)), "a report must show what the ledger has"


def test_sales_name_jobs_too(store: Warehouse) -> None:
    enter(store, charge("1"), charge("2"), charge("3"), of_leeds("2"))
    with store.connect() as con:
        found = lines.lines_of(con, "london", wanted("1", "1"), pl.DataFrame({"ref": [ref("2"), ref("1"), "unknown"]}))
    assert found["ref"].to_list() == sorted([ref("1"), ref("2")])


def test_lines_are_found_by_their_state_now(store: Warehouse) -> None:
    enter(store, charge("1"), charge("2", state="held"), charge("3"), of_leeds("4"))
    moved(store, "3", "sending")
    with store.connect() as con:
        assert lines.lines_in(con, "london", "priced")["job_id"].to_list() == ["1"]
        assert lines.lines_in(con, "london", "priced", "held")["job_id"].to_list() == ["1", "2"]
        assert lines.lines_in(con, "london", "void").is_empty()
        assert lines.states_of(lines.lines_of_site(con, "london")) == {"priced": 1, "sending": 1, "held": 1}


def test_a_site_that_left_the_settings_still_has_its_lines(store: Warehouse) -> None:
    with store.connect() as con:
        assert lines.sites_of(con) == []
    enter(store, of_leeds("1"), charge("1"), charge("2"))
    with store.connect() as con:
        assert lines.sites_of(con) == ["leeds", "london"]


def test_a_retried_sale_is_one_that_a_person_let_go_and_no_run_has_sent_since(store: Warehouse) -> None:
    use = charge("5", "credit", "held")
    enter(store, *(charge(job, state="held") for job in "1234"), use, of_leeds("1", state="held"))
    retried = [ref("1"), ref("2"), ref("4"), use["ref"], ref("1", site="leeds")]
    with transaction(store) as con:
        by_person = Mover(lines.RETRY, "anna", NOW)
        ledger.move(con, ledger.moves_of([(each, None, "") for each in retried]), "priced", by_person)
        ledger.move(con, ledger.moves_of([(ref("3"), None, "")]), "priced", Mover("command", "anna", NOW))
    moved(store, "2", "sending")
    moved(store, "4", "sending", "priced")
    with store.connect() as con:
        assert lines.retried_sales(con, "london")["job_id"].to_list() == ["1"]


def test_what_replaces_a_charge_waits_for_its_reversal(store: Warehouse) -> None:
    back = charge("1", "undo_sale", undoes=ref("1"), revision=1)
    new = charge("1", ref=reference("london", "1", "sale", 1), seq=1, revision=1)
    enter(store, charge("1"), charge("2"))
    moved(store, "1", "sending", "confirmed", remote_id=7)
    enter(store, back, new)
    with store.connect() as con:
        assert lines.waiting_lines(con, "london").rows() == [(new["ref"], back["ref"])]
        assert lines.waiting_lines(con, "leeds").is_empty()
    for state in ("sending", "unknown", "held"):
        move(store, back["ref"], state)
        with store.connect() as con:
            assert lines.waiting_lines(con, "london").rows() == [(new["ref"], back["ref"])], state
    move(store, back["ref"], "confirmed")
    with store.connect() as con:
        assert lines.waiting_lines(con, "london").is_empty()


def test_a_history_is_told_from_its_beginning(store: Warehouse) -> None:
    enter(store, charge("1"), charge("2"))
    moved(store, "1", "sending", "unknown", "priced")
    with store.connect() as con:
        assert lines.history(con, ref("1"))["state"].to_list() == ["priced", "sending", "unknown", "priced"]


def test_credits_of_every_site_wait_for_a_write_without_an_answer(store: Warehouse) -> None:
    uses = {
        "1": charge("1", "credit", credit_id=401), "2": of_leeds("2", "credit", credit_id=402),
        "3": charge("3", "credit", credit_id=403), "4": charge("4", "credit", credit_id=404),
        "6": charge("6", "credit", credit_id=401),
    }  # fmt: skip
    enter(store, *uses.values(), charge("5"))
    for job, states in {
        "1": ["sending"],
        "2": ["sending", "unknown"],
        "3": ["sending", "confirmed"],
        "6": ["sending"],
    }.items():
        for state in states:
            move(store, str(uses[job]["ref"]), state)
    moved(store, "5", "sending")
    with store.connect() as con:
        assert sorted(lines.unanswered_credits(con)) == [401, 402]


def test_what_a_run_moved_is_counted_where_it_left_it(store: Warehouse) -> None:
    enter(store, charge("1"), charge("2", amount_cents=12), charge("3"))
    with transaction(store) as con:
        for state in ("sending", "confirmed"):
            both = ledger.moves_of([(ref("1"), None, ""), (ref("2"), None, "")])
            ledger.move(con, both, state, Mover("another run", "test", NOW))
    with store.connect() as con:
        assert lines.moved_by(con, "another run").rows() == [("sale", "confirmed", 2, 42)]
        assert lines.moved_by(con, "run").rows() == [("sale", "priced", 3, 72)], "a later run moved them on"
        assert lines.moved_by(con, "no run").is_empty()


@pytest.mark.parametrize(
    ("kind", "states", "remote_id", "sent"),
    [
        ("sale", [], None, False),
        ("sale", ["sending"], None, True),
        ("sale", ["confirmed"], 7, True),
        ("sale", ["confirmed"], None, False),
        ("credit", ["sending"], None, False),
        ("credit", ["confirmed"], 401, False),
    ],
)
def test_a_sale_was_sent_once_it_left_or_was_taken_over(
    store: Warehouse, kind: str, states: list[str], remote_id: int | None, sent: bool
) -> None:
    enter(store, charge("1", kind))
    for state in states:
        move(store, ref("1", kind), state, remote_id=remote_id)
    with store.connect() as con:
        assert lines.has_sent(con, "london") is sent
        assert lines.has_sent(con, "leeds") is False


def sold(
    store: Warehouse, job: str, sent: float, *, known: float = 0, product: int | None = 9, **fields: object
) -> None:
    """A sale whose line was sent some minutes after NOW and known to be there later; its id is that of the job."""
    enter(store, charge(job, product_id=product, printed_at=NOW - 10 * HOUR))
    move(store, ref(job), "sending", at=sent)
    move(store, ref(job), "confirmed", remote_id=int(job), at=max(sent, known))


def newest(store: Warehouse, since: float = 0, until: float = 600, products: tuple[int, ...] = (9,)) -> list[int]:
    with store.connect() as con:
        begin, end = NOW + timedelta(minutes=since), NOW + timedelta(minutes=until)
        return lines.newest_sales(con, "london", begin, end, products)["remote_id"].to_list()


def test_the_three_newest_sales_that_surely_exist_in_nexudus(store: Warehouse) -> None:
    for job, minute in (("1", 10), ("2", 40), ("3", 30), ("4", 20)):
        sold(store, job, minute)
    assert newest(store) == [2, 3, 4]
    assert newest(store, since=20) == [2, 3, 4]
    assert newest(store, since=20.01) == [2, 3], "one that was made before the list begins is not in it"
    assert newest(store, until=30) == [3, 4, 1], "a list lags: one that has just been made may not be in it yet"
    assert newest(store, until=29.9) == [4, 1]


def test_a_sale_is_as_old_as_the_first_time_it_was_sent(store: Warehouse) -> None:
    sold(store, "1", 10, known=300)
    assert newest(store, since=11) == [], "that it was confirmed later says nothing of when it was made"
    moved(store, "1", "invoiced", at=400)
    assert newest(store, since=10) == [1], "one on an invoice exists"
    assert newest(store, since=10, until=399) == [], "what is known only since then proves nothing about an older list"


def test_a_sale_that_was_sent_again_is_as_old_as_its_first_sending(store: Warehouse) -> None:
    enter(store, charge("1", product_id=9))
    moved(store, "1", "sending", "priced", at=10)
    moved(store, "1", "sending", "confirmed", remote_id=1, at=20)
    assert newest(store, since=10) == [1]
    assert newest(store, since=11) == [], "the first answer may have been lost, and the sale be from then"


def test_a_sale_that_this_ledger_never_sent_is_as_old_as_its_job(store: Warehouse) -> None:
    enter(store, charge("1", printed_at=NOW + HOUR))
    move(store, ref("1"), "confirmed", remote_id=1)
    assert newest(store, since=60) == [1]
    assert newest(store, since=61) == []


def test_sales_that_prove_nothing_about_a_list(store: Warehouse) -> None:
    sold(store, "1", 10, product=8)
    sold(store, "2", 20, product=None)
    enter(store, charge("3"), charge("4", "credit"), charge("5"), of_leeds("6"))
    moved(store, "3", "confirmed")
    move(store, ref("4", "credit"), "confirmed", remote_id=4)
    moved(store, "5", "confirmed", "held", remote_id=5)
    move(store, ref("6", site="leeds"), "confirmed", remote_id=6)
    assert newest(store, since=-1) == [2], "of another product, without an id, a credit, held, of another site"
    assert newest(store, since=-1, products=(8, 9)) == [2, 1]


def test_a_sale_that_was_held_after_it_was_done_is_one_that_went_whatever_became_of_it_since(store: Warehouse) -> None:
    enter(store, *(charge(job) for job in "12345"), charge("6", "credit"), of_leeds("7"))
    moved(store, "1", "sending", "confirmed", "held")
    moved(store, "2", "sending", "confirmed", "invoiced", "held", "void")
    moved(store, "3", "sending", "held")
    moved(store, "4", "sending", "confirmed")
    moved(store, "5", "held", "confirmed")
    for other in (ref("6", "credit"), ref("7", site="leeds")):
        for state in ("confirmed", "held"):
            move(store, other, state)
    with store.connect() as con:
        assert lines.deleted_sales(con, "london").select("job_id", "state").rows() == [("1", "held"), ("2", "void")]


def test_a_sale_was_charged_by_hand_if_it_was_confirmed_last_without_an_id(store: Warehouse) -> None:
    enter(store, *(charge(job) for job in "123456"))
    moved(store, "1", "held", "confirmed")
    moved(store, "2", "sending", "confirmed", remote_id=2)
    moved(store, "3", "held", "confirmed", "held")
    moved(store, "4", "sending", "confirmed", remote_id=4)
    moved(store, "4", "held", "confirmed")
    moved(store, "5", "held", "confirmed")
    moved(store, "5", "held", "confirmed", remote_id=5)
    moved(store, "6", "confirmed")
    with store.connect() as con:
        found = lines.by_hand(con, [ref(job) for job in "54321"])
    assert found == sorted([ref("1"), ref("3"), ref("4")]), (
        "the last confirmation counts, whatever came before or since"
    )


def test_lost_answers_are_counted_line_by_line(store: Warehouse) -> None:
    enter(store, charge("1"), charge("2"), charge("3"))
    moved(store, "1", "sending", "unknown", "priced", "sending", "unknown")
    moved(store, "2", "sending", "unknown")
    moved(store, "3", "sending", "confirmed")
    with store.connect() as con:
        assert dict(lines.lost_answers(con, [ref("1"), ref("3")]).iter_rows()) == {ref("1"): 2}


def test_a_reference_is_known_or_it_is_not(store: Warehouse) -> None:
    enter(store, charge("1"))
    with store.connect() as con:
        assert lines.knows(con, ref("1"))
        assert not lines.knows(con, ref("2"))


def test_what_was_never_sent_is_what_nothing_was_done_for(store: Warehouse) -> None:
    enter(store, *(charge(job) for job in "1234"), charge("5", state="held"))
    moved(store, "2", "void")
    moved(store, "3", "sending", "priced")
    moved(store, "4", "confirmed")
    asked = [ref(job) for job in "912345"]
    with store.connect() as con:
        assert lines.never_sent(con, asked) == sorted([ref("1"), ref("2"), ref("9")])
        assert lines.never_sent(con, []) == []


def test_the_products_of_a_site_are_those_of_its_sales_and_the_one_of_now(store: Warehouse) -> None:
    enter(
        store, charge("1", product_id=9), charge("2", product_id=7), charge("3", product_id=9), charge("4"),
        of_leeds("5", product_id=8),
    )  # fmt: skip
    with store.connect() as con:
        assert lines.products_of(con, "london", None) == [7, 9]
        assert lines.products_of(con, "london", 9) == [7, 9]
        assert lines.products_of(con, "london", 3) == [3, 7, 9]


def test_a_job_is_found_by_its_id_or_by_a_reference_of_its_site(store: Warehouse) -> None:
    enter(store, charge("1"), charge("1", "credit"), charge("2"), of_leeds("3"))
    with store.connect() as con:
        assert lines.jobs_of(con, "london", job_id="1") == ["1"], "two lines of a job are one job"
        assert lines.jobs_of(con, "london", ref=ref("2")) == ["2"]
        assert lines.jobs_of(con, "london", ref=ref("3", site="leeds")) == []
        assert lines.jobs_of(con, "london", job_id="3") == []
        assert lines.jobs_of(con, "leeds", job_id="3") == ["3"]


def test_a_line_that_is_entered_again_is_found_once(store: Warehouse) -> None:
    enter(store, charge("1"))
    with transaction(store) as con:
        assert ledger.enter(con, charges(charge("1"), charge("2")), mover()) == 1
        assert lines.lines_of_site(con, "london").height == 2
