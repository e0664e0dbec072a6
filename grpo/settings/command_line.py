"""The command line of train.py: flags from the config's fields, grouped as the class is."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from grpo.settings.choices import CHOICES, PATHS
from grpo.settings.config import SECTIONS, GRPOConfig
from grpo.settings.resolve import Resolved, resolve
from grpo.settings.reward_code import TRUST, check_trusted
from grpo.settings.toml_file import read_toml, shipped_or_own
from process.bars import warn
from process.called import command_line
from process.flag_parser import FlagParser
from process.flags import Group, add_flags
from process.page import fitted
from process.paths import expanded

SHOW_BAD_ROWS = (
    "write all rows that cannot be used into FILE, whole, one JSON object a line, whether they are"
    " left out or end the command; a file that holds anything else is not written over"
)
CHECK_DATA = (
    "look at every row and end: files and their formats, kinds of answers, slices, images, rows"
    " that stand twice, lengths of prompts, and the first rows as the model sees them; no weights"
    " are loaded, nothing is written, and exit status 2 says that rows cannot be used"
)
AUTO = "auto"  # --resume: in --output-dir, if it has a run with a checkpoint


@dataclass(frozen=True)
class Asked:
    """What a command line asks for: a fresh run, one that goes on, or a protocol."""

    given: Mapping[str, Any]  # the other flags that stand there, by field name
    protocol: str | None
    trusted: bool
    resume: str | None = None
    resume_from: str | None = None
    config: str | None = None
    jobs: int = 1  # of a protocol
    is_dry: bool = False
    trial_steps: int = 0  # of a dry run
    checks_data: bool = False  # and does nothing else
    show_bad_rows: str | None = None  # the file that they are written into

    def check_together(self) -> None:
        """Raise a ValueError for flags that say nothing beside each other."""
        if self.protocol is None and self.jobs != 1:
            raise ValueError(f"--jobs {self.jobs} is of a protocol: give --protocol FILE.toml too")
        if self.trial_steps < 0:
            raise ValueError(f"--trial-steps {self.trial_steps} must not be negative: use 2")
        if self.trial_steps and not self.is_dry:
            raise ValueError("--trial-steps are of a dry run: give --dry-run too")
        if self.is_dry and self.checks_data:
            raise ValueError("--dry-run says what --check-data does, and more: give one of the two")
        look = "--dry-run" if self.is_dry else "--check-data" if self.checks_data else None
        if look is not None and self.resume == AUTO:
            raise ValueError(f"{look} looks at one run: with it give --resume RUN_DIR, not auto")
        if self.resume is None and self.resume_from is not None:
            raise ValueError("--resume-from is of a run that goes on: give --resume RUN_DIR too")
        if self.resume == AUTO and self.resume_from is not None:
            raise ValueError(
                "--resume auto goes on from the newest checkpoint, each time: with --resume-from"
                " give --resume RUN_DIR"
            )
        if self.resume == AUTO and not self.given.get("output_dir"):
            raise ValueError("--resume auto goes on in --output-dir: give that too")
        if self.resume not in (None, AUTO) and self.config is not None:
            raise ValueError("--config cannot be given with --resume: run.json has the settings")

    def fresh_config(self, choose: Callable[[str, str], object]) -> GRPOConfig:
        """Return a fresh run's config as `config_of` does, once reward code in a file is trusted.

        Raises:
            ValueError: as `config_of` and `check_trusted`; trust in no file.
        """
        config = config_of(self.given, self.config, choose)
        if self.config is not None and "rewards" not in self.given:
            check_trusted(config.rewards, f"--config {self.config}", trusted=self.trusted)
        elif self.trusted:
            raise ValueError(f"{TRUST}: no file names a reward here, leave it away")
        return config


def read_command_line(argv: Sequence[str] | None) -> Asked:
    """Return what the words ask for, the process's own if there are none given."""
    parsed = vars(train_parser().parse_args(argv))
    given = {name: value for name, value in parsed.items() if value is not None}
    protocol, trusted = given.pop("protocol", None), given.pop("trust_reward_file", False)
    jobs = given.pop("jobs", 1)
    if protocol is not None:  # which refuses what it does not know by name
        say_shipped(protocol)
        return Asked(given, protocol, trusted, jobs=jobs)
    named = ("resume", "resume_from", "config", "show_bad_rows")
    own = {name: given.pop(name, None) for name in named}
    dry = {"is_dry": given.pop("dry_run", False), "trial_steps": given.pop("trial_steps", 0)}
    dry |= {"checks_data": given.pop("check_data", False)}
    return Asked(given, None, trusted, **own, jobs=jobs, **dry)


