"""Pre-training of the embedded model: one loop, whose mixture of lines changes between stages.

Shapes: U images a step, B lines, T tokens, D hidden size, K image patches.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from scripts.tiny.mixture import Stage
from scripts.tiny.sequences import VISUAL_TOKENS, Batch, Scribe


# transformers runs the vision tower's attention image by image; all of ours have 36 patches, so one
# call does for all. A name with "flash" gets the whole batch at once.
def _attend_per_image(_module, query, key, value, scaling=None, **_):
    heads, width = query.shape[1], query.shape[3]
    query, key, value = (
        part.view(heads, -1, 36, width).transpose(0, 1) for part in (query, key, value)
    )
    attended = F.scaled_dot_product_attention(
        query, key, value, scale=scaling
    )  # (U, heads, 36, width)
    return attended.transpose(1, 2).reshape(1, -1, heads, width), None


AttentionInterface.register("flash_per_image", _attend_per_image)
_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def patches(pixels: Tensor) -> Tensor:
    """Return (U * 36, 1176), what Qwen2-VL's image processor makes of (U, 84, 84, 3) bytes."""
    count, side = pixels.shape[0], pixels.shape[1] // 28
    image = (pixels.float() / 255 - _MEAN) / _STD
    image = image.view(count, side, 2, 14, side, 2, 14, 3)
    image = image.permute(0, 1, 4, 2, 5, 7, 3, 6)  # (U, row, column, 2, 2, channel, 14, 14)
    image = image.unsqueeze(6).expand(*image.shape[:6], 2, 14, 14)
    return image.reshape(count * side * side * 4, 3 * 2 * 14 * 14)


def image_features(model, pixels: Tensor) -> Tensor:
    """Return (U, 9, D), the visual tokens."""
    grid = torch.tensor([[1, 6, 6]]).expand(pixels.shape[0], 3)
    features = model.model.visual(patches(pixels), grid_thw=grid).pooler_output
    return features.view(pixels.shape[0], VISUAL_TOKENS, -1)


def hidden_states(model, scribe: Scribe, batch: Batch, features: Tensor) -> Tensor:
    """Return (B, T, D); padding stands on the right, where a causal model never looks."""
    embeddings = model.get_input_embeddings()(batch.ids)  # (B, T, D)
    first, after = scribe.first_visual, scribe.first_visual + VISUAL_TOKENS
    embeddings = torch.cat(
        [embeddings[:, :first], features[batch.image], embeddings[:, after:]], dim=1
    )
    return model.model.language_model(
        inputs_embeds=embeddings,
        position_ids=batch.positions,
        attention_mask={"full_attention": batch.visible},
        use_cache=False,
    ).last_hidden_state


def line_loss(model, scribe: Scribe, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of the learned tokens, and the share predicted right."""
    hidden = hidden_states(model, scribe, batch, features)
    learned = batch.learned[:, 1:]
    logits = model.lm_head(hidden[:, :-1][learned])
    targets = batch.ids[:, 1:][learned]
    right = (logits.argmax(dim=-1) == targets).float().mean()
    return F.cross_entropy(logits, targets), right


def train_stage(model, scribe: Scribe, stage: Stage, pool, seed: int, counted=None) -> None:
    """Run one stage on ``pool`` = (pixels (count, 84, 84, 3) uint8, their attributes).

    A stage that counts also takes images of ``counted`` = (pixels, attributes, lesions).
    """
    pixels, facts = pool
    model.model.visual.config._attn_implementation = "flash_per_image"
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    warmup = min(100, stage.steps // 10 + 1)
    started = time.perf_counter()
    shares: dict[str, float] = {}
    for step in range(stage.steps):
        progress = step / stage.steps
        cosine = (1 + math.cos(math.pi * progress)) / 2
        scale = min((step + 1) / warmup, stage.floor + (1 - stage.floor) * cosine)
        optimizer.param_groups[0]["lr"] = stage.learning_rate * scale
        chosen = rng.choice(len(facts), stage.images or 1, replace=False)
        features = torch.zeros(1, VISUAL_TOKENS, model.config.text_config.hidden_size)
        if stage.images:
            features = image_features(model, pixels[torch.from_numpy(chosen)])
        shown, counts = [facts[number] for number in chosen], []
        if counted is not None:
            several = rng.choice(len(counted[1]), stage.mixture.open_lines.count, replace=False)
            more = image_features(model, counted[0][torch.from_numpy(several)])
            features = torch.cat([features, more])
            shown += [counted[1][number] for number in several]
            counts = [counted[2][number] for number in several]
        lines = stage.mixture.lines(scribe, rng, shown, counts)
        loss = torch.zeros(())
        for name, group in lines.items():
            part, right = line_loss(model, scribe, scribe.collate(group), features)
            loss = loss + part
            old = shares.get(name, right.item())
            shares[name] = 0.95 * old + 0.05 * right.item()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            spent = time.perf_counter() - started
            print(
                f"{stage.name} {step + 1}/{stage.steps} loss {loss.item():.3f} right: "
                + ", ".join(f"{name} {100 * share:.1f}%" for name, share in shares.items())
                + f" ({spent:.0f} s)",
                flush=True,
            )
