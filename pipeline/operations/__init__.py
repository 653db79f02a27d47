"""What an operator asks for, one file for each: access, adopt, alerts, doctor, explain, held, recover, resume, site.

What belongs here: the work behind a command. What does not: arguments and tables (`cli`), and the runs that the
schedule asks for (`steps`). Nothing here knows Dagster.
"""
