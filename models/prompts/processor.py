"""Text and images to ids, positions and pixels, and ids back to text: one path for every use.

transformers' AutoProcessor needs torchvision, which this project does not; AutoTokenizer and the
PIL image processor give the same numbers (tests/models/prompts/test_processor.py).

Shapes: P prompt tokens, K image patches, I images, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.files import read_config, read_processor_files
from models.named_model import model_directory
from models.prompts.chat import Chat
from models.prompts.image_processor import NO_LIMITS, load_image_processor, seen_size
from models.prompts.positions import prompt_positions
from models.prompts.prompt import EncodedPrompt
from models.prompts.tokenizer import (
    banned_ids,
    chat_template,
    control_tokens,
    end_ids,
    is_mode_tag,
    load_tokenizer,
    placeholder_ids,
    turn_end_id,
)
from process.naming import naming


@dataclass(frozen=True, eq=False)
class Processor:
    """A checkpoint's tokenizer, chat template and image processor; made by `Processor.load`."""

    # Their bytes and not their place: a run that is resumed deletes the checkpoint it began from.
    files: Mapping[str, bytes] = field(repr=False)
    tokenizer: Any  # transformers' PreTrainedTokenizerBase
    image_processor: Any  # transformers' Qwen2VLImageProcessorPil
    chat_template: str
    template_file: Path  # where it stood
    control_tokens: tuple[str, ...]  # such as <|im_end|>: no text may hold one
    image_token_id: int
    end_ids: tuple[int, ...]  # each of them ends a completion
    turn_end_id: int  # the one of them that a supervised target ends with
    banned_ids: tuple[int, ...]  # never sampled and left out of the softmax
    pad_id: int
    # in bytes, by the number of images and whether a system's turn comes first
    _empty_turns: dict[tuple[int, bool], int] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def load(cls, path: str | Path) -> "Processor":
        """Return the processor of a checkpoint: `tiny`, a directory or a hub id.

        An adapter has its base's.

        Raises:
            ValueError: a file is missing or unreadable, named with what to do.
        """
        directory = model_directory(path)
        config = read_config(directory)
        tokenizer = load_tokenizer(directory)
        template, template_file = chat_template(directory, tokenizer)
        ends = end_ids(directory, config, tokenizer)
        turn_end = turn_end_id(template, template_file, tokenizer)
        # A policy that is taught to end with it must be able to end with it.
        turn_end = ends[0] if turn_end is None else turn_end
        ends = tuple(dict.fromkeys((*ends, turn_end)))
        controls = control_tokens(tokenizer, ends, placeholder_ids(config, tokenizer))
        pad_id = tokenizer.pad_token_id
        processor = cls(
            files=read_processor_files(directory),
            tokenizer=tokenizer,
            image_processor=load_image_processor(directory, config),
            chat_template=template,
            template_file=template_file,
            control_tokens=tuple(tokenizer.convert_ids_to_tokens(sorted(controls))),
            image_token_id=config.get("image_token_id", 151655),
            end_ids=ends,
            turn_end_id=turn_end,
            banned_ids=banned_ids(directory, config, tokenizer, ends),
            pad_id=ends[0] if pad_id is None else pad_id,
        )
        processor.chat.written("", 1)  # what is wrong with the template is told now
        return processor

    def encode(
        self,
        text: str,
        images: Sequence[Image.Image] = (),
        *,
        system: str = "",
        keep_size: bool = False,
    ) -> EncodedPrompt:
        """Return the prompt that asks `text` about `images`, which come before the text.

        The user's turn goes through the checkpoint's chat template with its generation prompt. The
        template writes one placeholder per image; here it becomes one per visual token, that is
        the product of the image's grid over the merged square. Without images there is neither.

        Args:
            text: the user's turn.
            images: decoded, RGB.
            system: a system's turn before it; "": what the template does by itself.
            keep_size: their size was chosen: sides are rounded to whole visual tokens, and the
                checkpoint's min_pixels and max_pixels are not applied.

        Raises:
            ValueError: a text holds a special token such as <|im_end|>, the template writes
                another number of placeholders or has no place for a system's turn, or an image is
                too elongated (its sides' ratio is over 200, where the processor gives up).
        """
        # The template writes one placeholder per image; the model wants one per visual token.
        ids = self._turn_ids(text, len(images), system)
        pixel_values, grid = self._pixels(images, keep_size)
        merge_size = self.image_processor.merge_size
        image_tokens = (grid.prod(dim=1) // merge_size**2).tolist()
        input_ids = torch.tensor(_expand(ids, self.image_token_id, image_tokens))  # (P,)
        positions = prompt_positions(input_ids, grid, self.image_token_id, merge_size)  # (3, P)

        # What would fail inside the model, or silently read another image's features.
        placeholders = int((input_ids == self.image_token_id).sum())
        assert placeholders * merge_size**2 == len(pixel_values), (placeholders, grid)
        assert positions.shape == (3, len(input_ids)), (positions.shape, input_ids.shape)
        return EncodedPrompt(input_ids, positions, pixel_values, grid)

    def count_tokens(
        self,
        text: str,
        image_sizes: Sequence[tuple[int, int]] = (),
        *,
        system: str = "",
        keep_size: bool = False,
    ) -> int:
        """Return how many tokens `encode` makes of texts and images of these (width, height).

        No pixel is looked at. Raises ValueError for a text that `encode` refuses.
        """
        ids = self._turn_ids(text, len(image_sizes), system)
        return len(ids) - len(image_sizes) + self.image_tokens(image_sizes, keep_size=keep_size)

    def most_tokens(
        self,
        text: str,
        image_sizes: Sequence[tuple[int, int]] = (),
        *,
        system: str = "",
        keep_size: bool = False,
    ) -> int:
        """Return a bound of `count_tokens` that costs no tokenizing; raises ValueError as it does.

        A token is at least one byte of what a byte-level tokenizer reads, and the normal form that
        it reads (NFC) has at most three times the text's bytes.
        """
        self.chat.check(text, system)
        kind = num_images, with_system = len(image_sizes), bool(system)
        if kind not in self._empty_turns:
            empty = "", num_images, " " * with_system
            self._turn_ids(*empty)  # raises for a template without its placeholders
            self._empty_turns[kind] = len(self.chat.written(*empty).encode())
        bound = self._empty_turns[kind] + 3 * len((text + system).encode())
        return bound + self.image_tokens(image_sizes, keep_size=keep_size)

    @cached_property
    def token_texts(self) -> tuple[str, ...]:
        """What each token of the vocabulary stands for, by id."""
        ids = [[token] for token in range(len(self.tokenizer))]
        return tuple(self.tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False))

    def encode_completion(self, text: str) -> list[int]:
        """Return the ids of plain text, without an end token."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the text of a completion: a trailing end token is dropped, others stay visible.

        Special tokens in the middle are shown because the policy wrote them: a parser must see
        tags that are tokens of their own, and others as the stray text they are. A tag that ends a
        completion stays too.
        """
        # One end token belongs to no text: the mark that the policy stopped.
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if ids and ids[-1] in self.end_ids and not is_mode_tag(self.tokenizer, ids[-1]):
            ids = ids[:-1]
        return self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer's, template's, image processor's and generation config's files.

        They are those that were loaded, to the byte, whatever has become of that directory.
        """
        for name, content in self.files.items():
            with naming(file := Path(directory) / name):
                file.write_bytes(content)

    @cached_property
    def chat(self) -> Chat:
        """What turns of texts and images look like."""
        known = tuple((key, str(token)) for key, token in self.tokenizer.special_tokens_map.items())
        where = self.chat_template, self.template_file
        return Chat(*where, known, self.control_tokens, self.tokenizer)

    def _turn_ids(self, text: str, num_images: int, system: str = "") -> list[int]:
        self.chat.check(text, system)
        turn = self.chat.written(text, num_images, system)
        # Not verbose: the tokenizer would warn of long texts, promising indexing errors.
        ids = self.tokenizer(turn, add_special_tokens=False, verbose=False)["input_ids"]
        if ids.count(self.image_token_id) != num_images:
            raise ValueError(
                f"the prompt holds {ids.count(self.image_token_id)} image placeholders for"
                f" {num_images} images: give a chat template that writes one per image"
            )
        return ids

    def image_tokens(
        self, image_sizes: Sequence[tuple[int, int]], *, keep_size: bool = False
    ) -> int:
        """Return how many visual tokens images of these (width, height) are."""
        processor = self.image_processor
        side = processor.patch_size * processor.merge_size
        seen = (seen_size(processor, size, keep_size=keep_size) for size in image_sizes)
        return sum((width // side) * (height // side) for width, height in seen)

    def _pixels(self, images: Sequence[Image.Image], keep_size: bool) -> tuple[Tensor, Tensor]:
        """Return (K, patch_dim) float32 patches of all images and their (I, 3) grids."""
        # Nothing to process, and yet the shapes that prompts with images have.
        if not images:
            processor = self.image_processor
            patch_dim = 3 * processor.temporal_patch_size * processor.patch_size**2
            return torch.zeros(0, patch_dim), torch.zeros(0, 3, dtype=torch.int64)
        # A size that the user chose is not brought between the checkpoint's limits.
        limits = {"size": NO_LIMITS} if keep_size else {}
        batch = self.image_processor(images=list(images), return_tensors="pt", **limits)
        return batch["pixel_values"], batch["image_grid_thw"]


def _expand(ids: list[int], image_token_id: int, image_tokens: list[int]) -> list[int]:
    """Return ids with the i-th placeholder repeated image_tokens[i] times."""
    counts = iter(image_tokens)
    expanded: list[int] = []
    for token in ids:
        expanded += [token] * (next(counts) if token == image_token_id else 1)
    return expanded
