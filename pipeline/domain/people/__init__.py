"""Who gets a print user, whose a user is, and what would change.

What belongs here: rules about customers and print users. What does not: what a job costs whom (`money`); these rules
may ask `money` for the credits that are left, and never the other way round.
"""
