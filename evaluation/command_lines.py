"""The command lines of evaluate.py: how --help describes and groups what the configs hold."""

from evaluation.asking.shared_flags import FLAG_CHOICES, FLAG_PATHS, HOW_IT_IS_ASKED, ROWS
from evaluation.configs import AskConfig, CompareConfig, ExportConfig, MatrixConfig, ScoreConfig
from evaluation.export.evaluators import EVALUATORS
from process.called import command_line
from process.flag_parser import FlagParser
from process.flags import Group, add_flags

_CHOICES = {**FLAG_CHOICES, **dict.fromkeys(("export", "to"), tuple(EVALUATORS))}


def score_parser() -> FlagParser:
    """Return the parser of `evaluate.py`; flags that are not given are absent from the result."""
    helps = {
        name: command_line("evaluate", name, "--help")
        for name in ("ask", "matrix", "compare", "export")
    }
    parser = FlagParser(
        prog=command_line("evaluate"),
        description="Greedy accuracy of a checkpoint, with 95 % Wilson intervals, per modality and"
        " question type. Without a flag: the embedded model on the embedded held-out questions.",
        epilog=f"To put one question: {helps['ask']}; to score several checkpoints"
        f" on several files: {helps['matrix']}; to compare two evaluations: {helps['compare']};"
        f" to write a finished one in another evaluator's file: {helps['export']}",
    )
    compared = ("controls", "shuffle_within", "permute_options", "text_prior", "thoughts",
                "thought_samples")  # fmt: skip
    groups = (
        Group("model and data", ("model", *ROWS, "check_data")),
        HOW_IT_IS_ASKED,
        Group(
            "what the accuracy is compared with",
            compared,
            "Each control and each further order asks all questions once more.",
        ),
        Group("machine", ("device", "dtype", "batch_size")),
        Group("result", ("by", "output_dir", "export")),
    )
    add_flags(parser, ScoreConfig, groups, choices=_CHOICES, paths=FLAG_PATHS)
    return parser


def ask_parser() -> FlagParser:
    """Return the parser of `evaluate.py ask`."""
    parser = FlagParser(
        prog=command_line("evaluate", "ask"),
        description="Put one question to a checkpoint, about an image or several or none: prints"
        " what it writes and what is read out of it, and of lettered options how probable each"
        " letter was.",
        epilog=f"Example: {command_line('evaluate', 'ask')} --model Qwen/Qwen2-VL-2B-Instruct"
        " --image scan.png --question 'Which imaging technique was used?'"
        " --options CT MRI Ultrasound",
    )
    groups = (
        Group("model and question", ("model", "image", "question", "options", "form", "system")),
        HOW_IT_IS_ASKED,
        Group("machine", ("device", "dtype")),
    )
    add_flags(parser, AskConfig, groups, choices=FLAG_CHOICES, paths=FLAG_PATHS)
    return parser


def matrix_parser() -> FlagParser:
    """Return the parser of `evaluate.py matrix`."""
    parser = FlagParser(
        prog=command_line("evaluate", "matrix"),
        description="Score every checkpoint on every test file: each cell is an evaluation of its"
        " own in DIR/cells/NAME/TEST, finished cells are skipped, so an interrupted matrix goes on"
        " with the same command, within the cell that was at work. Prints the matrix with the means"
        " on and off the diagonal.",
        epilog=f"Example: {command_line('evaluate', 'matrix')}"
        " --models CT=runs/ct/checkpoints/step-000200 MRI=runs/mri/checkpoints/step-000200"
        " --json phantoms:CT phantoms:MRI --output-dir m",
    )
    groups = (
        Group("models and data", ("models", *ROWS)),
        HOW_IT_IS_ASKED,
        Group("what each cell is compared with", ("controls",)),
        Group("machine", ("device", "dtype", "batch_size")),
        Group("result", ("by", "output_dir")),
    )
    add_flags(parser, MatrixConfig, groups, choices=FLAG_CHOICES, paths=FLAG_PATHS)
    return parser


def compare_parser() -> FlagParser:
    """Return the parser of `evaluate.py compare`."""
    parser = FlagParser(
        prog=command_line("evaluate", "compare"),
        description="Compare two finished evaluations of the same questions: the change in accuracy"
        " with its 95 % interval by image, and McNemar's test, per modality, question type and data"
        " set. Nothing is asked again.",
    )
    add_flags(parser, CompareConfig, choices=FLAG_CHOICES, paths=FLAG_PATHS)
    return parser


def export_parser() -> FlagParser:
    """Return the parser of `evaluate.py export`."""
    parser = FlagParser(
        prog=command_line("evaluate", "export"),
        description="Write the answers of finished evaluations as result files of other evaluators,"
        " beside predictions.jsonl: the rows as they stand in the data, with what the strict parser"
        " read as the answer. Nothing is asked again. docs/export.md says what the files hold.",
        epilog=f"Example: {command_line('evaluate', 'export')} runs/ct-evaluation --to medevalkit"
        " vlmevalkit",
    )
    add_flags(parser, ExportConfig, choices=_CHOICES, paths=FLAG_PATHS)
    return parser
