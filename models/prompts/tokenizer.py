"""What a checkpoint's tokenizer files say: vocabulary, chat template, end tokens, banned tokens."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.files import read_checkpoint_json, transformers_config
from models.prompts.rendering import TemplateFailedError, rendered

# Placeholders of the vision input by their usual names; the config names most of them by id too.
_VISION_TOKENS = (
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_VISION_CONFIG_KEYS = (
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "vision_token_id",
)
_JSON_FILES = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    "tokenizer.json",
)
_CONTROL = re.compile(r"<\|[^<>]*\|>")
# rewards/modes.py has the tags; this package imports nothing of ours, a test compares the two
_MODE_TAG = re.compile(r"</?(think|answer)>")


def load_tokenizer(directory: Path) -> Any:
    """Return transformers' tokenizer of a checkpoint.

    Raises:
        ValueError: its files are missing or damaged.
    """
    from transformers import AutoTokenizer

    has_vocabulary = (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file()
    if not (directory / "tokenizer.json").is_file() and not has_vocabulary:
        raise ValueError(
            f"{directory} has no tokenizer: tokenizer.json (or vocab.json with merges.txt) is"
            " missing, copy it from the checkpoint the weights come from"
        )
    config = transformers_config(directory)
    for name in _JSON_FILES:  # read here first, so that a damaged one is named
        if (directory / name).is_file():
            read_checkpoint_json(directory, name, "")
    try:
        return AutoTokenizer.from_pretrained(
            directory,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
        )
    except BaseException as error:
        # The tokenizers library raises bare Exception on a damaged file, and where it panics what
        # is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"the tokenizer in {directory} cannot be loaded ({error}): fetch its files again"
        ) from error


def chat_template(directory: Path, tokenizer: Any) -> tuple[str, Path]:
    """Return the checkpoint's chat template and its file, the first of those where it may stand.

        processor_config.json > chat_template.json > chat_template.jinja > tokenizer_config.json

    This is transformers' own order: a processor's template, in the first three, wins over the
    tokenizer's, which AutoTokenizer reads from the last two.
    """
    places = (("processor_config.json", "chat_template"), ("chat_template.json", "chat_template"))
    for name, key in places:
        template = (
            read_checkpoint_json(directory, name, "").get(key)
            if (directory / name).is_file()
            else None
        )
        if template is not None:
            return _one_template(template, directory / name), directory / name
    if tokenizer.chat_template is not None:
        jinja = directory / "chat_template.jinja"
        file = jinja if jinja.is_file() else directory / "tokenizer_config.json"
        return _one_template(tokenizer.chat_template, file), file
    raise ValueError(
        f"{directory} has no chat template in processor_config.json, chat_template.json,"
        " chat_template.jinja or tokenizer_config.json: give an Instruct checkpoint, or copy the"
        " template from one"
    )


def _one_template(template: Any, where: Path) -> str:
    """Return a template, of several named ones the default."""
    if isinstance(template, list):  # as tokenizer_config.json lists several
        template = {item.get("name"): item.get("template") for item in template}
    if isinstance(template, dict):
        if not isinstance(template.get("default"), str):
            raise ValueError(
                f"{where} names the chat templates {', '.join(map(str, template))}, but no"
                " 'default': call one of them that"
            )
        return template["default"]
    if not isinstance(template, str):
        raise ValueError(f"{where}: the chat template is {template!r}, not a text: correct it")
    return template


def control_tokens(tokenizer: Any, ends: tuple[int, ...], placeholders: Iterable[int]) -> set[int]:
    """Return the ids of the tokens that steer the model, such as <|im_end|>: no text may hold them.

    They are those written <|..|>, those that end, begin or fill a sequence, and the placeholders of
    the vision input. Other added tokens are text: a checkpoint with a cold start often has <think>
    and </answer> as tokens of their own, special or not, which prompts ask for and completions
    write.
    """
    roles = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    roles |= {tokenizer.unk_token_id, *ends, *placeholders}
    return {
        number
        for number, token in tokenizer.added_tokens_decoder.items()
        if _CONTROL.fullmatch(token.content)
        or (number in roles and not is_mode_tag(tokenizer, number))
    }


def is_mode_tag(tokenizer: Any, token_id: int) -> bool:
    """Return whether a token is one of the tags that completions write, such as </answer>."""
    return bool(_MODE_TAG.fullmatch(tokenizer.convert_ids_to_tokens(token_id) or ""))


def placeholder_ids(config: dict[str, Any], tokenizer: Any) -> set[int]:
    """Return the ids that stand for vision input, by their usual names and by the config's ids."""
    # By name too: some configs name only the image's id.
    vocabulary = tokenizer.get_vocab()
    named = {vocabulary[token] for token in _VISION_TOKENS if token in vocabulary}
    return named | {config[key] for key in _VISION_CONFIG_KEYS if config.get(key) is not None}


def end_ids(directory: Path, config: dict[str, Any], tokenizer: Any) -> tuple[int, ...]:
    """Return every end id of the generation config and the tokenizer's own."""
    generation: dict[str, Any] = {}
    if (directory / "generation_config.json").is_file():
        generation = read_checkpoint_json(directory, "generation_config.json", "")
    declared = generation.get("eos_token_id", config.get("eos_token_id"))
    # One id or several, and the tokenizer's may be another: any of them ends a completion.
    ids = list(declared) if isinstance(declared, list) else [declared]
    ends = dict.fromkeys(i for i in [*ids, tokenizer.eos_token_id] if i is not None)
    if not ends:
        raise ValueError(
            f"{directory} names no end token: set eos_token_id in generation_config.json, or no"
            " completion would ever end"
        )
    return tuple(ends)


def turn_end_id(template: str, file: Path, tokenizer: Any) -> int | None:
    """Return the id with which the chat template ends the assistant's turn, such as <|im_end|>.

    It is read off a rendered turn: the first token after the reply that is no ordinary text. A
    generation config may list its end tokens in any order, and one that never ends a turn, such as
    <|endoftext|>, first. Where the template shows none, it is the tokenizer's own end token; None
    where there is none either.

    Raises:
        ValueError: the template does not end, or grows beyond bounds.
    """
    reply = "reply"
    turns = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("user", "question"), ("assistant", reply))
    ]
    try:
        (text,) = rendered(template, file, tokenizer, [turns])
    except TemplateFailedError:  # it may raise what it likes, and one for prompts alone does
        text = ""
    _, _, rest = text.rpartition(reply)
    ids = tokenizer(rest, add_special_tokens=False)["input_ids"] if text else []
    # Some templates write a newline first.
    no_text = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    return next((i for i in ids if i in no_text), tokenizer.eos_token_id)


def banned_ids(
    directory: Path, config: dict[str, Any], tokenizer: Any, ends: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the ids a completion may not hold: vision placeholders and rows without a token.

    A sampled placeholder would make the next forward look for an image that is not there, and
    ids beyond the tokenizer (Qwen2-VL-2B has 279) decode to nothing. An end id is never banned,
    even one of these: no completion could end with it, and an SFT target that does would have the
    log-probability -inf. As the last token of a completion it is never fed to the model.
    """
    vocabulary = tokenizer.get_vocab()
    rows = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    if rows is None or max(vocabulary.values()) >= rows:
        raise ValueError(
            f"{directory}: the tokenizer has ids up to {max(vocabulary.values())}, the embedding"
            f" {rows} rows (vocab_size): the files come from different checkpoints"
        )
    # The embedding's spare rows were never trained, and yet have logits.
    spare = set(range(rows)) - set(vocabulary.values())
    return tuple(sorted((spare | placeholder_ids(config, tokenizer)) - set(ends)))
