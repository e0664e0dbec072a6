"""Train a Qwen2-VL with GRPO (or the supervised baseline) on medical image questions.

    python train.py                                      the embedded model on the embedded data
    python train.py --model DIR --train-json FILE --image-root DIR
    python train.py --resume RUN_DIR
    python train.py --protocol FILE.toml                 every method on every slice, and a matrix

This file is the command line: flags -> config -> data, template, rewards; what can be wrong in them
is told before torch is imported. training.py puts the run together, grpo/step.py is the algorithm.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data.examples import VQAExample
from data.options import kept_order_note
from data.sources import Split
from evaluation.asking.built_in import say_same_names
from evaluation.asking.preflight import run_splits
from evaluation.asking.settings import asked_template
from grpo.run.directory import RunDirectory
from grpo.settings.card import CARD, card_of, differences
from grpo.settings.config import GRPOConfig
from grpo.settings.flags import add_config_flags
from grpo.settings.moved import check_places
from grpo.settings.sources import (
    resolve,
    resumed_config,
    shipped_or_own,
    with_absolute_paths,
)
from models.files import check_named
from process.called import command_line
from process.command import command
from process.flag_parser import FlagParser
from process.page import fitted, fitted_on
from process.paths import expanded
from process.signals import exit_status, reason
from process.storage import check_can_be_made
from rewards.parse_once import ParseOnce
from rewards.registry import BoundReward, load_rewards
from rewards.trial import try_rewards


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    given = vars(_parser().parse_args(argv))
    protocol = given.pop("protocol", None)
    if protocol is not None:
        from evaluation.protocol.command import protocol_command

        _say_shipped(protocol)
        given = {name: value for name, value in given.items() if value is not None}
        return protocol_command(protocol, given, train=main)
    session = None
    try:
        config, run = _settings(given)
        parse = ParseOnce()
        splits, template, reward_fns = _inputs(config, run.read(), parse)
        from training import Session, train  # imports torch, for which no mistake waits

        session = Session(config, run)
        train(session, splits, template, reward_fns, parse)
    except KeyboardInterrupt as error:
        print(f"\n{reason(error)}{_way_on(session)}", file=sys.stderr)
        return exit_status(error)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}{_way_on(session)}", file=sys.stderr)
        return 2
    except Exception as error:
        if session is None or type(error).__name__ != "OutOfMemoryError":  # torch's
            raise
        print(f"error: {session.out_of_memory(error)}{_way_on(session)}", file=sys.stderr)
        return 2
    return 0


def _way_on(session: Any) -> str:
    return session.way_on() if session else ""


def _parser() -> FlagParser:
    parser = FlagParser(
        prog=command_line("train"),
        description="Train a Qwen2-VL on medical image questions with GRPO. Without a flag: the"
        " embedded model on the embedded data, with the settings of configs/phantoms.toml, which"
        " come before the defaults named below wherever these two are used.",
    )
    parser.add_argument(
        "--config",
        type=expanded,
        metavar="FILE.toml",
        help="settings by name; flags go on top; a shipped file by its name: phantoms.toml",
    )
    parser.add_argument(
        "--resume",
        type=expanded,
        metavar="RUN_DIR",
        help="go on in this directory, from its newest checkpoint",
    )
    parser.add_argument(
        "--protocol",
        type=expanded,
        metavar="FILE.toml",
        help="run a whole protocol (docs/protocol.md), of your own or shipped: protocol_smoke,"
        " protocol_phantoms, protocol_med_r1; beside it only --output-dir, --device and --dtype",
    )
    add_config_flags(parser)
    return parser


def _settings(given: dict[str, Any]) -> tuple[GRPOConfig, RunDirectory]:
    """Return what the flags ask for, validated, and the directory that it goes to."""
    config_file, resume = given.pop("config", None), given.pop("resume", None)
    if resume is None:
        return _fresh(given, config_file)
    if config_file is not None:
        raise ValueError("--config cannot be given with --resume: run.json has the settings")
    run, stored = RunDirectory.open(resume)
    config = resumed_config(stored["config"], given)
    check_places(config, run.path)
    return config, run


def _fresh(given: Mapping[str, Any], config_file: str | None) -> tuple[GRPOConfig, RunDirectory]:
    if config_file is not None:
        _say_shipped(config_file)
    resolved = resolve(given, config_file)
    config = resolved.config
    run = RunDirectory.choose(config.output_dir, config.model)
    check_can_be_made(run.path)
    if resolved.by_default:
        print("the embedded default: model tiny, data phantoms")
    for origin, names in resolved.taken.items():
        if names:
            values = ", ".join(f"{name} {getattr(config, name)}" for name in names)
            print(fitted(f"taken from {origin}, since not given: {values}"))
    for warning in resolved.warnings:
        print(fitted_on(sys.stderr, f"warning: {warning}"), file=sys.stderr)
    return with_absolute_paths(config), run


def _say_shipped(file: str) -> None:
    if (found := shipped_or_own(file)) != Path(file):
        print(f"{file}: no such file here, the shipped one is taken: {found}")


def _inputs(
    config: GRPOConfig, stored: Mapping[str, Any] | None, parse: ParseOnce
) -> tuple[dict[str, Split], str, dict[str, BoundReward]]:
    """Return the questions, the prompt's text and the rewards; run.json of a resumed run is kept.

    What is cheap to find comes first: a misspelled reward does not wait for 80,000 rows.
    """
    say_same_names([config.model], (*config.train_json, *config.eval_json))
    if stored and config.prompt_template == stored["config"].get("prompt_template", ""):
        template = stored["prompt_template"]  # the file itself is not needed any longer
    else:
        template = _template(config)
    reward_fns = load_rewards(config.rewards, config.mode, parse)
    check_named(config.model)
    splits = run_splits(config, template, stored, first_look=partial(_try, config, reward_fns))
    if config.shuffle_options and (note := kept_order_note(splits["train"].examples)):
        print(f"train: {note}")
    return splits, template, reward_fns


def _try(
    config: GRPOConfig, reward_fns: Mapping[str, BoundReward], examples: Sequence[VQAExample]
) -> None:
    if config.method == "grpo":  # sft has none
        try_rewards(reward_fns, examples, config.mode)


def _template(config: GRPOConfig) -> str:
    """Return the prompt's text: --prompt-template's, else the checkpoint's own, else the mode's."""
    card, flags = card_of(config.model), {"prompt_template": config.prompt_template}
    text, origin = asked_template(config.mode, flags, card)
    if origin == CARD:
        print(f"prompt: as in {config.model}/{CARD}")
    for warning in differences({"prompt_template": text} if origin == "flag" else {}, card):
        print(fitted_on(sys.stderr, f"warning: {warning}"), file=sys.stderr)
    return text


if __name__ == "__main__":
    sys.exit(main())
