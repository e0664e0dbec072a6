"""What the embedded model can do: sees, binds, keeps to the tags, and is right how often.

Shapes: B prompts of at most P tokens, D hidden size, V vocabulary.
"""

from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase

import torch
from torch import Tensor
from transformers import DynamicCache

from data.examples import VQAExample
from rewards import parse_completion
from rewards.modes import MODES
from scripts.tiny.sequences import VISUAL_TOKENS, Line, Scribe
from scripts.tiny.text import DESCRIBE, description, user_text
from scripts.tiny.training import image_features

Figures = dict[str, dict[str, float]]
MAX_NEW_TOKENS = 24
BATCH = 100


@torch.no_grad()
def write(
    model, scribe: Scribe, texts: Sequence[str], pixels: Tensor, generator=None
) -> list[list[int]]:
    """Return a completion's ids for each user's turn: greedy, or sampled at temperature 1."""
    replies = []
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        replies += _write_batch(model, scribe, texts[part], pixels[part], generator)
    return replies


def _write_batch(model, scribe, texts, pixels, generator) -> list[list[int]]:
    prompts = [scribe.prompt(text) for text in texts]
    lines = [Line(ids, [True] * len(ids), [0] * len(ids), row) for row, ids in enumerate(prompts)]
    batch = scribe.collate(lines)
    mask = batch.learned.long()  # (B, P), 1 on a prompt's own tokens: prompts are padded right
    first, after = scribe.first_visual, scribe.first_visual + VISUAL_TOKENS
    embed, body, cache = model.get_input_embeddings(), model.model.language_model, DynamicCache()
    inputs = embed(batch.ids)
    inputs[:, first:after] = image_features(model, pixels)
    positions = batch.positions
    position = batch.positions[0].gather(1, mask.sum(dim=1, keepdim=True) - 1)  # (B, 1)
    pick = mask.sum(dim=1) - 1
    columns, ended = [], torch.zeros(len(texts), dtype=torch.bool)
    for _ in range(MAX_NEW_TOKENS):
        hidden = body(
            inputs_embeds=inputs,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits = model.lm_head(hidden[torch.arange(len(texts)), pick])  # (B, V)
        if generator is None:
            tokens = logits.argmax(dim=-1)
        else:
            chances = logits.softmax(dim=-1)
            tokens = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        columns.append(tokens)
        ended |= tokens == scribe.end[0]
        if ended.all():
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        position = position + 1
        inputs, positions = embed(tokens[:, None]), position.expand(3, -1, -1)
        pick = torch.zeros(len(texts), dtype=torch.long)
    rows = torch.stack(columns, dim=1).tolist()
    return [row[: row.index(scribe.end[0])] if scribe.end[0] in row else row for row in rows]


def description_accuracy(model, tokenizer, scribe, examples, pixels) -> dict[str, float]:
    """Return for each attribute the share of greedy descriptions that name it right."""
    replies = write(model, scribe, [DESCRIBE[0]] * len(examples), pixels)
    places = {"modality": 0, "anatomy": 2, "finding": 5, "grade": 4, "site": 7}
    right: Counter[str] = Counter()
    for reply, example in zip(replies, examples, strict=True):
        words = tokenizer.decode(reply).strip(".").split()
        wanted = description(example.images[0].attributes).strip(".").split()
        for name, place in places.items():
            right[name] += place < len(words) and words[place] == wanted[place]
    return {name: right[name] / len(examples) for name in places}


def answers(model, tokenizer, scribe, examples: Sequence[VQAExample], pixels, mode, generator=None):
    """Return the parsed completions of ``mode``, one per example."""
    texts = [user_text(mode, example.question, example.options) for example in examples]
    replies = write(model, scribe, texts, pixels, generator)
    return [
        parse_completion(tokenizer.decode(reply), mode, example.options)
        for reply, example in zip(replies, examples, strict=True)
    ]


def answer_figures(examples: Sequence[VQAExample], parsed) -> dict[str, float]:
    """Return shares: right, well formed, answered A, letter agrees with the option named."""
    pairs = list(zip(examples, parsed, strict=True))
    figures = {
        "right": sum(reply.choice == example.answer for example, reply in pairs),
        "well formed": sum(reply.well_formed for _, reply in pairs),
        "answered A": sum(reply.choice == "A" for _, reply in pairs),
    }
    figures = {name: count / len(pairs) for name, count in figures.items()}
    thoughts = [(example, reply) for example, reply in pairs if reply.rationale]
    if thoughts:
        agree = sum(
            named_letter(example, reply.rationale) == reply.choice for example, reply in thoughts
        )
        figures["letter agrees"] = agree / len(thoughts)
    return figures


def named_letter(example: VQAExample, thought: str) -> str | None:
    """Return the letter of the option whose words stand in the thought, or None."""
    words = thought.strip(" .").split()
    named = [
        letter
        for letter, option in zip(ascii_uppercase, example.options, strict=False)
        if option in words
    ]
    return named[0] if len(named) == 1 else None


def by_slice(examples: Sequence[VQAExample], parsed) -> dict[str, float]:
    """Return the share of right answers for each modality and question type."""
    seen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for example, reply in zip(examples, parsed, strict=True):
        for name in (example.modality, example.question_type):
            seen[name] += 1
            right[name] += reply.choice == example.answer
    return {name: right[name] / seen[name] for name in seen}


def measured(model, tokenizer, scribe, examples, pixels, samples: int = 8) -> Figures:
    """Return the shares that docs/embedded.md has of these held-out examples and their pixels."""
    model.eval()
    figures = {"description": description_accuracy(model, tokenizer, scribe, examples, pixels)}
    for mode in MODES:
        parsed = answers(model, tokenizer, scribe, examples, pixels, mode)
        figures[f"{mode}, greedy"] = answer_figures(examples, parsed)
        figures[f"{mode}, greedy, right by slice"] = by_slice(examples, parsed)
    generator = torch.Generator().manual_seed(0)
    draws = [
        answers(model, tokenizer, scribe, examples, pixels, "think", generator)
        for _ in range(samples)
    ]
    hits = torch.tensor(
        [
            [reply.choice == row.answer for reply, row in zip(draw, examples, strict=True)]
            for draw in draws
        ]
    ).float()
    figures[f"think, {samples} samples at temperature 1"] = {
        "right": hits.mean().item(),
        "at least one right": hits.amax(dim=0).mean().item(),
    }
    blank = torch.tensor([123, 117, 104], dtype=torch.uint8).expand_as(pixels)  # the mean colour
    parsed = answers(model, tokenizer, scribe, examples, blank, "think")
    figures["think, greedy, blank images"] = answer_figures(examples, parsed)
    return figures


def shown(figures: Figures) -> str:
    """Return the shares in lines of words."""
    return "\n".join(f"{name}: {_percent(shares)}" for name, shares in figures.items())


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f}%" for name, share in shares.items())
