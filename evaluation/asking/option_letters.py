"""How probable each option's letter was where the completion gave its answer.

The completion's own text is run again up to its last ``<answer>``, and the model's distribution
over what follows is read off for every way of writing one of the options' letters
(evaluation/asking/spellings.py). With u the tokens before the tag's last one and w_1 .. w_k a way,

    p(letter) = sum over the letter's ways of prod_i p(w_i | u, w_1 .. w_(i-1))

Their sum over the letters is the *mass*: the probability that a letter is written there at all.
Probabilities are shares of it; under evaluation.answers.prediction.LEAST_MASS they do not count as
measured.

Each text is run once, and the few tokens of all ways that branch after it go on from there.

Shapes: N prompts, M texts (prompt-major), W rows that the branches of one text run through, B
branches of one text, U tokens that ways are made of, D hidden size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase

import torch
from torch import Tensor

from data.examples import VQAExample
from data.options import is_lettered
from evaluation.answers.prediction import is_measured
from evaluation.asking.spellings import ANSWER_TAG, Path, Spellings, spellings
from grpo.logprobs import token_logprobs
from grpo.sampling import output_logits
from models.policy import Policy
from models.prompts.processor import Processor
from models.prompts.prompt import EncodedPrompt


class Letters(dict[str, float]):
    """Option letter -> its probability given that one of them is written; they sum to 1."""

    def __init__(self, probabilities: Mapping[str, float], mass: float) -> None:
        super().__init__(probabilities)
        self.mass = mass  # the probability that one of them is written

    @property
    def measured(self) -> bool:
        """Whether they say something about what the model does."""
        return is_measured(self.mass)


def letters_of_lettered(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    completions: Sequence[str],
    examples: Sequence[VQAExample],
) -> list[Letters | None]:
    """Return `letter_probabilities` of one completion per question.

    None also for a question without lettered options: yes or no, a text, a number. It is not run
    again.
    """
    results: list[Letters | None] = [None] * len(examples)
    rows = [row for row, example in enumerate(examples) if is_lettered(example)]
    found = letter_probabilities(
        policy,
        [prompts[row] for row in rows],
        [completions[row] for row in rows],
        [len(examples[row].options) for row in rows],
    )
    for row, letters in zip(rows, found, strict=True):
        results[row] = letters
    return results


@torch.no_grad()
def letter_probabilities(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    completions: Sequence[str],
    option_counts: Sequence[int],
    *,
    rows_per_prompt: Sequence[int] | None = None,
) -> list[Letters | None]:
    """Return per completion the probability of each option's letter after its ``<answer>``.

    Teacher-forced, at temperature 1, banned tokens left out. A completion without the tag gives
    None.

    Args:
        policy: the model whose completions these are.
        prompts: N prompts.
        completions: M texts, as the policy wrote them, in the prompts' order.
        option_counts: M numbers of options, at most 26 each.
        rows_per_prompt: N, how many of the texts follow each prompt; None: one each. The
            images of each prompt are encoded once for all of them.
    """
    owners = [
        owner
        for owner, count in enumerate(rows_per_prompt or [1] * len(prompts))
        for _ in range(count)
    ]
    results: list[Letters | None] = [None] * len(completions)
    rows = [row for row, text in enumerate(completions) if ANSWER_TAG in text]
    if not rows:
        return results
    shown = sorted({owners[row] for row in rows})
    features = dict(
        zip(shown, policy.image_features([prompts[owner] for owner in shown]), strict=True)
    )
    texts = []
    for row in rows:
        forced = completions[row][: completions[row].rfind(ANSWER_TAG)] + ANSWER_TAG
        texts.append(policy.processor.encode_completion(forced))
    trees = [_tree(policy.processor, ids[-1]) for ids in texts]
    hidden = policy.scored_hidden(
        [prompts[owners[row]].followed_by(ids[:-1]) for row, ids in zip(rows, texts, strict=True)],
        [len(tree.rows) for tree in trees],
        *_padded(policy, trees),
        image_features=[features[owners[row]] for row in rows],
    )  # of all rows' tokens, row after row
    pieces = hidden.split([tree.num_states for tree in trees])
    for row, tree, states in zip(rows, trees, pieces, strict=True):
        results[row] = _read(policy, tree, states, ascii_uppercase[: option_counts[row]])
    return results


@dataclass(frozen=True)
class _Tree:
    """The ways after one text, as rows that run through all branches and places to read them."""

    spelled: Spellings
    rows: list[Path]  # W branches that no other one begins with; the tokens that are fed
    places: Tensor  # (B,) int64, each branch's place among the states of all rows
    tokens: Tensor  # (U,) int64, every token of a way
    columns: dict[int, int]  # token -> its place among those

    @property
    def num_states(self) -> int:
        """States of all rows: one before each row's first token and one after each of them."""
        return sum(len(row) + 1 for row in self.rows)


