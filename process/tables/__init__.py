"""How a number and a table are printed, on a terminal, on a page and in Markdown.

One value, `process.tables.value.Table`, and three ways to show it: text.py, html.py, markdown.py;
numbers.py says how each kind of number looks. The room is in process/, below every package, because
the audit of data prints tables as the reports of evaluation do, and data does not import
evaluation. Standard library only.
"""
