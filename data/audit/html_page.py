"""The audit as one HTML page that needs nothing from outside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from process.tables.document import bullets, document, paragraph, section
from process.tables.html import html_table
from process.tables.value import Table


def audit_page(report: Mapping[str, Any], tables: Iterable[Table], headlines: Sequence[str]) -> str:
    """Return the page: what stands out, the tables, bad rows and near-duplicates to look at."""
    counts = f"{len(report['files'])} files, {report['totals']['rows']:,} rows"
    return document(
        "Audit of split files",
        [
            paragraph(counts),
            bullets(headlines),
            *(section(one.title, paragraph(one.note, "note"), html_table(one)) for one in tables),
            *_details(report),
        ],
    )


def _details(report: Mapping[str, Any]) -> Iterator[str]:
    bad = [line for fact in report["files"].values() for line in fact["bad_rows_shown"]]
    yield section("Bad rows (the first of each file)", bullets(bad))
    near = [
        f"{entry['test']} and {entry['train']}: {entry['distance']} of 64 bits differ"
        for pair in report["pairs"].values()
        for entry in pair["images"].get("near_duplicates_shown", [])
    ]
    yield section("Near-duplicates to look at (test and train image)", bullets(near))