@lru_cache(maxsize=8)
def _tree(processor: Processor, last: int) -> _Tree:
    banned = set(processor.banned_ids)  # of probability 0
    texts = ["" if i in banned else text for i, text in enumerate(processor.token_texts)]
    spelled = spellings(texts, last)
    begun = {path[:end] for path in spelled.branches for end in range(len(path))}
    rows = [path for path in spelled.branches if path not in begun]
    places: dict[Path, int] = {}
    start = 0
    for row in rows:
        for end in range(len(row) + 1):
            places.setdefault(row[:end], start + end)
        start += len(row) + 1
    paths = [*spelled.branches, *(path for ways in spelled.ways.values() for path in ways)]
    tokens = sorted({token for path in paths for token in path})
    return _Tree(
        spelled,
        rows,
        torch.tensor([places[path] for path in spelled.branches]),
        torch.tensor(tokens),
        {token: column for column, token in enumerate(tokens)},
    )


def _padded(policy: Policy, trees: Sequence[_Tree]) -> tuple[Tensor, list[int]]:
    """Return all rows as one tensor, and how many states of each are read: one more than tokens."""
    rows = [row for tree in trees for row in tree.rows]
    lengths = [len(row) + 1 for row in rows]
    padding = (policy.processor.pad_id,)
    ids = [row + padding * (max(lengths) - len(row)) for row in rows]
    return torch.tensor(ids, device=policy.device), lengths


def _read(policy: Policy, tree: _Tree, states: Tensor, letters: str) -> Letters:
    """Return the letters' probabilities from the states of one text's rows, (states, D)."""
    logprobs = _step_logprobs(policy, tree, states[tree.places.to(states.device)])
    begun: dict[Path, float] = {(): 0.0}  # log-probability of each branch; they stand in order
    place = {path: number for number, path in enumerate(tree.spelled.branches)}

    def logprob(path: Path) -> float:
        return begun[path[:-1]] + logprobs[place[path[:-1]]][tree.columns[path[-1]]]

    for path in tree.spelled.branches[1:]:
        begun[path] = logprob(path)
    ways = [[logprob(path) for path in tree.spelled.ways[letter]] for letter in letters]
    totals = torch.stack(
        [torch.tensor(some, dtype=torch.float64).logsumexp(dim=0) for some in ways]
    )
    mass = min(float(totals.exp().sum()), 1.0)  # log-probs in float32 may miss 1 by their rounding
    return Letters(dict(zip(letters, totals.softmax(dim=0).tolist(), strict=True)), mass)


def _step_logprobs(policy: Policy, tree: _Tree, states: Tensor) -> list[list[float]]:
    """Return the log-probability of each of the tree's tokens after each branch, B lists of U.

    Only the likeliest of them is scored over the whole vocabulary; the others follow from the
    distance of their logits, which are few.
    """
    tokens = tree.tokens.to(states.device)
    logits = output_logits(states, policy.output_weight[tokens])  # (B, U) float32
    likeliest, column = logits.max(dim=1)
    scored, _ = token_logprobs(
        states, policy.output_weight, tokens[column], banned_ids=policy.processor.banned_ids
    )
    return (logits - likeliest[:, None] + scored[:, None]).tolist()
