"""An evaluation that can be broken off at any moment, and goes on when it is started again.

The questions of all passes stand in one order, the batches are consecutive ones of it, and every
batch's answers go to the disk at once (evaluation/answers/unfinished.py). Started again with the
same questions, the same batches are formed, so that what comes out is what an uninterrupted
evaluation gives. evaluate.py and every cell of a matrix are evaluated this way.

Where several processes work together each answers some of the batches; the first keeps the answers
of all (evaluation/asking/dealing.py).
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from evaluation.answers.finished import write_evaluation
from evaluation.answers.identity import Identity, check_agreed
from evaluation.answers.prediction import Prediction
from evaluation.answers.unfinished import Unfinished
from evaluation.asking.dealing import dealt, packed, unpacked
from evaluation.asking.evaluation_plan import EvaluationPlan, Pass, asking_order
from evaluation.asking.unread import NOT_ANSWERED, Unread
from evaluation.measures.thought_changes import ThoughtRow
from process.bars import bar
from process.called import module_line
from process.ranks import world
from process.signals import held, saying_kept

_PIECE = 1000  # answers that are told at once


@dataclass(frozen=True)
class _Batch:
    """Questions of one forward."""

    item: Pass
    indices: list[int]  # of the pass' examples
    first: int  # the number of the pass' first question among all
    end: int  # that of the question after the batch's last

    def answered(self, answer: Callable[..., list[Prediction]]) -> list[Prediction]:
        """Return what ``answer`` says to them."""
        orders = self.item.orders and [self.item.orders[index] for index in self.indices]
        examples = [self.item.examples[index] for index in self.indices]
        return answer(examples, control=self.item.control, orders=orders)


class ResumableEvaluation:
    """The questions of a plan, and their answers so far."""

    def __init__(
        self,
        plan: EvaluationPlan,
        output: Path,
        identity: Identity,
        *,
        template: str,
        how_to_go_on: str = "the same command goes on",
    ) -> None:
        """Order the questions and find what is answered already; nothing is written.

        Args:
            plan: what is asked.
            output: the directory that the finished evaluation becomes.
            identity: what decides the answers.
            template: of the prompts, for their lengths.
            how_to_go_on: what a broken-off evaluation says about going on.

        Raises:
            ValueError: what lies at ``output`` with `.unfinished` after it is of another
                evaluation.
        """
        self.plan, self.output, self._how_to_go_on = plan, output, how_to_go_on
        self._orders = [asking_order(item.examples, template) for item in plan.passes]
        keys = (
            item.key(index)
            for item, order in zip(plan.passes, self._orders, strict=True)
            for index in order
        )
        self._answers, self._identity = Unfinished(output, identity), identity
        if world().is_first:
            self._answers.find(keys)
        self._is_written = False

    @property
    def num_answered(self) -> int:
        """Questions that are answered, over all passes."""
        return len(self._answers)

    def run(
        self, answer: Callable[..., list[Prediction]], batch_size: int, *, progress: bool = True
    ) -> None:
        """Ask what is left.

        Args:
            answer: an `evaluation.asking.answerer.Answerer`.
            batch_size: questions of one forward. A number other than before goes on as well, with
                batches of which some are not those of an uninterrupted evaluation.
            progress: show a bar of the questions of all passes, with the time left.

        Raises:
            ValueError: a batch size below 1, too many questions in a row that could not be asked,
                processes that read other data, and what ``answer`` and `Unfinished.append` raise.
        """
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size} must be at least 1")
        check_agreed(self._identity)
        self._keep_whole_batches(batch_size)
        done = world().by_the_first("going on", lambda: len(self._answers))
        batches = list(self._batches(batch_size, done))
        unread = Unread(NOT_ANSWERED)
        progress_bar = bar(
            total=self.plan.num_questions,
            initial=done,
            unit="question",
            smoothing=0,  # the mean over all questions: batches begin with the longest ones
            disable=not (progress and world().is_first),
            leave=False,
        )

        def answered(batch: _Batch) -> list[Prediction]:
            progress_bar.set_description(batch.item.title)
            return batch.answered(answer)

        with progress_bar, self.saying_what_is_kept():
            found = dealt(batches, answered, "evaluating", pack=packed, unpack=unpacked)
            for batch, predictions in zip(batches, found, strict=True):
                unread.note(item.unanswered for item in predictions)
                with world().together("keeping the answers"):
                    if world().is_first:
                        self._answers.append(predictions)
                        share = self._answers.num_correct(batch.first) / (batch.end - batch.first)
                        progress_bar.set_postfix(accuracy=f"{share:.1%}", refresh=False)
                progress_bar.update(len(predictions))

    def _batches(self, batch_size: int, done: int) -> Iterator[_Batch]:
        """Yield the batches that are left behind the first ``done`` questions."""
        for item, order, first in self._passes():
            for start in range(max(done - first, 0), len(order), batch_size):
                indices = order[start : start + batch_size]
                yield _Batch(item, indices, first, first + start + len(indices))

    def _passes(self) -> Iterator[tuple[Pass, list[int], int]]:
        """Yield each pass, its indices in the order of asking, its first question's number."""
        first = 0
        for item, order in zip(self.plan.passes, self._orders, strict=True):
            yield item, order, first
            first += len(order)

    def _keep_whole_batches(self, batch_size: int) -> None:
        """Forget the answers of a batch that was not finished: it is asked again whole."""
        for _, order, first in self._passes():
            done = len(self._answers) - first
            if 0 < done < len(order):
                self._answers.keep(first + done - done % batch_size)

    @contextmanager
    def saying_what_is_kept(self) -> Iterator[None]:
        """Say what is kept when something breaks the evaluation off, short of kill -9."""
        with saying_kept(self.kept):
            try:
                yield
            except Exception:
                if text := self.kept():
                    print(f"\n{text}", file=sys.stderr)
                raise

    def kept(self) -> str | None:
        """Return how many answers are kept, and how to go on; None while there are none."""
        if self._is_written:
            again = module_line("evaluation.report", str(self.output))
            return f"{self.output} is written, for its report: {again}"
        if not self._answers:
            return None
        return (
            f"{len(self._answers):,} of {self.plan.num_questions:,} answers are kept in"
            f" {self._answers.folder}: {self._how_to_go_on}"
        )

    def predictions(self) -> list[Prediction]:
        """Return the answers to all questions in the plan's order, pass after pass.

        Of several processes the first has them.
        """
        return list(self._in_order())

    def told(self, count: int) -> list[Prediction]:
        """Return the first ``count`` of `predictions`, in every process."""
        answers: list[Prediction] = []
        own = self._in_order() if world().is_first else iter(())

        def piece() -> list[dict[str, Any]]:  # every process holds a piece of all of them
            return packed(list(islice(own, min(_PIECE, count - len(answers)))))

        while len(answers) < count:
            answers += unpacked(world().by_the_first("telling answers", piece))
        return answers

    def write(
        self,
        summary: Mapping[str, Any],
        thoughts: Sequence[ThoughtRow] = (),
        more: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Make the evaluation's directory from the summary and all answers in the plan's order.

        Args:
            summary: summary.json.
            thoughts: rows of thoughts.jsonl, if any.
            more: further files, in pieces.

        Raises:
            ValueError: as `write_evaluation`; the answers are kept then.
        """
        with self.saying_what_is_kept(), held():
            write_evaluation(self.output, summary, self._in_order(), thoughts, more)
            self._is_written = True
            self._answers.remove()

    def _in_order(self) -> Iterator[Prediction]:
        return self._answers.read(self._numbers())

    def _numbers(self) -> Iterator[int]:
        """Yield each question's number in the order of asking, in the plan's order."""
        for _, order, first in self._passes():
            places = sorted(range(len(order)), key=order.__getitem__)  # the inverse permutation
            yield from (first + place for place in places)
