"""What benchmarks/growth.py runs: a base case, and the sizes of each factor that grows from it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """One step. Image tokens are (image_size / 28)^2: a 28 x 28 square becomes one."""

    model: str  # of model_sizes.MODELS
    N: int
    G: int
    C: int
    image_size: int
    work: str = "step"  # "parts": no optimizer; vision tower and embeddings frozen


@dataclass(frozen=True)
class Factor:
    """Sizes that differ in one thing, ascending."""

    name: str
    key: str  # what grows, as the rows of the table call it
    sizes: tuple[Size, ...]


def _grown(base: Size, **values: tuple) -> list[Factor]:
    names = {"N": "prompts N", "G": "group size G", "C": "completion tokens C"}
    names |= {"image_size": "image tokens", "model": "parameters of the text layers"}
    keys = {"image_size": "image_tokens", "model": "parameters"}
    suffix = f", {base.model} without optimizer" if base.work == "parts" else ""
    return [
        Factor(
            names[field] + suffix,
            keys.get(field, field),
            tuple(replace(base, **{field: value}) for value in found),
        )
        for field, found in values.items()
    ]


# At the larger sizes what grows outweighs what stays, so that a rate that differs between the two
# (a prompt's tokens against decoded ones) moves the exponent little.
_CPU = Size("embedded", N=4, G=8, C=32, image_size=112)
CPU = _grown(
    _CPU,
    N=(2, 4, 8, 16, 32),
    G=(4, 8, 16, 32, 64),
    C=(16, 32, 64, 128, 256),
    image_size=(112, 168, 224, 336, 448),
    model=("embedded", "128 x 6", "192 x 6", "256 x 6"),
)
_CUDA = Size("2B", N=4, G=8, C=128, image_size=384)
_CUDA_PARTS = replace(_CUDA, work="parts")
CUDA = [
    *_grown(
        _CUDA,
        N=(2, 4, 8, 16),
        G=(4, 8, 16, 32),
        C=(64, 128, 256, 512),
        image_size=(224, 336, 448, 672),
    ),
    *_grown(
        replace(_CUDA_PARTS, model="7B"),
        N=(2, 4, 8),
        G=(4, 8, 16),
        C=(64, 128, 256),
        image_size=(336, 448, 672),
    ),
    *_grown(_CUDA_PARTS, model=("half of 2B", "2B", "7B")),
]
_TINY = Size("64 x 2", N=2, G=2, C=4, image_size=84)
SMOKE = [
    *_grown(_TINY, G=(2, 4)),
    *_grown(replace(_TINY, work="parts"), model=("64 x 2", "embedded")),
]
FACTORS = {"cpu": CPU, "cuda": CUDA, "smoke": SMOKE}