def train_parser() -> FlagParser:
    """Return the parser of train.py's command line."""
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
        help="go on in this directory, from its newest checkpoint; auto: in --output-dir, where a"
        " run there has one, else begin there, so that the same command can be started again",
    )
    parser.add_argument(
        "--resume-from",
        metavar="STEP",
        help="with --resume: go on from this checkpoint of it, such as step-000080; newer ones are"
        " set aside, what was logged after it is cut",
    )
    parser.add_argument(
        "--protocol",
        type=expanded,
        metavar="FILE.toml",
        help="run a whole protocol (docs/protocol.md), of your own or shipped: protocol_smoke,"
        " protocol_phantoms, protocol_med_r1; beside it only --output-dir, --device, --dtype and"
        " --jobs",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="with --protocol: N of its runs at a time, each with a GPU of its own or, on a CPU,"
        " an N-th of the cores (default: 1)",
    )
    parser.add_argument("--check-data", action="store_true", default=None, help=CHECK_DATA)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        default=None,
        help="print settings, data, memory part by part, steps and disk use of the run, or of what"
        " is left of it with --resume, and end: nothing is written",
    )
    parser.add_argument(
        "--trial-steps",
        type=int,
        metavar="N",
        help="with --dry-run: take N steps on the model and the data (2 are enough), print how long"
        " the run will take, and end: nothing is written",
    )
    parser.add_argument(
        "--show-bad-rows",
        type=expanded,
        metavar="FILE",
        help=SHOW_BAD_ROWS,
    )
    parser.add_argument(
        TRUST,
        action="store_true",
        default=None,
        help="run the reward files that run.json, --config or --protocol names, also where they lie"
        " outside the current folder or within the run: they are code with all your rights",
    )
    add_config_flags(parser)
    return parser


def origins_of(asked: Asked, config: GRPOConfig) -> dict[str, str]:
    """Return where the settings come from that are no defaults, by name."""
    if asked.resume is not None:
        names = [item.name for item in fields(GRPOConfig)]
        return dict.fromkeys(names, "run.json") | dict.fromkeys(asked.given, "given")
    file = read_toml(asked.config)[0] if asked.config is not None else {}
    taken = resolve(asked.given, asked.config).taken
    found = {name: origin for origin, names in taken.items() for name in names}
    found |= dict.fromkeys(file, f"--config {asked.config}") | dict.fromkeys(asked.given, "given")
    return {item.name: found[item.name] for item in fields(config) if item.name in found}


def config_of(
    given: Mapping[str, Any],
    config_file: str | None,
    choose: Callable[[str, str], object] = lambda *_: None,
) -> GRPOConfig:
    """Return a fresh run's config, as `resolve` does, and print what no flag has given.

    Args:
        given: only the flags that stand on the command line, by field name.
        config_file: a TOML file, or None.
        choose: raises where the run's folder is in use, before anything is said of the run.
    """
    if config_file is not None:
        say_shipped(config_file)
    resolved = resolve(given, config_file)
    choose(resolved.config.output_dir, resolved.config.model)
    if resolved.by_default:
        print("the embedded default: model tiny, data phantoms")
    elif resolved.config.model == "tiny_open" and "model" not in given:
        print("model tiny_open, the embedded one that answers in words, since none is named")
    for origin, names in resolved.taken.items():
        if names:
            print(fitted(f"taken from {origin}, since not given: {_values(resolved, names)}"))
    if resolved.from_file:
        print(fitted(f"from --config {config_file}: {_values(resolved, resolved.from_file)}"))
    for warning in resolved.warnings:
        warn(warning)
    return resolved.config


def _values(resolved: Resolved, names: Iterable[str]) -> str:
    return ", ".join(f"{name} {getattr(resolved.config, name)}" for name in names)


def say_shipped(file: str) -> None:
    """Print which file a name stands for, where that is a shipped one."""
    if (found := shipped_or_own(file)) != Path(file):
        print(f"{file}: no such file here, the shipped one is taken: {found}")


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of GRPOConfig; those that are not given are absent from the result."""
    groups = [
        Group(title, tuple(item.name for item in fields(section)))
        for title, section in SECTIONS.items()
    ]
    add_flags(parser, GRPOConfig, groups, choices=CHOICES, paths=PATHS)
