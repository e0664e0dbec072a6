"""How numbers, tables and pages are shown: on a terminal, as HTML and in Markdown.

One value, `process.tables.value.Table`, and three ways to show it: text.py, html.py, markdown.py.
numbers.py says how each kind of number looks, document.py makes a page of HTML. The room is in
process/, below every package, because the audit of data shows tables as the reports of evaluation
do, and data does not import evaluation. Standard library only.
"""
