"""`evaluate.py export`: result files of other evaluators, from evaluations that are finished."""

from pathlib import Path

from evaluation.answers.finished import read_evaluation
from evaluation.configs import ExportConfig
from evaluation.export.evaluators import exported_files
from process.storage import write_text


def export_command(config: ExportConfig) -> None:
    """Write the files beside each evaluation's own; those of an earlier export are replaced.

    All evaluations are read before the first file is written.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    places = [Path(directory) for directory in config.evaluations]
    texts: dict[Path, str] = {}
    for place in places:
        found = read_evaluation(place)
        files = exported_files(config.to, found.about, found.rows)
        texts |= {place / name: "".join(pieces) for name, pieces in files.items()}
    for file, text in texts.items():
        write_text(file, text)
        print(f"written: {file}")
