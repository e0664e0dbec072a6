"""What a run leaves behind."""

from dataclasses import dataclass

from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class KeepingSettings:
    """What a run leaves behind."""

    output_dir: str = setting("", "run directory; default runs/<date>-<time>-<model>")
    eval_every: int = setting(
        0,
        "steps between evaluations; 0: before the first and after the last. One with a new best"
        " accuracy saves a checkpoint at once",
    )
    eval_blank: bool = setting(
        True, "at every evaluation also ask the same questions with the images blank"
    )
    eval_limit: int = setting(0, "evaluate on a seeded sample of this many rows; 0: all")
    save_every: int | str = setting(
        200,
        "steps between checkpoints, or the time from one to the next: 90s, 30m, 2h; 0: after the"
        " last step only",
        "N|30m",
    )
    save_weights_only: bool = setting(
        False,
        "checkpoints without what --resume goes on from, a seventh of the size: for evaluation, or"
        " a new run",
    )
    keep_checkpoints: int = setting(
        2,
        "how many of the newest checkpoints stay on disk; the one with the best held-out accuracy"
        " stays as well (one of a 2B model takes about 31 GB)",
    )
