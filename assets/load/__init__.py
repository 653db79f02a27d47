"""Load: the only package that writes to Nexudus and PaperCut.

What belongs here: carrying out what the tables decided, one effect at a time, with the ledger or the ownership record
written before and after. What does not: deciding (`assets.transform`). The safety gates are inside these functions,
because a run of a load asset alone skips every check upstream. No retry policy here: an unknown outcome is looked up.

    charges.py   the asset nexudus_print_charges: ledger lines become sales and credit use
    sales.py     money: sales made, looked up, undone
    credits.py   credits: used and given back
    user_sync.py the asset papercut_user_sync: the plan of users applied
    users.py     users made, changed, renamed, adjusted, removed
    access.py    printing flags of customers in Nexudus, for the command `access`
    adoption.py  our mark in the notes of users that others made, for the command `adopt`
    effect.py    one attempt at one effect, the state it leaves, and many effects chunk by chunk
"""
