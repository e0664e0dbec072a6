"""The audit as one HTML page that needs nothing from outside."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from process.tables.html import html_table
from process.tables.value import Table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.3rem; }
p { margin: 0.3rem 0 0.7rem; max-width: 52rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #8884; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
td.shaded { color: #000; }
ul { padding-left: 1.2rem; }
"""


def audit_page(report: Mapping[str, Any], tables: Iterable[Table], headlines: Sequence[str]) -> str:
    """Return the page: what stands out, the tables, bad rows and near-duplicates to look at."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Audit of split files</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Audit of split files</h1>",
        f"<p>{len(report['files'])} files, {report['totals']['rows']:,} rows</p>",
        _list(headlines),
        *map(_table, tables),
        *_details(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(table: Table) -> str:
    return f"<h2>{escape(table.title)}</h2>\n<p>{escape(table.note)}</p>\n{html_table(table)}"


def _details(report: Mapping[str, Any]) -> list[str]:
    parts = []
    bad = [line for fact in report["files"].values() for line in fact["bad_rows_shown"]]
    if bad:
        parts += ["<h2>Bad rows (the first of each file)</h2>", _list(bad)]
    near = [
        f"{entry['test']} and {entry['train']}: {entry['distance']} of 64 bits differ"
        for pair in report["pairs"].values()
        for entry in pair["images"].get("near_duplicates_shown", [])
    ]
    if near:
        parts += ["<h2>Near-duplicates to look at (test and train image)</h2>", _list(near)]
    return parts


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
