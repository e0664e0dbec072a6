"""The command lines of evaluate.py, grouped and explained for --help."""

import argparse
from typing import Any

from evaluation.answers.controls import CONTROLS, SHUFFLE_WITHIN
from grpo.settings.config import CHOICES
from process.called import command_line, module_line
from process.flag_parser import FlagParser
from process.paths import expanded


def score_parser() -> FlagParser:
    """Return the parser of `evaluate.py`; flags that are not given are absent from the result."""
    parser = _parser(
        prog=command_line("evaluate"),
        description="Greedy accuracy of a checkpoint, with 95 % Wilson intervals, per modality and"
        " question type. Without a flag: the embedded model on the embedded held-out questions.",
        epilog=f"To put one question about one image: {_help('ask')}; to score several checkpoints"
        f" on several files: {_help('matrix')}; to compare two evaluations: {_help('compare')}",
    )
    group = parser.add_argument_group("model and data")
    _add_model(group)
    _add_data(group, "of --limit's sample, of borrowed images, of orders, of --thoughts")
    _add_asking(parser)
    _add_comparisons(parser)
    group = parser.add_argument_group("machine")
    _add_machine(group)
    _add_batch_size(group)
    group = parser.add_argument_group("result")
    group.add_argument(
        "--output-dir",
        type=expanded,
        metavar="DIR",
        help="where summary.json and predictions.jsonl go, both or neither; must be new or empty"
        " (default: runs/<date>-<time>-<model>-evaluation). Until then answers are kept in"
        " DIR.unfinished: an interrupted evaluation goes on with the same command and this flag",
    )
    return parser


def ask_parser() -> FlagParser:
    """Return the parser of `evaluate.py ask`."""
    parser = _parser(
        prog=command_line("evaluate", "ask"),
        description="Put one multiple-choice question about one image to a checkpoint: prints what"
        " it writes, the option it chooses, and how probable each option's letter was.",
        epilog=f"Example: {command_line('evaluate', 'ask')} --model Qwen/Qwen2-VL-2B-Instruct"
        " --image scan.png --question 'Which imaging technique was used?'"
        " --options CT MRI Ultrasound",
    )
    group = parser.add_argument_group("model and question")
    _add_model(group, required=True)
    group.add_argument(
        "--image",
        nargs="+",
        required=True,
        type=expanded,
        metavar="FILE",
        help="what is asked about, in any format Pillow reads; several are shown in this order",
    )
    group.add_argument("--question", required=True, metavar="TEXT", help="in quotes")
    group.add_argument(
        "--options",
        nargs="+",
        required=True,
        metavar="TEXT",
        help="the answers to choose from, each in quotes; they get the letters A, B, ..",
    )
    _add_asking(parser)
    _add_machine(parser.add_argument_group("machine"))
    return parser


def matrix_parser() -> FlagParser:
    """Return the parser of `evaluate.py matrix`."""
    parser = _parser(
        prog=command_line("evaluate", "matrix"),
        description="Score every checkpoint on every test file: each cell is an evaluation of its"
        " own in DIR/cells/NAME/TEST, finished cells are skipped, so an interrupted matrix goes on"
        " with the same command, within the cell that was at work. Prints the matrix with the means"
        " on and off the diagonal.",
        epilog=f"Example: {command_line('evaluate', 'matrix')}"
        " --models CT=runs/ct/checkpoints/step-000200 MRI=runs/mri/checkpoints/step-000200"
        " --json phantoms:CT phantoms:MRI --output-dir m",
    )
    group = parser.add_argument_group("models and data")
    group.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME=DIR",
        help="the modality or question type that a checkpoint was trained on, and the checkpoint;"
        " any other name (base=tiny) gets a row, and counts in neither mean",
    )
    seed_of = "of --limit's sample, of borrowed images"
    _add_data(group, seed_of, limited="questions of each file", required=True)
    _add_asking(parser)
    _add_controls(parser.add_argument_group("what each cell is compared with"))
    group = parser.add_argument_group("machine")
    _add_machine(group)
    _add_batch_size(group)
    group = parser.add_argument_group("result")
    group.add_argument(
        "--output-dir",
        required=True,
        type=expanded,
        metavar="DIR",
        help="where matrix.json and cells/ go: new, empty, or a matrix to go on with",
    )
    return parser


