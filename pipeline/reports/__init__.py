"""The monthly report: its sheets and figures, and how they look as page, workbook and CSV files.

What belongs here: shaping what is given. What does not: collecting it and writing the folder (`pipeline.steps.report`).
Import `page` and `workbook` only where a report is made: they load libraries that no other run needs.
"""
