"""The answers so far of an evaluation at work: what a broken-off one goes on from.

    DIR.unfinished/evaluation.json      what decides the answers: only the same evaluation goes on
    DIR.unfinished/predictions.jsonl    one line per answer, in the order of asking

Answers are added batch by batch, so that a process killed at any moment loses one batch, and none
is held in memory: an answer is the place where its line begins. DIR itself comes into being whole,
in the end, and this folder goes.

The order of asking follows from the data alone, so line n answers question n. A line that was cut
short is forgotten with all after it; a whole one that answers another question stops the job.
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from evaluation.answers.finished import json_line
from evaluation.answers.identity import Identity
from evaluation.answers.prediction import AnswerKey, Prediction
from process.disk import make_folder
from process.leftovers import contents, discard
from process.lines import say_damaged
from process.output import ERRORS
from process.regular import open_regular, read_text
from process.storage import write_json

SETTINGS, _ANSWERS = "evaluation.json", "predictions.jsonl"


def unfinished_folder(output: Path) -> Path:
    """Return where the answers lie until the evaluation is in its place.

    >>> unfinished_folder(Path("/runs/ct")).as_posix()
    '/runs/ct.unfinished'
    """
    place = output.resolve()
    return place.with_name(f"{place.name}.unfinished")


class Unfinished:
    """The folder DIR.unfinished beside the place of an evaluation, made with the first answer."""

    def __init__(self, output: Path, identity: Identity) -> None:
        """Look at nothing yet; until `find` does there are no answers.

        Args:
            output: the place of the finished evaluation.
            identity: what decides the answers.
        """
        self.folder = unfinished_folder(output)
        self._identity = identity
        self._otherwise = (
            f"remove {self.folder} to begin anew, or name another --output-dir; nothing is"
            " written over"
        )
        self._ends = array("q", [0])  # where the first 0, 1, 2, .. answers end, in bytes
        self._num_correct = array("q", [0])  # among the first 0, 1, 2, .. answers
        self._file_size = 0

    def find(self, questions: Iterable[AnswerKey]) -> None:
        """Find what is answered already; nothing is written.

        Args:
            questions: the keys of all questions, in the order of asking.

        Raises:
            ValueError: the folder is of another evaluation, or cannot be read.
        """
        if self.folder.exists():
            try:
                self._check_identity()
                self._find_answers(questions)
            except OSError as error:
                raise ValueError(
                    f"{self.folder} cannot be read ({error}): {self._otherwise}"
                ) from error

    def __len__(self) -> int:
        """Answers so far."""
        return len(self._ends) - 1

    def num_correct(self, first: int) -> int:
        """Return how many answers are right from number ``first`` on."""
        return self._num_correct[-1] - self._num_correct[first]

    def keep(self, count: int) -> None:
        """Forget all answers but the first ``count``."""
        del self._ends[count + 1 :], self._num_correct[count + 1 :]

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Add the answers to the next questions.

        Raises:
            ValueError: they cannot be written, such as on a full disk, or another process writes
                there; earlier answers are kept.
        """
        lines = [json_line(item).encode("utf-8", ERRORS) for item in predictions]
        try:
            make_folder(self.folder)
            if not (self.folder / SETTINGS).is_file():
                write_json(self.folder / SETTINGS, self._identity.to_json())
            with (self.folder / _ANSWERS).open("ab") as stream:
                self._check_alone(stream.tell())
                stream.truncate(self._ends[-1])  # what is not kept
                stream.write(b"".join(lines))
        except OSError as error:
            raise ValueError(
                f"answers cannot be written to {self.folder} ({error}): the same command goes on"
                " when there is room"
            ) from error
        for line, item in zip(lines, predictions, strict=True):
            self._count(len(line), item)
        self._file_size = self._ends[-1]

    def read(self, numbers: Iterable[int]) -> Iterator[Prediction]:
        """Yield the answers to these questions, numbered from 0 in the order of asking."""
        with open_regular(self.folder / _ANSWERS) as stream:
            for number in numbers:
                stream.seek(self._ends[number])
                yield Prediction.from_json(json.loads(stream.readline()))

    def remove(self) -> None:
        """Remove the folder, since the evaluation is in its place; a lock goes with its owner."""
        for name in (_ANSWERS, SETTINGS):  # answers alone would be nobody's
            discard(self.folder / name)
        with suppress(OSError):
            self.folder.rmdir()

    def _check_identity(self) -> None:
        file = self.folder / SETTINGS
        if not file.is_file():
            if contents(self.folder):  # more than what was left when it was first written
                raise ValueError(f"{self.folder} holds no evaluation to go on: {self._otherwise}")
            return
        try:
            found = dict(json.loads(read_text(file)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file} cannot be read ({error}): {self._otherwise}") from error
        if difference := self._identity.difference(found):
            raise ValueError(
                f"{self.folder} was begun with {difference}: repeat the command that began it to"
                f" go on, {self._otherwise}"
            )

    def _find_answers(self, questions: Iterable[AnswerKey]) -> None:
        file = self.folder / _ANSWERS
        if not file.is_file():
            return
        questions = iter(questions)
        self._file_size = file.stat().st_size
        with open_regular(file) as stream:
            for line in stream:
                try:
                    item = Prediction.from_json(json.loads(line))
                except (ValueError, TypeError, KeyError):
                    if line.endswith(b"\n"):  # and was not just cut short
                        say_damaged(file, len(self) + 1)
                    return
                if not line.endswith(b"\n"):
                    return
                if item.key != next(questions, None):
                    raise ValueError(
                        f"{file}, line {len(self) + 1}, answers another question than the one"
                        f" asked there ({item.id}): {self._otherwise}"
                    )
                self._count(len(line), item)

    def _count(self, num_bytes: int, item: Prediction) -> None:
        self._ends.append(self._ends[-1] + num_bytes)
        self._num_correct.append(self._num_correct[-1] + item.correct)

    def _check_alone(self, file_size: int) -> None:
        if file_size != self._file_size:
            raise ValueError(
                f"another process writes to {self.folder}: let it finish, or end it, then start"
                " the same command again"
            )
