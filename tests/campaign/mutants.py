"""Seeded bugs: the program with one rule of money safety taken out, and the test that must notice.

What belongs here: the table of bugs as small replacements in the source, and trying one in a copy of the tree. What
does not: the tests that notice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RULES, CLIENT, PLAN = (
    "tests/campaign/test_rules.py",
    "tests/services/nexudus/test_client.py",
    "tests/domain/people/test_plan.py",
)
ANSWERS, OWNERSHIP = "tests/services/nexudus/test_wire.py", "tests/domain/people/test_ownership.py"
HISTORY, SETUP = "tests/steps/test_history.py", "tests/steps/test_setup_changes.py"
SALES, CREDITS, WIRE = "pipeline/effects/sales.py", "pipeline/effects/credits.py", "pipeline/services/nexudus/wire.py"
NEXUDUS, REFERENCES, MODEL = (
    "pipeline/services/nexudus/client.py",
    "pipeline/domain/money/references.py",
    "tests/campaign/test_model.py",
)


class Mutant(NamedTuple):
    """One bug: in `path`, `right` becomes `wrong`; `killer` is the test that notices."""

    path: str
    right: str
    wrong: str
    killer: str


_LOOKED_UP = f"{RULES}::test_a_sale_with_an_unknown_outcome_is_not_sent_again_before_it_was_looked_up"

MUTANTS: dict[str, Mutant] = {
    "no intent": Mutant(
        SALES,
        'ledger.move(con, intents, "sending", mover)',
        "pass",
        f"{RULES}::test_the_intent_is_stored_before_the_first_byte_leaves",
    ),
    "blind retry": Mutant(
        "pipeline/effects/effect.py", 'return Outcome("unknown", str(error))', 'return Outcome("undone", str(error))',
        _LOOKED_UP,
    ),
    "look-up at once": Mutant(
        SALES, "settled = at - timedelta(minutes=site.settings.settle_minutes)\n    lines",
        "settled = at\n    lines",
        _LOOKED_UP,
    ),
    "interrupted lines forgotten": Mutant(
        "pipeline/steps/charge.py", "ledger.orphans(con, site.key, mover)", "0",
        f"{RULES}::test_a_line_that_an_ended_run_left_in_sending_is_charged_once",
    ),
    "random reference": Mutant(
        REFERENCES, "int.from_bytes(hashlib.blake2b(site.encode(), digest_size=2).digest()) & 0x7FFF",
        '__import__("secrets").randbelow(0x7FFF)', f"{MODEL}::test_a_reference_is_the_same_for_ever",
    ),
    "time in the reference": Mutant(
        REFERENCES, "hashlib.blake2b(site.encode(), digest_size=2)",
        'hashlib.blake2b(f"{site}{__import__(\'time\').time_ns()}".encode(), digest_size=2)',
        f"{MODEL}::test_a_reference_is_the_same_for_ever",
    ),
    "HTTP 200 trusted": Mutant(
        WIRE, "if 200 <= status < 300 and successful is True:", "if 200 <= status < 300:",
        f"{ANSWERS}::test_what_an_answer_means",
    ),
    "500 taken as failure": Mutant(
        WIRE, '        return "rejected"\n    return "unknown"', '        return "rejected"\n    return "passing"',
        f"{ANSWERS}::test_what_an_answer_means",
    ),
    "409 throttle taken as refusal": Mutant(
        WIRE, "if answer == 429 or (answer == 409 and _THROTTLE.search(said)):", "if answer == 429:",
        f"{ANSWERS}::test_what_an_answer_means",
    ),
    "Retry-After lost": Mutant(
        WIRE, "return float(retry_after)", "return None", f"{ANSWERS}::test_the_hint_how_long_to_wait"
    ),
    "local time instead of UTC": Mutant(
        WIRE, '(form[3] or "Z")', '(form[3] or "+01:00")', f"{ANSWERS}::test_every_form_of_time"
    ),
    "float money": Mutant(
        "pipeline/services/nexudus/records.py",
        "    scaled = Decimal(amount) * 100\n    return int(scaled) if scaled == scaled.to_integral_value() else None",
        "    return int(float(amount) * 100)", f"{MODEL}::test_money_is_exact_to_the_cent",
    ),
    "ignored filter": Mutant(
        NEXUDUS, "if name := ignored_filter(entity, filters, read.values()):", 'if name := "":',
        f"{CLIENT}::test_a_filter_that_the_service_ignored_is_noticed",
    ),
    "no completeness gate": Mutant(
        NEXUDUS, "        if totals != {len(read)}:\n            raise", "        if not totals:\n            raise",
        f"{CLIENT}::test_a_short_list_is_an_error_with_its_numbers",
    ),
    "look-up reads page 1 only": Mutant(
        NEXUDUS, "self._page(entity, filters, page=page), range(2, pages + 1))",
        "self._page(entity, filters, page=page), range(2, min(pages, 1)))", f"{CLIENT}::test_a_list_is_complete",
    ),
    "`>` cursor": Mutant(
        "pipeline/services/papercut/database.py", "JOBS.where(last - LOOK_BACK < _ID) if cursor",
        "JOBS.where(last < _ID) if cursor",
        "tests/services/papercut/test_database.py::test_a_row_that_became_visible_late_is_noticed_and_read",
    ),
    "no adoption": Mutant(
        SALES, 'found = verdicts.filter(verdict="found")', 'found = verdicts.filter(verdict="found", state="unknown")',
        f"{RULES}::test_an_older_warehouse_finds_the_sales_it_has_forgotten",
    ),
    "older ledger believed": Mutant(
        "pipeline/steps/charge.py", "        _refuse_older_ledger(con, site, planned, sold)\n", "",
        f"{RULES}::test_a_lost_or_older_warehouse_charges_nothing_again",
    ),
    "failed read-back taken as not done": Mutant(
        CREDITS,
        "after_write(lambda: site.nexudus.record(ENTITY, write.use.credit_id))",
        "site.nexudus.record(ENTITY, write.use.credit_id)",
        f"{RULES}::test_a_credit_whose_read_back_fails_is_not_used_again",
    ),
    "edit of a credit overwritten": Mutant(
        CREDITS,
        'if replacement(site.nexudus.record(ENTITY, write.use.credit_id)) == replacement(write.before):',
        "if True:",
        f"{RULES}::test_an_edit_of_a_credit_while_it_is_used_is_not_overwritten",
    ),
    "top-up overwritten by a late write": Mutant(
        CREDITS, 'if named and remaining == intent["after"] + more:', "if named:",
        f"{RULES}::test_a_top_up_that_a_late_write_went_over_is_told_with_its_number",
    ),
    "restored backup believed": Mutant(
        "pipeline/store/backup.py", "            stops.note_restored(con, sites, folder.name, now)\n", "",
        f"{RULES}::test_a_restored_backup_charges_and_gives_back_nothing_twice_whatever_changed_since",
    ),
    "credits given back twice after a restore": Mutant(
        "pipeline/domain/money/recovery.py", 'pl.col("stood") != pl.col("due"))\n    uses =', "False)\n    uses =",
        "tests/domain/money/test_recovery.py::test_a_use_whose_job_was_refunded_since_is_not_given_back_twice",
    ),
    "unmanaged removal": Mutant(
        "pipeline/services/papercut/system.py",
        ' or mark(self._site, change.coworker_id) not in seen["notes"]', "",
        f"{RULES}::test_a_user_who_lost_our_mark_since_the_plan_was_made_is_not_removed",
    ),
    "no ownership check": Mutant(
        "pipeline/domain/people/ownership.py", 'ours=is_owned & (mark | ((state == "creating") & unmarked)),',
        "ours=is_owned,",
        f"{OWNERSHIP}::test_a_user_that_is_not_provably_ours_is_only_held",
    ),
    "cap ignored": Mutant(
        "pipeline/domain/people/plan.py", "    if _over_run_cap(removals, owned_count):", "    if removals < 0:",
        f"{PLAN}::test_the_caps",
    ),
    "decided by what holds now": Mutant(
        "pipeline/domain/money/charges.py",
        'with_payer(cases.filter("decide"), accounts, customers, past.access)',
        'with_payer(cases.filter("decide"), accounts, customers, NO_PAST.access)',
        f"{HISTORY}::test_a_job_printed_for_free_is_waived_although_the_customer_pays_by_now",
    ),
    "the replacement goes before its reversal": Mutant(
        SALES, '        priced = priced.join(waiting_lines(con, site.key), on="ref", how="anti")\n', "",
        "tests/steps/test_refunds.py::test_a_partial_refund_of_an_invoiced_sale_is_billed_once_for_every_order_of_decisions",
    ),
    "an odd record is no record": Mutant(
        "pipeline/steps/read.py", "_kept(before, listing, odd, now)]", "before.clear()]",
        "tests/steps/test_bad_input.py::test_a_record_that_cannot_be_read_keeps_its_user_and_stops_nobody",
    ),
    "a renamed user is lost": Mutant(
        "pipeline/steps/read.py", "        _follow(con, site.key, users, read_at)\n", "",
        "tests/steps/test_hands.py::test_a_user_that_staff_rename_leaves_with_its_customer",
    ),
    "a lost mark is not told": Mutant(
        "pipeline/operations/findings.py",
        'found.filter(~(pl.col("marked") & (right | passed_on)) | ~pl.col("internal"))',
        'found.filter(~pl.col("internal"))',
        "tests/operations/test_causes.py::test_a_lost_mark_is_told_and_of_a_suspended_customer_at_once_as_urgent",
    ),
    "a credit above the limit becomes money": Mutant(
        "pipeline/domain/money/charges.py", "_paid(_waiting_for(large, pool, cases, of_era), pool, of_era)",
        "_paid(cases, pool, of_era)",
        "tests/domain/money/test_retried.py::test_a_credit_above_the_limit_never_pays_and_never_makes_a_job_money",
    ),
    "looked up under another product": Mutant(
        SALES, 'products_of(site, pl.concat([due.select("product_id"), new.select("product_id")]))',
        "products_of(site, due.clear())",
        f"{SETUP}::test_a_sale_without_an_answer_is_looked_up_under_the_product_it_was_made_of",
    ),
}  # fmt: skip


def fits(mutant: Mutant) -> bool:
    """Whether the source still has exactly one place for the bug."""
    return (ROOT / mutant.path).read_text("utf-8").count(mutant.right) == 1


def killed(mutant: Mutant, folder: Path) -> bool:
    """Whether its test fails in a copy of the tree that has the bug.

    Args:
        mutant: the bug.
        folder: an empty folder for the copy.

    Raises:
        RuntimeError: the test could not be run.
    """
    for name in ("pipeline", "assets", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "bridge.example.toml", ".env.example"):
        shutil.copy(ROOT / name, folder / name)
    path = folder / mutant.path
    path.write_text(path.read_text("utf-8").replace(mutant.right, mutant.wrong), "utf-8")
    command = [sys.executable, "-m", "pytest", "-x", mutant.killer]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.killer} could not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1
