"""Who may import whom inside grpo/: the algorithm is read without what surrounds a run of it."""

import pytest

from tests.project.imports import imported_modules, imports_of

PURE = ("advantages", "loss")  # maths that reads alone
ROOMS = {"settings", "logprobs", "moments", "objectives", "run", "watch"}
FRONT = "front"  # the files of grpo/ itself, the algorithm
LOOP = "trainer"  # but the one that drives it and sees all, and what it writes its steps with
MAY_USE = {
    "logprobs": set(),
    "moments": set(),
    "objectives": set(),  # maths as well
    "settings": {
        "logprobs",
        "moments",
    },  # what "auto" means on this machine, and what it takes of memory
    FRONT: {"settings", "logprobs", "moments", "objectives"},
    "run": {FRONT, "settings", "logprobs", "moments"},
    "watch": {FRONT, "settings", "logprobs", "moments"},
    LOOP: {FRONT, *ROOMS},
}


def room_of(name: str) -> str:
    """Return the room of a module of grpo, given by its dotted name.

    >>> [room_of(name) for name in ("grpo.run.best", "grpo.trainer", "grpo.step.train_step")]
    ['run', 'trainer', 'front']
    """
    part = name.split(".")[1]
    if part in (LOOP, "step_log"):
        return LOOP
    return part if part in ROOMS else FRONT


def broken_arrows(name: str, imports: set[str]) -> list[str]:
    """Return what a module imports of grpo without being allowed to.

    >>> broken_arrows("grpo.rollout", {"torch", "grpo.settings.config", "grpo.run.best.Best"})
    ['grpo.run.best.Best']
    """
    allowed = MAY_USE[room_of(name)] | {room_of(name)}
    ours = (other for other in imports if other.startswith("grpo."))
    return sorted(other for other in ours if room_of(other) not in allowed)


def test_the_rooms_of_grpo_follow_the_arrows():
    for path, imports in imports_of("grpo").items():
        if path.name == "__init__.py" and len(path.parts) == 2:
            continue
        broken = broken_arrows(".".join(path.with_suffix("").parts), imports)
        assert not broken, f"{path} imports {broken}: see MAY_USE"


@pytest.mark.parametrize("name", PURE)
def test_the_maths_reads_alone(name):
    imports = {
        path.stem: names for path, names in imports_of("grpo").items() if len(path.parts) == 2
    }[name]
    known = ("torch", "typing", "collections", "grpo.objectives")  # the last reads alone as well
    foreign = {other for other in imports if not other.startswith(known)}
    assert not foreign, f"grpo/{name}.py imports {sorted(foreign)}: it is to be read without them"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("grpo.step", "from grpo.watch.alarms import MetricAlarms"),
        ("grpo.loss", "def f():\n    import grpo.run.best"),
        ("grpo.rollout", "from grpo.trainer import Trainer"),
        ("grpo.settings.config", "from grpo.rollout import Rollout"),
        ("grpo.logprobs.api", "from grpo import likelihood"),
        ("grpo.run.best", "from grpo.watch import alarms"),
    ],
)
def test_an_arrow_that_points_back_is_noticed(name, source):
    assert broken_arrows(name, imported_modules(source, "grpo"))
    assert not broken_arrows("grpo.trainer", imported_modules(source, "grpo"))
