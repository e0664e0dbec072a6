"""Random checkpoints of both families, small enough for a test and laid out like the hub's.

They need no network and no ../shared: the tokenizer has the 256 bytes and Qwen2-VL's special
tokens, and every weight is drawn large enough for attention to matter.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText

FAMILIES = ("qwen2_vl", "qwen2_5_vl")
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
IDS = {token: 256 + index for index, token in enumerate(SPECIAL_TOKENS)}
VOCAB_SIZE = 272  # 8 rows more than there are tokens, as the real embedding has spare rows
MROPE_SECTION = [2, 3, 3]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_checkpoint(
    directory: Path,
    family: str = "qwen2_vl",
    *,
    tied: bool = True,
    nested: bool = False,
    shard_size: str = "5GB",
    template_file: str = "tokenizer_config.json",
    changes: dict | None = None,
) -> Path:
    """Write and return a checkpoint; the options are the layouts found on the hub.

    `changes` go over the top level of config.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = flat_config(family, tied) | (changes or {})
    _write_json(directory / "config.json", config)
    torch.manual_seed(1)
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(directory))
    with torch.no_grad():
        for parameter in model.parameters():  # also biases and norms, which begin at 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory, max_shard_size=shard_size)
    if not nested:
        _write_json(directory / "config.json", config)
    _write_tokenizer(directory, template_file)
    _write_json(
        directory / "generation_config.json",
        {
            "do_sample": True,
            "top_k": 1,
            "temperature": 0.01,
            "eos_token_id": [IDS["<|im_end|>"], IDS["<|endoftext|>"]],
            "pad_token_id": IDS["<|endoftext|>"],
        },
    )
    _write_json(
        directory / "preprocessor_config.json",
        {
            "min_pixels": 56 * 56,
            "max_pixels": 168 * 168,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
        },
    )
    return directory


def flat_config(family: str, tied: bool = True) -> dict:
    """Return a config.json as the hub's first releases have it: text fields at the top."""
    config = {
        "model_type": family,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": MROPE_SECTION},
        "sliding_window": 128,
        "use_sliding_window": False,
        "max_window_layers": 2,
        "tie_word_embeddings": tied,
        "attention_dropout": 0.0,
        "bos_token_id": IDS["<|endoftext|>"],
        "eos_token_id": IDS["<|im_end|>"],
        "vision_start_token_id": IDS["<|vision_start|>"],
        "vision_end_token_id": IDS["<|vision_end|>"],
        "vision_token_id": IDS["<|vision_pad|>"],
        "image_token_id": IDS["<|image_pad|>"],
        "video_token_id": IDS["<|video_pad|>"],
        "torch_dtype": "float32",
    }
    vision = {
        "depth": 2,
        "in_chans": 3,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    if family == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    else:  # one block with windows and one without; a window is 4 x 4 patches
        vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
        vision |= {"window_size": 56, "fullatt_block_indexes": [1], "tokens_per_second": 2}
    return config | {"vision_config": vision}


def random_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """Return RGB noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _write_tokenizer(directory: Path, template_file: str) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 512,
    }
    if template_file == "tokenizer_config.json":
        settings["chat_template"] = CHAT_TEMPLATE
    elif template_file == "chat_template.json":
        _write_json(directory / template_file, {"chat_template": CHAT_TEMPLATE})
    elif template_file == "chat_template.jinja":
        (directory / template_file).write_text(CHAT_TEMPLATE)
    _write_json(directory / "tokenizer_config.json", settings)


def _write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=2))
