"""Write-backs: which changes of credits in Nexudus were our own, and which sites they concern.

What belongs here: the one question about it. What does not: making a write-back (`pipeline.effects.credits`), and what
a change is a reason for (`pipeline.steps.look`).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipeline.store.sql import Connection

_STRANGE = """
WITH answer AS (
    SELECT charge.site, charge.credit_id, CASE WHEN json_valid(event.detail) THEN event.detail END AS detail
    FROM charge_event AS event JOIN charge USING (ref) JOIN (SELECT DISTINCT credit_id FROM seen) USING (credit_id)
    WHERE event.state = 'confirmed'
),
own AS (
    SELECT site, credit_id,
        date_trunc('second', CAST(json_extract_string(detail, '$.updated_on') AS TIMESTAMPTZ)) AS changed_at,
        date_trunc('second', CAST(json_extract_string(detail, '$.was') AS TIMESTAMPTZ)) AS was
    FROM answer WHERE json_extract_string(detail, '$.mode') = 'nexudus'
),
ours AS (
    SELECT credit_id, changed_at, bool_or(site = $site) AS mine, coalesce(bool_and(was <= $since), false) AS over_read
    FROM own GROUP BY ALL
),
held AS (
    SELECT granted.credit_id, granted.coworker_id, customer.email_key
    FROM nexudus_credits AS granted LEFT JOIN nexudus_customers AS customer USING (coworker_id)
),
here AS (
    SELECT credit_id FROM held JOIN print_accounts AS account USING (email_key)
    WHERE account.site = $site AND account.reason IS DISTINCT FROM 'other_location'
    UNION SELECT credit_id FROM held JOIN nexudus_teams AS team ON team.payer_id = held.coworker_id WHERE $shares
)
SELECT count(*) FROM seen LEFT JOIN ours USING (credit_id, changed_at) LEFT JOIN held USING (credit_id)
    LEFT JOIN here USING (credit_id)
WHERE mine IS NULL OR (mine AND NOT over_read)
    OR (NOT mine AND (held.credit_id IS NULL OR here.credit_id IS NOT NULL))
"""


def concerned(con: Connection, site: str, seen: pl.DataFrame, since: datetime, *, shares: bool) -> bool:
    """Whether a site has to look into any of some changes of credits.

    It has not where it wrote the change itself: its ledger knows what was used. But where somebody had changed the
    credit since the site was decided, its own write lies over a change that it has not read. It has not where another
    site wrote it, unless the holder belongs to this site or, where teams share their credits, pays for a team.

    Args:
        con: an open connection.
        site: the site.
        seen: credit_id, changed_at (when the credit was changed last, to the second, UTC).
        since: the newest change from which the site was decided, UTC.
        shares: whether the site goes by what teams share.
    """
    con.register("seen", seen)
    try:
        found = con.execute(_STRANGE, {"site": site, "since": since, "shares": shares}).fetchone()
    finally:
        con.unregister("seen")
    return bool(found and found[0])
