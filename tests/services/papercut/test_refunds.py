"""What stays charged of a refunded job, whatever form the refund has; the forms are invented, the columns are not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.services.papercut.refunds import Charged, Row, charged

SIXTY, FORTY, TWENTY = Decimal(60), Decimal(40), Decimal(20)
STAYS, UNKNOWN, BACK = Charged(FORTY, refunded=False), Charged(None, refunded=False), Charged(SIXTY, refunded=True)
PART = "PARTIALLY_REFUNDED"


@pytest.mark.parametrize(
    ("row", "stays"),
    [
        (Row(SIXTY, SIXTY), Charged(SIXTY, refunded=False)),
        (Row(SIXTY, SIXTY, status="REFUND_REQUESTED"), Charged(SIXTY, refunded=False)),
        (Row(SIXTY, SIXTY, flagged=True), BACK),
        (Row(SIXTY, None, flagged=True, status="REFUNDED"), BACK),
        (Row(FORTY, SIXTY), STAYS),
        (Row(FORTY, SIXTY, status=PART), STAYS),
        (Row(FORTY, SIXTY, flagged=True, status=PART), STAYS),
        (Row(SIXTY, SIXTY, flagged=True, status=PART), UNKNOWN),
        (Row(SIXTY, None, flagged=True, status=PART), UNKNOWN),
        (Row(SIXTY, SIXTY, status=PART), UNKNOWN),
        (Row(FORTY, SIXTY, flagged=True), UNKNOWN),
        (Row(FORTY, SIXTY, flagged=True, status="REFUNDED"), Charged(FORTY, refunded=True)),
        (Row(SIXTY, SIXTY, status="REFUNDED"), UNKNOWN),
        (Row(SIXTY, SIXTY, flagged=True, status=PART, debited=SIXTY, credited=TWENTY), STAYS),
        (Row(SIXTY, SIXTY, flagged=True, debited=SIXTY, credited=TWENTY), STAYS),
        (Row(SIXTY, SIXTY, debited=SIXTY, credited=TWENTY), STAYS),
        (Row(FORTY, FORTY, debited=SIXTY, credited=TWENTY), STAYS),
        (Row(FORTY, SIXTY, credited=TWENTY), STAYS),
        (Row(SIXTY, SIXTY, credited=TWENTY), UNKNOWN),
        (Row(SIXTY, SIXTY, debited=SIXTY, credited=SIXTY), BACK),
        (Row(Decimal(-5), Decimal(-5), credited=Decimal(5)), Charged(Decimal(-5), refunded=False)),
        (Row(Decimal(0), SIXTY, status=PART, debited=SIXTY, credited=SIXTY), Charged(Decimal(0), refunded=False)),
    ],
)
def test_what_stays_charged(row: Row, stays: Charged) -> None:
    assert charged(row) == stays


@given(
    cost=st.integers(2, 10**6),
    share=st.floats(0.001, 0.999),
    lowered=st.sampled_from(["no", "cost", "both"]),
    flagged=st.booleans(),
    status=st.sampled_from(["", PART, "PARTIAL", "PARTIAL_REFUND", "DONE"]),
    transactions=st.sampled_from(["all", "only the refund", "none"]),
)
@settings(max_examples=10_000)
def test_what_was_not_refunded_stays_charged_to_the_cent_or_is_held(  # noqa: PLR0917 - the columns
    cost: int, share: float, lowered: str, flagged: bool, status: str, transactions: str
) -> None:
    back = Decimal(max(1, min(cost - 1, round(cost * share))))
    left = cost - back
    row = Row(
        cost=Decimal(cost) if lowered == "no" else left,
        original=left if lowered == "both" else Decimal(cost),
        flagged=flagged,
        status=status,
        debited=Decimal(cost) if transactions == "all" else Decimal(0),
        credited=back if transactions != "none" else Decimal(0),
    )
    silent = transactions == "none" and "PART" not in status and lowered != "cost"
    untold = transactions == "only the refund" and "PART" not in status and lowered != "cost"
    stays = charged(row)
    if silent and not flagged:  # nothing tells of a refund, or the row is that of a cheaper job
        assert stays == Charged(row.cost, refunded=False)
    elif (silent or untold) and flagged:  # the form of a refund of everything
        assert stays == Charged(row.cost, refunded=True)
    else:
        assert stays in {Charged(left, refunded=False), UNKNOWN}
        if transactions == "all" or (lowered == "cost" and ("PART" in status or not flagged)):
            assert stays.cost == left, "the amount is known"


@given(cost=st.integers(1, 10**6), flagged=st.booleans(), known=st.booleans(), status=st.sampled_from(["", "REFUNDED"]))
def test_what_was_refunded_in_full_is_never_charged(cost: int, flagged: bool, known: bool, status: str) -> None:
    whole = Decimal(cost)
    paid = whole if known else Decimal(0)
    stays = charged(Row(whole, whole, flagged, status, debited=paid, credited=paid))
    if flagged or known:
        assert stays.refunded
    else:
        assert stays in {UNKNOWN, Charged(whole, refunded=False)}
        assert status or stays.cost == whole
