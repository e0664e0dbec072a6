"""The sources of a resumed run that lie elsewhere now: the same content is the same run.

Data files, the prompt template, reward files, their arguments, the image root and the start model
may change place. What is named now stands for what was named then, one by one and in the same
order; whether it holds the same is what grpo/run/provenance.py compares, by checksum.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo.settings.config import GRPOConfig
from process.flags import flag_of

MOVABLE = (  # and image_root
    *("model", "train_json", "eval_json", "prompt_template", "rewards", "reward_arguments"),
)


def check_counterparts(stored: GRPOConfig, config: GRPOConfig) -> None:
    """Raise unless everything that is named now can stand for something that was named then.

    Args:
        stored: the run's config.
        config: that of its resumption.

    Raises:
        ValueError: another number of files, or other reward functions.
    """
    for name in ("train_json", "eval_json"):
        then, now = getattr(stored, name), getattr(config, name)
        if len(then) != len(now):
            raise ValueError(
                f"cannot resume: {flag_of(name)} names {len(now)} files"
                f" ({', '.join(now) or 'none'}), the run has {len(then)}"
                f" ({', '.join(then) or 'none'}): name the same ones in the same order, each at its"
                " new place"
            )
    if [*map(_function, stored.rewards)] != [*map(_function, config.rewards)]:
        raise ValueError(
            f"cannot resume: --rewards names {', '.join(config.rewards) or 'none'}, the run has"
            f" {', '.join(stored.rewards) or 'none'}: name the same functions in the same order,"
            " their files at their new places"
        )
    if bool(stored.reward_arguments) != bool(config.reward_arguments):
        raise ValueError(
            f"cannot resume: --reward-arguments is {config.reward_arguments or 'no file'}, the run"
            f" has {stored.reward_arguments or 'none'}: name the same file, at its new place"
        )


def check_places(config: GRPOConfig, run: Path) -> None:
    """Raise if a file or folder of the run is gone from where it was, saying which flag helps.

    Raises:
        ValueError: naming all of them.
    """
    missing = list(_missing(config))
    if missing:
        shown = "; ".join(f"{flag_of(name)} {path}" for name, path in missing)
        names = dict.fromkeys(name for name, _ in missing)
        flags = " ".join(f"{flag_of(name)} {_PLACES.get(name, 'PLACE')}" for name in names)
        raise ValueError(
            f"cannot resume: not found: {shown}. If it moved, name its new place, where the same"
            f" content is expected: --resume {run} {flags}"
        )


def check_own_rewards(
    config: GRPOConfig, own: Collection[str], registered: Collection[str], run: Path
) -> None:
    """Raise unless just the run's own reward functions, which stand in no file, are handed in.

    Args:
        config: of the resumed run.
        own: the names of those that are handed in.
        registered: the names that need no function.
        run: its directory.

    Raises:
        ValueError: one is missing, or is not the run's.
    """
    missing = [n for n in config.rewards if ":" not in n and n not in (*registered, *own)]
    if missing:
        raise ValueError(
            f"cannot resume: the run's reward functions {', '.join(missing)} were handed in from"
            f" Python: hand them in again, train.resume({str(run)!r}, reward_fns={{..}})"
        )
    unknown = [name for name in own if name not in config.rewards]
    if unknown:
        raise ValueError(
            f"cannot resume: the run has no reward functions {', '.join(unknown)}, only"
            f" {', '.join(config.rewards)}: leave them away, or start a new run"
        )


def names_now(stored: Mapping[str, Any], config: GRPOConfig) -> dict[str, str]:
    """Return the name of every checksum in run.json -> its name today, where the two differ.

    Args:
        stored: run.json's config.
        config: of the resumed run, `check_counterparts` passed.
    """
    pairs = {f"start model {stored['model']}": f"start model {config.model}"}
    for kind, name in (("train data", "train_json"), ("eval data", "eval_json")):
        for then, now in zip(stored.get(name, ()), getattr(config, name), strict=True):
            pairs[f"{kind} {then}"] = f"{kind} {now}"
    for then, now in zip(stored["rewards"], config.rewards, strict=True):
        pairs[f"reward {then}"] = f"reward {now}"
    if then := stored.get("reward_arguments"):
        pairs[f"reward arguments {then}"] = f"reward arguments {config.reward_arguments}"
    return {then: now for then, now in pairs.items() if then != now}


def first_stems(stored: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return part of the data -> what the ids of its files began with in the run's beginning.

    Args:
        stored: run.json; of a version that did not note them, its files have their first names.
    """
    config = stored["config"]
    named = {part: config.get(f"{part}_json", ()) for part in ("train", "eval")}
    return stored.get("id_stems") or {
        part: [Path(name).stem for name in names] for part, names in named.items()
    }


_PLACES = {"train_json": "FILES", "eval_json": "FILES", "rewards": "FUNCTIONS"}


def _missing(config: GRPOConfig) -> Iterator[tuple[str, str]]:
    """Yield (setting, path) of what is gone; only absolute ones are paths for sure."""
    alone = ("model", "image_root", "reward_arguments")
    named = [(name, getattr(config, name)) for name in alone]
    named += [
        (name, path) for name in ("train_json", "eval_json") for path in getattr(config, name)
    ]
    named += [("rewards", name.rpartition(":")[0]) for name in config.rewards]
    for name, path in named:
        if Path(path).is_absolute() and not Path(path).exists():
            yield name, path


def _function(reward: str) -> str:
    """Return the name by which a reward is known, whichever file it lies in.

    >>> _function("mine/rewards.py:length"), _function("accuracy")
    ('.py:length', 'accuracy')
    """
    file, colon, function = reward.rpartition(":")
    return f"{Path(file).suffix}:{function}" if colon else reward
