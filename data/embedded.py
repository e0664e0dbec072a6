"""The embedded data set as a source: its rows, and what tells that they are still the same."""

import hashlib
from collections.abc import Sequence

from data.examples import VQAExample
from data.images import load_image

_PHANTOM_PARTS = {"train": "train", "eval": "heldout"}


def embedded_examples(part: str, asked: str, slice_name: str | None) -> list[VQAExample]:
    """Return the phantoms of one part, asked about in one way; of one slice, or all."""
    from data.phantoms import phantom_examples  # draws with numpy: only for who asks for it

    return phantom_examples(_PHANTOM_PARTS[part], slice_name, asked=asked)


def content_checksum(examples: Sequence[VQAExample]) -> str:
    """Return the SHA-256 of every row's text and of a few drawings, 10 to 50 ms in all.

    Drawn are the first and the last row of each modality, since each has drawing code of its own:
    a change in it changes what is learned, and a run that began with the old pictures must know.
    """
    digest = hashlib.sha256()
    for example in examples:
        fields = (example.id, example.image_names, example.question, example.options)
        digest.update(repr((*fields, example.answer)).encode())
    first = {example.modality: example for example in reversed(examples)}
    last = {example.modality: example for example in examples}
    for modality in sorted(first):
        for example in (first[modality], last[modality]):
            for source in example.images:
                image = load_image(source, image_size=0)
                digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()
