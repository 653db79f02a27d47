"""The command: what an operator types, one file for each group of commands, and how answers look.

What belongs here: arguments, the order of calls, exit codes, texts and tables. What does not: what a command does
(`operations`, `steps`).
"""
