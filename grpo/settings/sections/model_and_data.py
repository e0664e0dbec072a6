"""Which model is trained, on what, and on which questions it is evaluated."""

from dataclasses import dataclass

from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class ModelAndData:
    """Which model is trained, on what, and on which questions it is evaluated."""

    model: str = setting(
        "tiny", "directory or hub id of a Qwen2-VL or Qwen2.5-VL; 'tiny' is the embedded one"
    )
    train_json: tuple[str, ...] = setting(
        ("phantoms",),
        "training files in a published format, folders of them; 'phantoms', 'phantoms:CT', ..",
    )
    eval_json: tuple[str, ...] = setting(
        (), "held-out files or folders; without any, nothing is evaluated during the run"
    )
    image_root: str = setting("", "folder that the rows' image paths start from")
    only: tuple[str, ...] = setting(
        (),
        "read only rows with these values, such as q_lang=en answer_type=CLOSED; train: or eval:"
        " before one makes it about that part of the data (docs/rows.md)",
        "FIELD=VALUE",
    )
    image_size: int = setting(
        384,
        "images become SIZE x SIZE pixels, then whole visual tokens (384: 392, 14 x 14 tokens);"
        " 0: the processor's own min/max pixels",
    )
    skip_bad_rows: bool = setting(
        False,
        "leave out, and count, rows that cannot be used: text, image or length (docs/rows.md)",
    )
