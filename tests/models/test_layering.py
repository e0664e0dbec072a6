"""Who may import whom inside models/: a tower, in which no floor knows the one above it.

files <- prompts <- shared, vision <- decode <- policy <- lora <- sharding <- checkpoint
"""

import pytest

from tests.project.imports import imported_modules, imports_of

FILES = "files"  # those of models/ itself, but model.py and policy.py
MAY_USE = {
    FILES: set(),
    "prompts": {FILES},
    "shared": {FILES, "prompts"},
    "vision": {FILES, "prompts"},
    "decode": {FILES, "prompts", "shared"},
    "model": {FILES, "prompts", "shared", "vision"},
    "policy": {FILES, "prompts", "shared", "vision", "decode", "model"},
    "lora": {FILES, "prompts", "shared", "vision", "decode", "model", "policy"},
    "sharding": {FILES, "prompts", "shared", "vision", "decode", "model", "policy", "lora"},
    "checkpoint": {
        *(FILES, "prompts", "shared", "vision", "decode", "model", "policy"),
        *("lora", "sharding"),
    },
    "memory": {FILES, "prompts", "vision", "decode", "policy", "lora"},
}


def room_of(name: str) -> str:
    """Return the floor of a module of models, given by its dotted name.

    >>> [room_of(name) for name in ("models.shared.lse", "models.policy.Policy", "models.rotary")]
    ['shared', 'policy', 'files']
    """
    part = name.split(".")[1]
    return part if part in MAY_USE else FILES


def broken_arrows(name: str, imports: set[str]) -> list[str]:
    """Return what a module imports of models without being allowed to.

    >>> broken_arrows("models.shared.groups", {"torch", "models.products", "models.policy.Policy"})
    ['models.policy.Policy']
    """
    allowed = MAY_USE[room_of(name)] | {room_of(name)}
    ours = (other for other in imports if other.startswith("models."))
    return sorted(other for other in ours if room_of(other) not in allowed)


def test_no_floor_of_models_knows_the_one_above_it():
    for path, imports in imports_of("models").items():
        broken = broken_arrows(".".join(path.with_suffix("").parts), imports)
        assert not broken, f"{path} imports {broken}: see MAY_USE"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("models.shared.groups", "from models.decode.prompt_readers import Reader"),
        ("models.vision.tower", "def f():\n    import models.shared.lse"),
        ("models.decode.eager", "from models import policy"),
        ("models.rotary", "from models.prompts.prompt import EncodedPrompt"),
        ("models.policy", "from models.checkpoint.loading import load_policy"),
    ],
)
def test_an_arrow_that_points_up_is_noticed(name, source):
    assert broken_arrows(name, imported_modules(source, "models"))
    assert not broken_arrows("models.checkpoint.loading", imported_modules(source, "models"))
