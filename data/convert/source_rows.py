"""The examples of some data files, one by one, and the rows among them that cannot be one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.examples import VQAExample
from data.named import is_phantoms
from data.reading.bad_rows import BadRow, bad_rows_report
from data.reading.bad_rows_file import note_bad_rows
from data.reading.files import DataFile, data_files
from data.reading.only import Only
from data.reading.readers import each_row
from process.signals import end_if_asked


class SourceRows:
    """What some files hold; every pass over it reads them anew.

    Attributes:
        bad_rows: of the last pass.
        only: which rows are read, and how many of the last pass were.
        count: examples of the last pass.
    """

    def __init__(
        self,
        names: Sequence[str],
        image_root: Path,
        *,
        skip_bad_rows: bool,
        only: Sequence[str] = (),
    ) -> None:
        """Read nothing yet.

        Args:
            names: files, and folders of them.
            image_root: the folder under which image paths begin.
            skip_bad_rows: leave them out.
            only: FIELD=VALUE, which rows are read.

        Raises:
            ValueError: ``phantoms``, which is no file; a folder without files; no condition.
        """
        self.only = Only(only)
        for name in names:
            if is_phantoms(name):
                raise ValueError(
                    f"{name} is the embedded data, which is in no file: write it with `python -m"
                    " data.phantoms --output-dir DIR` and name the files there"
                )
        self.files: list[DataFile] = [file for name in names for file in data_files(name)]
        self.image_root = image_root
        self.bad_rows: list[BadRow] = []
        self.count = 0
        self._skip = skip_bad_rows

    def __iter__(self) -> Iterator[VQAExample]:
        """Yield the examples; at the end a ValueError about bad rows that may not be skipped.

        Or that no row was asked for.
        """
        self.bad_rows, counts = [], Counter[str]()
        self.only = Only(self.only.texts)  # of this pass
        for file in self.files:
            path = str(Path(file.name))
            for found in each_row(file.name, self.image_root, file.stem, self.only):
                end_if_asked()
                counts[path] += 1
                if isinstance(found, BadRow):
                    self.bad_rows.append(found)
                else:
                    yield found
        self.count = sum(counts.values()) - len(self.bad_rows)
        self.only.check_some("the files")
        self._check(counts)

    def _check(self, counts: Counter[str]) -> None:
        note_bad_rows(self.bad_rows)
        bad = Counter(row.file for row in self.bad_rows)
        is_lost = any(bad[path] == count for path, count in counts.items())
        if self.bad_rows and (is_lost or not self._skip):
            raise ValueError(bad_rows_report(self.bad_rows, counts))