def compare_parser() -> FlagParser:
    """Return the parser of `evaluate.py compare`."""
    parser = _parser(
        prog=command_line("evaluate", "compare"),
        description="Compare two finished evaluations of the same questions: the change in accuracy"
        " with its 95 % interval by image, and McNemar's test, per modality, question type and data"
        " set. Nothing is asked again.",
    )
    parser.add_argument(
        "first", type=expanded, metavar="FIRST_DIR", help="a directory that evaluate.py wrote"
    )
    parser.add_argument(
        "second", type=expanded, metavar="SECOND_DIR", help="another, of the same test file"
    )
    parser.add_argument(
        "--output", type=expanded, metavar="FILE", help="also write the numbers there, as JSON"
    )
    return parser


def curate_parser() -> FlagParser:
    """Return the parser of `python -m evaluation.curate`."""
    parser = _parser(
        prog=module_line("evaluation.curate"),
        description="Which rows of train files are worth training on: completions are sampled for"
        " every row with its image and with the image blank, a text prior is asked too, and a"
        " filtered split is written with the reasons per row. An interrupted run goes on with the"
        " same command.",
        epilog=f"Example: {module_line('evaluation.curate')} --model Qwen/Qwen2-VL-2B-Instruct"
        " --json splits/train/CT_train.json --image-root OmniMedVQA --output-dir curated",
    )
    group = parser.add_argument_group("model and data")
    _add_model(group, required=True)
    group.add_argument(
        "--json",
        nargs="+",
        required=True,
        type=expanded,
        metavar="FILE",
        help="train files in a published format; 'phantoms', 'phantoms:CT', ..: the embedded ones",
    )
    _add_rows(group, "of --limit's sample, of the completions, of the prior's folds")
    _add_asking(parser)
    _add_choosing(parser)
    group = parser.add_argument_group("machine")
    _add_machine(group)
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="completions sampled at once: speed and memory, not samples (default: 64)",
    )
    group = parser.add_argument_group("result")
    group.add_argument(
        "--output-dir",
        required=True,
        type=expanded,
        metavar="DIR",
        help="where split/, curate.jsonl and summary.json go: new, empty, or a run to go on with",
    )
    return parser


def _add_choosing(parser: FlagParser) -> None:
    group = parser.add_argument_group("which rows are dropped")
    group.add_argument(
        "--samples",
        type=int,
        metavar="K",
        help="completions per row and image, at temperature 1 (default: 8)",
    )
    group.add_argument(
        "--drop",
        nargs="*",
        metavar="REASON",
        help="rows with one of these reasons are left out: always_right, always_wrong, blind"
        " (solved with the image blank), prior (the text prior has it right); none: only report"
        " (default: always_right always_wrong blind)",
    )
    group.add_argument(
        "--blind-share",
        type=float,
        metavar="SHARE",
        help="a row is blind if at least this share of its blank samples is right (default: 0.75)",
    )
    group.add_argument(
        "--prior",
        metavar="NAME",
        help="lookup, 'question majority' or 'linear ranker', cross-fitted by image (default:"
        " lookup)",
    )
    group.add_argument(
        "--group-size",
        type=int,
        metavar="G",
        help="of the training that is planned, for the expected share of groups without spread"
        " (default: 4)",
    )


def _parser(**options: Any) -> FlagParser:
    return FlagParser(
        **options,
        # only what was given is in the result, so that the checkpoint's own values can come next
        argument_default=argparse.SUPPRESS,
    )


def _add_model(group: Any, *, required: bool = False) -> None:
    group.add_argument(
        "--model",
        required=required,
        type=expanded,
        metavar="DIR",
        help="a checkpoint's directory or hub id of a Qwen2-VL or Qwen2.5-VL; 'tiny' is the"
        " embedded one",
    )


