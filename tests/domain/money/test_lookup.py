"""Looking a sale up: what a complete list says of a line of 30 cents for customer 101."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.domain.money.lookup import compared
from tests.frames import shuffled, table

SALES = pl.Schema(
    {
        "remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64,
        "total_cents": pl.Int64, "invoiced": pl.Boolean,
    }
)  # fmt: skip
LINES = pl.DataFrame({"ref": ["A", "B"], "coworker_id": [101, 102], "amount_cents": [30, 40]})


def sales(text: str) -> pl.DataFrame:
    """Sales of 30 cents to customer 101 under the reference of the line."""
    return table(
        SALES, text, remote_id=7, ref="A", coworker_id=101, quantity=30, total_cents=30, invoiced=False
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sold", "verdict", "seen"),
    [
        ("remote_id", "absent", ""),
        ("ref\nZ", "absent", ""),
        ("remote_id\n7", "found", "sale 7: 30 cents for customer 101"),
        ("total_cents\n-", "found", "sale 7: 30 cents for customer 101"),
        ("total_cents\n31", "contradicted", "sale 7: 30 cents for customer 101"),
        ("quantity\n31", "contradicted", "sale 7: 31 cents for customer 101"),
        ("quantity\n-", "contradicted", ""),
        ("coworker_id\n102", "contradicted", "sale 7: 30 cents for customer 102"),
        ("remote_id\n7\n8", "contradicted", "sale 7: 30 cents for customer 101, sale 8: 30 cents for customer 101"),
    ],
)
def test_a_sale_is_found_where_reference_customer_and_amount_are_those_of_the_line(
    sold: str, verdict: str, seen: str
) -> None:
    line, other = compared(shuffled(LINES), sales(sold)).iter_rows(named=True)
    assert (line["ref"], line["verdict"]) == ("A", verdict)
    assert line["detail"] == f"Nexudus has {seen}; the ledger says 30 cents for customer 101"
    assert (other["ref"], other["verdict"], other["remote_id"]) == ("B", "absent", None)


@pytest.mark.parametrize("invoiced", [True, False])
def test_what_is_found_has_its_id_and_whether_it_is_on_an_invoice(invoiced: bool) -> None:
    line, other = compared(LINES, sales(f"invoiced\n{'y' if invoiced else 'n'}")).iter_rows(named=True)
    assert (line["remote_id"], line["invoiced"]) == (7, invoiced)
    assert other["invoiced"] is False
