"""Which linear layers of a model get an adapter, and how many parameters that makes.

    text          of every decoder layer: query, key, value, output, gate, up, down
    vision        of the tower: its blocks' attention and MLP, the merger
    all-linear    both
    NAME          those whose name ends so, such as q_proj or self_attn.o_proj; * stands for all

The output head and the embeddings never get one: they are one tensor where a model ties them.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

from models.architecture import QwenVL

TEXT, VISION, ALL = "text", "vision", "all-linear"
_ROOMS = {TEXT: "model.language_model.layers.*", VISION: "model.visual.*"}


def lora_parameters(model: QwenVL, rank: int, targets: Sequence[str]) -> int:
    """Return how many parameters the adapters of a model have: rank x (in + out) per target.

    Args:
        model: of the sizes; its weights may be without memory.
        rank: of every adapter; 0: none.
        targets: as `target_names` takes them.
    """
    if rank == 0:
        return 0
    names = set(target_names(model, targets))
    return sum(
        rank * (linear.in_features + linear.out_features)
        for name, linear in _linears(model)
        if name in names
    )


def target_names(
    model: QwenVL, targets: Sequence[str], *, freeze_vision: bool = False
) -> list[str]:
    """Return the names of the linear layers that are meant, in the model's order.

    Args:
        model: transformers' own.
        targets: words and names as above.
        freeze_vision: whether none of them may be the vision tower's.

    Raises:
        ValueError: a name that no such layer ends with; one of a tower that is to stay as it is.
    """
    names = [name for name, _ in _linears(model)]
    meant = {target: _meant(names, target) for target in targets}
    if strange := [target for target, found in meant.items() if not found]:
        ends = sorted({name.rsplit(".", 1)[-1] for name in names if not name[-1].isdigit()})
        raise ValueError(
            f"lora_targets: no linear layer of this model is called {', '.join(strange)}: use"
            f" {TEXT}, {VISION}, {ALL} or names such as {', '.join(ends)} (the output head and the"
            " embeddings get no adapter)"
        )
    found = set().union(*meant.values())
    seen = [name for name in names if name in found]
    if freeze_vision and (tower := [name for name in seen if _is_in(name, VISION)]):
        raise ValueError(
            f"--freeze-vision keeps the vision tower as it is, and --lora-targets"
            f" {' '.join(targets)} puts adapters there ({tower[0]}): leave one of them away, or"
            f" name layers of the decoder alone, such as {TEXT} or language_model.layers.*.q_proj"
        )
    return seen


def _meant(names: Sequence[str], target: str) -> set[str]:
    if target == ALL:
        return set(names)
    if target in _ROOMS:
        return {name for name in names if _is_in(name, target)}
    return {name for name in names if fnmatchcase(f".{name}", f"*.{target}")}


def _linears(model: QwenVL) -> Iterator[tuple[str, nn.Linear]]:
    """Yield name and module of every linear layer that may get an adapter."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and any(_is_in(name, room) for room in _ROOMS):
            yield name, module


def _is_in(name: str, room: str) -> bool:
    return fnmatchcase(name, _ROOMS[room])