def _add_data(
    group: Any, seed_of: str, *, limited: str = "questions", required: bool = False
) -> None:
    group.add_argument(
        "--json",
        nargs="+",
        required=required,
        type=expanded,
        metavar="FILE",
        help="test files in a published format; 'phantoms', 'phantoms:CT', ..: the embedded"
        " held-out questions, all or one slice",
    )
    _add_rows(group, seed_of, limited)


def _help(subcommand: str) -> str:
    return command_line("evaluate", subcommand, "--help")


def _add_rows(group: Any, seed_of: str, limited: str = "questions") -> None:
    group.add_argument(
        "--image-root",
        type=expanded,
        metavar="DIR",
        help="folder that the rows' image paths start from",
    )
    group.add_argument(
        "--skip-bad-rows",
        action="store_true",
        help="leave out, and count, rows that cannot be used: text, image or length (docs/rows.md)",
    )
    group.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"a seeded sample of N {limited}, spread over modality, question type and data set in"
        " proportion (default: all)",
    )
    group.add_argument("--seed", type=int, metavar="N", help=f"{seed_of} (default: 0)")


def _add_batch_size(group: Any) -> None:
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="questions answered at once: speed and memory, not answers (default: as many as fit"
        " into half of the free memory, at most 128 on a GPU and 256 on a CPU)",
    )


def _add_asking(parser: FlagParser) -> None:
    group = parser.add_argument_group(
        "how it is asked",
        "What is not given comes from the checkpoint's groupwise.json, else it is train.py's"
        " default (for 'tiny': configs/phantoms.toml). A flag that differs from groupwise.json is"
        " warned about: a model asked in another way than it was trained answers worse.",
    )
    group.add_argument(
        "--mode",
        metavar="|".join(CHOICES["mode"]),
        help="which tags a completion writes, in which order",
    )
    group.add_argument(
        "--image-size",
        type=int,
        metavar="SIZE",
        help="images become SIZE x SIZE pixels, then whole visual tokens (384: 392, 14 x 14"
        " tokens); 0: the processor's own min/max pixels",
    )
    group.add_argument(
        "--prompt-template",
        type=expanded,
        metavar="FILE",
        help="text file used as the user's turn, with {question} and {options} once each",
    )
    group.add_argument(
        "--max-completion-tokens",
        type=int,
        metavar="N",
        help="longest completion; longer ones are truncated, and counted",
    )


def _add_comparisons(parser: FlagParser) -> None:
    group = parser.add_argument_group(
        "what the accuracy is compared with",
        "Each control and each further order asks all questions once more.",
    )
    _add_controls(group)
    group.add_argument(
        "--shuffle-within",
        metavar="|".join(SHUFFLE_WITHIN),
        help="which rows a shuffled image may come from (default: modality)",
    )
    group.add_argument(
        "--permute-options",
        type=int,
        metavar="COUNT",
        help="ask with the options in COUNT orders, the rows' own among them; rows whose options"
        " name each other (Both A and B) have one order and are left out of this part",
    )
    group.add_argument(
        "--text-prior",
        nargs="+",
        type=expanded,
        metavar="FILE",
        help="train files, or 'phantoms': what priors fitted on their text reach without an image",
    )
    group.add_argument(
        "--thoughts",
        nargs="+",
        metavar="NAME",
        help="also read the letters' probabilities behind another thought: removed (none), swapped"
        " (of a sampled completion that chose another letter), borrowed (of another question's"
        " answer); think mode",
    )
    group.add_argument(
        "--thought-samples",
        type=int,
        metavar="COUNT",
        help="completions sampled per question for --thoughts swapped (default: 4)",
    )


def _add_controls(group: Any) -> None:
    named = ", ".join(f"{name} ({control.help})" for name, control in CONTROLS.items())
    group.add_argument(
        "--controls",
        nargs="+",
        metavar="NAME",
        help=f"also ask with an image that cannot help: {named}",
    )


def _add_machine(group: Any) -> None:
    group.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1, .. (default: auto, cuda where there is one)",
    )
    group.add_argument(
        "--dtype",
        metavar="|".join(CHOICES["dtype"]),
        help="of the weights (default: auto, bfloat16 on cuda and float32 on cpu)",
    )
