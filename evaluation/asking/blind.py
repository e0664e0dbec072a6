"""What the policy would answer without the image: the measurement behind the grounding term.

train.py hands `make_grounding` to the step as a callable, as it does with the rewards: the terms
are in grpo/grounding.py, the letters' probabilities in evaluation/asking/option_letters.py.

Which text stands before the letter decides what is measured. A completion's own thought was written
with the image in sight and names what was seen; after it the letter is certain under a blank image
too. On the embedded model (greedy answers to 120 held-out questions, each after its own thought)
its probability was 0.9999 before training and 0.9996 after 200 steps: a constant, which vanishes in
the group, and would punish reading the image where it did not. So the question is asked blind from
the start: the policy's own greedy thought under the blank image, then the letters (0.77 and 0.29
for the same answers). One thought is a point estimate of what it would think: mostly one letter
gets nearly all. Where the answer comes first (no_think, think_after) nothing stands before it and
nothing is generated. Both terms need one distribution per question, not per completion: each blank
prompt is run once for its group.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from data.examples import VQAExample
from data.options import is_lettered
from evaluation.asking.option_letters import Letters, letter_probabilities
from evaluation.asking.spellings import ANSWER_TAG
from grpo.grounding import (
    Grounding,
    GroundingTerm,
    no_grounding,
    penalty_term,
    scale_term,
)
from grpo.rollout import Rollout
from grpo.sampling import generate_greedy
from grpo.settings.config import GRPOConfig
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from rewards.modes import get_mode
from rewards.parse_once import Parse
from rewards.parsing import parse_completion


def make_grounding(config: GRPOConfig, parse: Parse = parse_completion) -> Grounding | None:
    """Return the run's grounding term as a callable; None where it is off."""
    if config.grounding == "none":
        return None

    def grounding(policy: Policy, rollout: Rollout) -> GroundingTerm:
        batch = rollout.batch
        if not batch.prompts:  # of several processes one may have none
            return no_grounding(policy, rollout)
        blank = blank_letters(
            policy, batch.prompts, batch.examples, config.mode, config.max_completion_tokens
        )
        masses = [None if letters is None else letters.mass for letters in blank]
        sure = [letters if letters and letters.measured else None for letters in blank]
        term = _term(config, rollout, sure, parse)
        pairs = zip(batch.examples, batch.prompts, strict=True)
        left_out = [0.0 if has_blind_letters(*pair) else 1.0 for pair in pairs]
        measured = {
            **term.measured,
            "grounding/letter_mass": masses,
            "grounding/left_out": left_out,
        }
        return replace(term, measured=measured)

    return grounding


def _term(
    config: GRPOConfig, rollout: Rollout, blank: Sequence[Letters | None], parse: Parse
) -> GroundingTerm:
    examples = rollout.batch.examples
    if config.grounding == "scale":
        return scale_term(blank, [example.answer for example in examples], rollout.group_size)
    choices = rollout.for_each(
        lambda text, example: parse(text, config.mode, example.options, example.form).choice
    )
    return penalty_term(blank, choices, config.grounding_weight)


@torch.no_grad()
def blank_letters(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    examples: Sequence[VQAExample],
    mode: str,
    max_completion_tokens: int,
) -> list[Letters | None]:
    """Return per question the probabilities of its options' letters with its images blank.

    Teacher-forced after ``<answer>``, at temperature 1, renormalised over the options. None where
    the policy's greedy blind completion never comes to an ``<answer>``, and for a question that has
    no lettered options, or no image to leave blank: nothing is run for it. Where a letter is hardly
    written there, `Letters.measured` is False and the term treats the question as one without.

    Args:
        policy: as it is now; no gradient.
        prompts: N, with their images.
        examples: N, for the number of options.
        mode: which tags a completion writes, in which order.
        max_completion_tokens: of the blind completion.
    """
    results: list[Letters | None] = [None] * len(examples)
    pairs = zip(examples, prompts, strict=True)
    rows = [row for row, pair in enumerate(pairs) if has_blind_letters(*pair)]
    if not rows:
        return results
    blank = [prompts[row].blanked() for row in rows]
    if not get_mode(mode).letter_follows_thought:
        texts = [ANSWER_TAG] * len(blank)
    else:
        texts = generate_greedy(policy, blank, max_completion_tokens).texts
    counts = [len(examples[row].options) for row in rows]
    found = letter_probabilities(policy, blank, texts, counts)
    for row, letters in zip(rows, found, strict=True):
        results[row] = letters
    return results


def has_blind_letters(example: VQAExample, prompt: EncodedPrompt) -> bool:
    """Return whether a question has letters to read, and an image to leave blank."""
    return is_lettered(example) and len(prompt.image_grid_thw) > 0
