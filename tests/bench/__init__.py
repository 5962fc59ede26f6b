"""`make bench`: what Countersign costs, measured on the parts that were built, beside pam_permit and Debian's pam_duo.

Each module `rows_NAME.py` measures one thing: its `measure(bench)` yields rows of the one table. `ROWS=NAME,…` picks
modules; patterns as in the shell.
"""
