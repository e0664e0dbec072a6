"""Write the tables of docs/data.md from the code that reads rows (data/reading/families/).

python scripts/make_data_doc.py            write them
python scripts/make_data_doc.py --check    exit with 1 where the page says something else
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data.reading.families import FAMILIES  # noqa: E402
from data.reading.families.family import RowFamily  # noqa: E402

PAGE = ROOT / "docs" / "data.md"
BEGIN = "<!-- written by scripts/make_data_doc.py from data/reading/families/ -->"
END = "<!-- end of what is written -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    page = PAGE.read_text("utf-8")
    wanted = written_anew(page)
    if given.check:
        sys.exit(f"{PAGE} differs from the code: run this script" if page != wanted else 0)
    PAGE.write_text(wanted, "utf-8")


def written_anew(page: str) -> str:
    """Return the page with the tables as the code has them."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    sections = "\n\n".join(section(family) for family in FAMILIES)
    return f"{before}{BEGIN}\n\n{sections}\n\n{END}{after}"


def section(family: RowFamily) -> str:
    """Return a family's heading, the sources that have it, and the table of its fields."""
    return "\n".join(
        [
            f"### {family.name}",
            "",
            f"{family.published}. Known by {family.shown.replace('|', ' or ')}.",
            "",
            "| field | also called | meaning |",
            "| --- | --- | --- |",
            *_lines(family),
        ]
    )


def _lines(family: RowFamily) -> Iterator[str]:
    for field in family.fields:
        others = ", ".join(f"`{name}`" for name in field.aliases)
        meaning = field.meaning + (" (stays among the row's other fields)" * field.is_kept)
        yield f"| `{field.name}` | {field.shown or others} | {meaning} |"


if __name__ == "__main__":
    main()
