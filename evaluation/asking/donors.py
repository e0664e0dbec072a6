"""Where the thoughts of each change come from: nothing, a group that is sampled, other answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from data.examples import VQAExample
from evaluation.answers.prediction import Prediction, judge
from evaluation.asking.lenders import Donor, Lenders, group_donor
from evaluation.asking.samples import sample_groups
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt


@dataclass(frozen=True)
class Donors:
    """Where the thoughts of each change come from."""

    policy: Policy
    lenders: Lenders
    changes: Sequence[str]
    mode: str
    max_completion_tokens: int
    samples: int
    seed: int

    @property
    def rows_each(self) -> int:
        """How many rows run at once for one answer, at most."""
        return max(self.samples if "swapped" in self.changes else 1, 1 + len(self.changes))

    def of(
        self,
        examples: Sequence[VQAExample],
        predictions: Sequence[Prediction],
        places: Sequence[int],
        prompts: Sequence[EncodedPrompt],
    ) -> list[dict[str, Donor]]:
        """Return each answer's donors by the change; a change that has none is left out.

        Args:
            examples: the questions of a batch.
            predictions: the answers to them.
            places: where each question stands among all, for what is sampled.
            prompts: of the questions.
        """
        found: dict[str, Sequence[Donor | None]] = {}
        if "removed" in self.changes:
            found["removed"] = [Donor("", None)] * len(predictions)
        if "swapped" in self.changes:
            groups = sample_groups(
                self.policy,
                prompts,
                places,
                group_size=self.samples,
                max_completion_tokens=self.max_completion_tokens,
                seed=self.seed,
            )
            found["swapped"] = _group_donors(examples, predictions, groups, self.mode)
        if "borrowed" in self.changes:
            found["borrowed"] = [self.lenders.donor(item) for item in predictions]
        return [
            {name: donor for name, some in found.items() if (donor := some[row]) is not None}
            for row in range(len(predictions))
        ]


def _group_donors(
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
    groups: Sequence[Sequence[str]],
    mode: str,
) -> list[Donor | None]:
    donors = []
    for example, item, texts in zip(examples, predictions, groups, strict=True):
        group = [
            judge(example, text, mode=mode, completion_tokens=0, truncated=False) for text in texts
        ]
        donors.append(group_donor(item, group))
    return donors
