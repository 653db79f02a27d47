"""The only room that writes to a service: one effect at a time, recorded before and after.

What belongs here: carrying out what was decided. What does not: deciding (`pipeline.domain`), the gates and the order
of a run (`pipeline.steps`), and the wire (`pipeline.services`). Nothing is retried here: a lost answer is looked up.

    effect.py   what came of one effect, from any error, and many effects chunk by chunk
    sales.py    money: sales made, looked up, undone
    credits.py  credits: used and given back
    users.py    print users made, changed, renamed, adjusted, removed; our mark on users that others made
    flags.py    printing flags of customers in Nexudus
"""
