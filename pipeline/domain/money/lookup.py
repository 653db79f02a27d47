"""Looking a sale up by its reference: what a complete list from Nexudus says about lines of the ledger.

What belongs here: the comparison. What does not: fetching the list, proving it complete, or moving a line.
"""

from __future__ import annotations

import polars as pl


def compared(lines: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    """What a complete list of sales says about each of some ledger lines.

    Args:
        lines: ref, coworker_id, amount_cents.
        sales: the columns of `services.nexudus.records.SALES`.

    Returns:
        ref, verdict, remote_id, invoiced, detail. The verdict is `absent`; `found`: one sale with this reference,
        customer and amount; `contradicted`: several, or one with another customer or amount.
    """
    joined = lines.select("ref", "coworker_id", "amount_cents").join(
        sales.rename({"coworker_id": "sold_to"}), on="ref", how="left"
    )
    agrees = (
        (pl.col("sold_to") == pl.col("coworker_id"))
        & (pl.col("quantity") == pl.col("amount_cents"))
        & (pl.col("total_cents").fill_null(pl.col("amount_cents")) == pl.col("amount_cents"))
    )
    return (
        joined.group_by("ref")
        .agg(
            found=pl.col("remote_id").count(),
            agrees=agrees.fill_null(value=False).all(),
            remote_id=pl.col("remote_id").first(),
            invoiced=pl.col("invoiced").first().fill_null(value=False),
            wanted=pl.format("{} cents for customer {}", pl.col("amount_cents").first(), pl.col("coworker_id").first()),
            seen=pl.format("sale {}: {} cents for customer {}", "remote_id", "quantity", "sold_to").drop_nulls(),
        )
        .select(
            "ref",
            verdict=pl.when(pl.col("found") == 0)
            .then(pl.lit("absent"))
            .when((pl.col("found") == 1) & pl.col("agrees"))
            .then(pl.lit("found"))
            .otherwise(pl.lit("contradicted")),
            remote_id=pl.col("remote_id"),
            invoiced=pl.col("invoiced"),
            detail=pl.format("Nexudus has {}; the ledger says {}", pl.col("seen").list.join(", "), "wanted"),
        )
        .sort("ref")
    )
