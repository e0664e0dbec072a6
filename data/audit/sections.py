"""The audit's tables: one set of headings, cells and notes for the terminal and for the page."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from process.tables.numbers import count_and_share, percent
from process.tables.value import Table, columns_of

_CHOICE_PRIORS = 3  # of files without an open question
_ACROSS = ("lookup", "linear ranker", "nearest question")  # priors whose matrix is shown


def tables_of(
    report: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> Iterator[Table]:
    """Yield the tables of an audit; ``beside`` is an earlier one whose text priors stand beside."""
    yield _rows_table(report)
    yield _letters_table(report)
    yield _priors_table(report, beside)
    for prior in _ACROSS:
        if any(len(row) > 1 for row in report["matrix"].get(prior, {}).values()):
            yield _matrix_table(report, prior)
    yield _images_table(report)
    if any(pair["patients"]["readable"] for pair in report["pairs"].values()):
        yield _patients_table(report)
    if report["foreign_rows"]:
        yield _foreign_table(report)


def _rows_table(report: Mapping[str, Any]) -> Table:
    headings = ("file", "rows", "bad", "repeated", "images", "equal options", "unknown modality")
    keys = ("rows", "bad_rows", "repeated_rows", "images", "equal_options", "unknown_modality")
    rows = [[name, *(f"{fact[key]:,}" for key in keys)] for name, fact in report["files"].items()]
    note = (
        "bad: rows that no reader can use, left out of everything below. repeated: rows that ask an"
        " earlier row's question about its image. equal options: rows with two wrong options that"
        " are one text but for case, spacing and final punctuation. unknown modality: neither row"
        " nor file name tells it."
    )
    return Table(columns_of(headings), rows, "Rows", note)


def _letters_table(report: Mapping[str, Any]) -> Table:
    files = report["files"]
    counts = sorted({count for fact in files.values() for count in fact["option_counts"]}, key=int)
    letters = sorted({letter for fact in files.values() for letter in fact["right_letters"]})
    forms = sorted({form for fact in files.values() for form in fact.get("forms", ())} - {"letter"})
    headings = (
        *("file", *(f"{count} options" for count in counts)),
        *(form.replace("_", " or ") for form in forms),
        *("chance", *letters),
    )
    rows = [
        [
            name,
            *(f"{fact['option_counts'].get(count, 0):,}" for count in counts),
            *(f"{fact.get('forms', {}).get(form, 0):,}" for form in forms),
            percent(fact["chance"]),
            *_shares_right(fact["right_letters"], letters),
        ]
        for name, fact in files.items()
    ]
    note = (
        "rows by number of options; chance, the mean of 1 / options; and how often each letter is"
        " right, both in per cent."
    )
    if forms:
        note += (
            " Questions of yes or no, of a text or a number have no lettered options and are"
            " counted by that; with open questions among the rows there is no chance."
        )
    return Table(columns_of(headings), rows, "Options and letters", note)


def _shares_right(right: Mapping[str, int], letters: Iterable[str]) -> list[str | None]:
    rows = sum(right.values())
    return [percent(right.get(letter, 0) / rows) if rows else None for letter in letters]


def _priors_table(report: Mapping[str, Any], beside: Mapping[str, Any] | None) -> Table:
    pairs = report["pairs"]
    names = list(dict.fromkeys(name for pair in pairs.values() for name in pair["priors"]))
    earlier = {} if beside is None else {p["label"]: p["priors"] for p in beside["pairs"].values()}
    headings = ["test file", "n", "chance", *names, "lookup wrong"]
    headings += [f"{name} beside" for name in names] if beside is not None else []
    rows = []
    for name, pair in pairs.items():
        cells = [f"{pair['n']:,}", percent(pair["chance"])]
        cells += [_of_prior(pair["priors"], prior) for prior in names]
        cells.append(f"{len(pair['lookup_wrong']):,}")
        if beside is not None:
            other = earlier.get(pair["label"])
            cells += ["-" if other is None else _of_prior(other, p) for p in names]
        rows.append([_title(report, name), *cells])
    means = [
        _mean(p["priors"][prior]["accuracy"] for p in pairs.values() if prior in p["priors"])
        for prior in names
    ]
    chances = [pair["chance"] for pair in pairs.values()]
    chance = None if None in chances else _mean(chances)
    rows.append(["mean of the files", "", percent(chance), *map(percent, means)])
    note = (
        "accuracy in per cent of guessers that see no image, fitted on the train file of the pair."
        " What they reach, a model may reach without looking. lookup wrong: rows whose answer the"
        " option strings do not give away (their ids are in audit.json)."
    )
    if len(names) > _CHOICE_PRIORS:
        note += (
            " Each over the rows that it has an answer to: choices, open questions (answer"
            " majority, nearest question), or both (question majority)."
        )
    if beside is not None:
        note += " beside: the same in the audit named with --beside."
    return Table(columns_of(headings), rows, "Text priors", note)


def _of_prior(priors: Mapping[str, Any], name: str) -> str:
    return percent(priors[name]["accuracy"]) if name in priors else "-"


def _matrix_table(report: Mapping[str, Any], prior: str) -> Table:
    matrix = report["matrix"][prior]
    trains = list(next(iter(matrix.values())))
    rows, shades = [], []
    for test, row in matrix.items():
        rows.append([_title(report, test), *(percent(row[train]) for train in trains)])
        shades.append([None, *(row[train] for train in trains)])
    note = (
        f"accuracy of the {prior} in per cent: rows are test files, columns the train files that it"
        " was fitted on."
    )
    headings = ("test file", *(_title(report, train) for train in trains))
    return Table(columns_of(headings), rows, f"Text priors across files: {prior}", note, shades)


def _images_table(report: Mapping[str, Any]) -> Table:
    headings = ["test file", "n", "same path", "same question"]
    with_pictures = report["image_root"] is not None
    if with_pictures:
        headings += ["same content", "near-duplicate", "files found", "missing", "broken"]
    rows = []
    for name, pair in report["pairs"].items():
        images, n = pair["images"], pair["n"]
        cells = [
            f"{n:,}",
            count_and_share(images["same_image"], n),
            count_and_share(images["same_question"], n),
        ]
        if with_pictures:
            cells += [count_and_share(images[key], n) for key in ("same_content", "near_duplicate")]
            cells += [f"{images[key]:,}" for key in ("found", "missing", "broken")]
        rows.append([_title(report, name), *cells])
    note = (
        "test rows that show an image of the pair's train file, by its path; same question: with a"
        " train row's question as well."
    )
    if with_pictures:
        note += (
            " same content: the file's bytes are those of a train image. near-duplicate: that, or"
            f" its difference hash is at most {report['near_distance']} of 64 bits from a train"
            " image's, which makes it a picture to look at. files: images of both."
        )
    else:
        note += " With --image-root contents are compared, too."
    return Table(columns_of(headings), rows, "Images in train and test", note)


def _patients_table(report: Mapping[str, Any]) -> Table:
    rows = []
    for name, pair in report["pairs"].items():
        patients = pair["patients"]
        entries = {_title(report, name): patients} | {
            f"  {key}": e for key, e in patients["datasets"].items()
        }
        rows += [
            [
                title,
                f"{entry.get('rows', pair['n']):,}",
                f"{entry['readable']:,}",
                count_and_share(entry["in_train"], entry["readable"]),
            ]
            for title, entry in entries.items()
        ]
    note = (
        "test rows whose file name gives a patient, examination or series, and how many of them"
        " have theirs in the pair's train file, by data set."
    )
    headings = ("test file, data set", "n", "id readable", "in train")
    return Table(columns_of(headings), rows, "Patients in train and test", note)


def _foreign_table(report: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{_title(report, entry['test'])} in {_title(report, entry['train'])}",
            "yes" if entry["across_axes"] else "no",
            f"{entry['n']:,}",
            count_and_share(entry["same_image"], entry["n"]),
            count_and_share(entry["same_question"], entry["n"]),
        ]
        for entry in report["foreign_rows"]
    ]
    note = (
        "test rows whose image, or image and question, stand in a train file that is not the pair's"
        " own. A checkpoint must not be scored on such a test file."
    )
    headings = ("test file in train file", "other axis", "n", "same image", "same question")
    return Table(columns_of(headings), rows, "Test rows in other train files", note)


def _title(report: Mapping[str, Any], name: str) -> str:
    """Return a file's label, which is short, or its name where another file has that label."""
    part, label = (report["files"][name][key] for key in ("part", "label"))
    same = [f for f in report["files"].values() if (f["part"], f["label"]) == (part, label)]
    return label if len(same) == 1 else name


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
