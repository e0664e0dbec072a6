"""The input of the first layer for packed groups: which completion tokens are fed, and embeddings.

Shapes: N prompts, M completion rows, C completion tokens, T packed tokens (T_c of completions), D
hidden size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.architecture import Decoder
from models.prompts.prompt import EncodedPrompt


def check_completions(
    prompts: Sequence[EncodedPrompt],
    rows_per_prompt: Sequence[int],
    completion_ids: Tensor,
    lengths: Sequence[int],
) -> None:
    """Raise a ValueError unless each of the (M, C) rows has a prompt and a length from 1 to C."""
    rows, length = completion_ids.shape
    fits = sum(rows_per_prompt) == rows == len(lengths)
    if not fits or len(rows_per_prompt) != len(prompts) or length < 1:
        raise ValueError(
            f"completion_ids has shape {(rows, length)} for {len(prompts)} prompts with"
            f" {list(rows_per_prompt)} rows: give one row per completion, at least one token"
        )
    if not 1 <= min(lengths) <= max(lengths) <= length:
        raise ValueError(
            f"lengths {list(lengths)} must lie between 1 and the {length} tokens of a row"
        )


def pack_rows(completion_ids: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the first ``lengths`` tokens of each row of (M, C), row after row: (T_c,)."""
    # Row-major, as a mask selects: the order in which the packed row holds its completions.
    kept = torch.arange(completion_ids.shape[1]) < torch.tensor(lengths)[:, None]  # (M, C)
    return completion_ids[kept.to(completion_ids.device)]


def embed_groups(
    text: Decoder,
    prompts: Sequence[EncodedPrompt],
    completion_ids: Tensor,
    image_features: Sequence[Tensor],
    image_token_id: int,
) -> Tensor:
    """Return (T, D): embeddings of prompts, then of completions, images in their tokens' place.

    Args:
        text: the decoder.
        prompts: N of them, their ids on the CPU.
        completion_ids: (T_c,), packed.
        image_features: (visual tokens, D) per prompt.
        image_token_id: of the tokens that stand for an image's features.
    """
    # Where images stand is found on the CPU: on the device it would have to be waited for.
    prompt_ids = torch.cat([prompt.input_ids for prompt in prompts])  # (T_p,)
    image_tokens = (prompt_ids == image_token_id).nonzero().squeeze(1)  # (visual tokens,)
    packed_ids = torch.cat([prompt_ids.to(completion_ids.device), completion_ids])  # (T,)
    hidden = text.embed_tokens(packed_ids)  # (T, D)
    if len(image_tokens) == 0:
        return hidden
    # A new tensor, not a write into the embeddings: both sides get their gradient.
    features = torch.cat(list(image_features)).to(hidden.dtype)  # (visual tokens, D)
    return hidden.index_copy(0, image_tokens.to(hidden.device), features)
