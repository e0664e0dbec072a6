"""What transformers' own model needs beside ours, for a comparison with it."""

from models.architecture import QwenVL
from models.memory.forward import Numbers, TextPass, VisionPass
from models.memory.sizes import sizes_of_model


def plain_copy_bytes(model: QwenVL, *, text_tokens: int, logits: int, patches: int) -> int:
    """Return what one row with gradient through transformers' own model needs, beside that of ours.

    The model in float32, all its gradients at once, what autograd keeps of the row without
    checkpointing, and its logits four times (as they are, banned, their log-softmax, its gradient).

    Args:
        model: of the sizes; nothing but them is read.
        text_tokens: of the row.
        logits: how many of its tokens meet the output head.
        patches: of its images.
    """
    sizes, numbers = sizes_of_model(model), Numbers(size=4, padded=False)
    row = TextPass(sizes, numbers, prompts=1, prompt_tokens=text_tokens, rows=1, fed=0)
    kept = row.kept(checkpointing=False)
    kept += VisionPass(sizes, numbers, patches).kept(checkpointing=False)
    return 4 * (2 * sizes.parameters + 4 * logits * sizes.vocabulary) + kept
