"""``python -m models.checkpoint.merge ADAPTER_DIR NEW_DIR``: write an adapter's whole model."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.files import find_checkpoint, read_config
from models.named_model import CARD, base_of, is_adapter
from process.called import module_line
from process.command import command
from process.disk import make_folder
from process.flag_parser import FlagParser
from process.paths import expanded
from process.places import check_new_directory
from process.regular import read_text
from process.storage import replacing, write_json


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    parser = FlagParser(
        prog=module_line("models.checkpoint.merge"),
        description="Write the model that an adapter makes of its base, as a plain directory that"
        " needs neither peft nor the base. Merged in float32, in the dtype of the base.",
    )
    parser.add_argument("adapter", type=expanded, metavar="ADAPTER_DIR", help="or a hub id")
    parser.add_argument("directory", type=expanded, metavar="NEW_DIR", help="new or empty")
    given = parser.parse_args(argv)
    try:
        write_merged(given.adapter, Path(given.directory))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {given.directory}")
    return 0


def write_merged(adapter: str, place: Path) -> None:
    """Write the whole model of an adapter into a new directory.

    Raises:
        ValueError: it is no adapter, or as `load_policy`; the directory holds something.
        OSError: the disk is full, or the directory cannot be written.
    """
    directory = find_checkpoint(adapter)
    if not is_adapter(directory):
        raise ValueError(f"{adapter} is no adapter: it holds no adapter_config.json")
    check_new_directory(place)
    from models.checkpoint.loading import DTYPES, load_policy  # with torch
    from models.checkpoint.saving import save_policy

    config = read_config(base_of(directory))
    dtype = config.get("dtype") or config.get("torch_dtype")
    policy = load_policy(adapter, dtype=dtype if dtype in DTYPES else "float32")
    make_folder(place.parent)
    with replacing(place, to_disk=True) as folder:
        save_policy(policy, folder)
        if (directory / CARD).is_file():
            card = json.loads(read_text(directory / CARD))
            write_json(
                folder / CARD, {key: card[key] for key in card if not key.startswith("base_")}
            )


if __name__ == "__main__":
    sys.exit(main())
