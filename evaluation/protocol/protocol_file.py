"""What a protocol's TOML file says. Read without looking at any other file; see docs/protocol.md.

All problems of a file are reported at once, each with the key, its value and a way out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.asking.evaluation_plan import BATCH_SIZE
from evaluation.measures.slices import AXES
from evaluation.protocol.toml_table import CheckedTable
from grpo.settings.resolve import GRPO_ONLY, SFT_DEFAULTS
from grpo.settings.toml_file import shipped_or_own, typed
from process.paths import expanded
from process.toml import read_toml_file
from rewards.modes import MODES

METHODS = ("sft", *MODES)  # the supervised baseline, and GRPO in every mode
TABLES = ("data", *AXES, "settings")

# What every arm shares: an arm with another value would see other examples, or be asked otherwise.
_SHARED = (
    *("prompts_per_step", "shuffle_options", "skip_bad_rows", "only", "image_size"),
    *("max_completion_tokens", "device", "dtype", "save_every", "keep_checkpoints"),
)
# What is no setting of a protocol, and what to do instead.
_ELSEWHERE = {
    **dict.fromkeys(("model", "output_dir"), "give it at the top of the file"),
    **dict.fromkeys(("method", "mode"), "list it in methods, at the top of the file"),
    "seed": "list it in seeds, at the top of the file",
    "max_steps": "give steps at the top of the file",
    "epochs": "give it at the top of the file",
    **dict.fromkeys(("train_json", "image_root"), "the table [data] names the files"),
    **dict.fromkeys(
        ("eval_json", "eval_every", "eval_limit", "eval_blank"),
        "nothing is evaluated during training: the cells are what is reported",
    ),
    "save_weights_only": "an arm that is broken off goes on from its checkpoint: leave it away",
    "prompt_template": "each mode asks with its own prompt: leave it away",
}


@dataclass(frozen=True)
class AxisPlan:
    """The slices of one axis, by the names of data.examples."""

    name: str  # a key of evaluation.measures.slices.AXES
    slices: tuple[str, ...]  # tested on
    train_slices: tuple[str, ...]  # trained on, each of them tested on as well
    repeat_slices: tuple[str, ...]  # trained with every seed; the others with the first only


@dataclass(frozen=True)
class DataPlan:
    """Where the rows come from: the embedded phantoms, or two folders of published files."""

    phantoms: bool
    train_dir: str
    test_dir: str
    image_root: str


@dataclass(frozen=True)
class ProtocolConfig:
    """One protocol, as its file says it."""

    file: str
    model: str
    output_dir: str
    methods: tuple[str, ...]
    zero_shot: tuple[str, ...]  # modes in which the start model is asked
    seeds: tuple[int, ...]
    steps: int  # 0: as many as epochs asks for
    epochs: float
    test_limit: int | None
    batch_size: int
    delete_checkpoints: bool
    data: DataPlan
    axes: tuple[AxisPlan, ...]
    settings: Mapping[str, Any]  # of train.py, for all arms
    own_settings: Mapping[str, Mapping[str, Any]]  # "sft", "grpo" -> on top of those

    def settings_of(self, method: str) -> dict[str, Any]:
        """Return the settings of train.py for a method, without those that SFT does not use."""
        kind = "sft" if method == "sft" else "grpo"
        unused = GRPO_ONLY if kind == "sft" else ()
        common = {name: self.settings[name] for name in self.settings if name not in unused}
        return common | dict(self.own_settings[kind])


def mode_of(method: str) -> str:
    """Return the mode in which a method is trained and asked."""
    return str(SFT_DEFAULTS["mode"]) if method == "sft" else method


def read_protocol(file: str | Path, output_dir: str | None = None) -> ProtocolConfig:
    """Return what a TOML file says.

    Args:
        file: its path.
        output_dir: takes the place of the file's, which may then be missing.

    Raises:
        ValueError: it cannot be read, or naming every unknown key and every value that cannot be.
    """
    shipped = "protocol_smoke, protocol_phantoms, protocol_med_r1"
    content = read_toml_file(shipped_or_own(file), f"protocol {file}", shipped)
    problems: list[str] = []
    tables = {name: content.pop(name, None) for name in TABLES}
    top = CheckedTable(content, "", problems)
    values = _top_values(top, output_dir)
    axes = tuple(
        _axis(name, CheckedTable(tables[name], f"[{name}] ", problems))
        for name in AXES
        if tables[name] is not None
    )
    if not axes:
        problems.append(f"no {' and no '.join(f'[{name}]' for name in AXES)}: add one, with slices")
    data = _data(CheckedTable(tables["data"] or {}, "[data] ", problems))
    settings, own = _settings(tables["settings"] or {}, problems)
    top.refuse_others(TABLES)
    if problems:
        lines = [f"  - {problem}" for problem in problems]
        raise ValueError("\n".join([f"protocol {file} cannot run:", *lines]))
    return ProtocolConfig(
        file=str(file), data=data, axes=axes, settings=settings, own_settings=own, **values
    )


def _top_values(top: CheckedTable, output_dir: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": expanded(top.take("model", str, "")),
        "output_dir": expanded(top.take("output_dir", str, "")),
        "methods": top.names("methods", METHODS, METHODS),
        "zero_shot": top.names("zero_shot", tuple(MODES), tuple(MODES), may_be_empty=True),
        "seeds": top.names("seeds", None, (0,)),
        "steps": top.take("steps", int, 0),
        "epochs": top.take("epochs", float, 0.0),
        "test_limit": top.take("test_limit", int, 0) or None,
        "batch_size": top.take("batch_size", int, BATCH_SIZE),
        "delete_checkpoints": top.take("delete_checkpoints", bool, False),
    }
    values["output_dir"] = output_dir or values["output_dir"]
    if not values["model"]:
        top.problem("model", "is empty or missing: name one")
    if not values["output_dir"]:
        top.problem("output_dir", "is empty or missing: name one, or give --output-dir")
    for key, least in (("steps", 0), ("epochs", 0), ("test_limit", 0), ("batch_size", 1)):
        if (values[key] or least) < least:
            top.problem(key, f"must be at least {least}", values[key])
    if bool(values["steps"]) == bool(values["epochs"]):
        top.problem("steps", "or epochs says how long each run is: give one of them")
    for seed in values["seeds"]:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            top.problem("seeds", f"holds {seed!r}: use whole numbers from 0")
    return values


def _axis(name: str, table: CheckedTable) -> AxisPlan:
    slices = table.names("slices", AXES[name])
    train = table.names("train_slices", slices, slices)
    repeat = table.names("repeat_slices", train, train, may_be_empty=True)
    table.refuse_others()
    return AxisPlan(name, slices, train, repeat)


def _data(table: CheckedTable) -> DataPlan:
    phantoms = table.take("phantoms", bool, False)
    names = ("train_dir", "test_dir", "image_root")
    folders = {key: expanded(table.take(key, str, "")) for key in names}
    table.refuse_others()
    missing = [key for key, value in folders.items() if not value]
    if phantoms and len(missing) < len(folders):
        table.problem("phantoms", "= true needs no folders: give one or the other")
    elif not phantoms and missing:
        table.problem(", ".join(missing), "missing: name the folders, or set phantoms = true")
    return DataPlan(phantoms, **folders)


def _settings(table: Any, problems: list[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return [settings], and [settings.sft] and [settings.grpo] by name."""
    if not isinstance(table, dict):
        problems.append(f"settings is {table!r}: write a table")
        return {}, {"sft": {}, "grpo": {}}
    table = dict(table)
    own = {kind: table.pop(kind, {}) for kind in ("sft", "grpo")}
    common = _checked(table, "[settings]", problems)
    checked = {
        kind: _checked(own[kind], f"[settings.{kind}]", problems, refused=_SHARED) for kind in own
    }
    for key in checked["sft"].keys() & set(GRPO_ONLY):
        problems.append(f"[settings.sft] {key}: not used by sft, which samples nothing")
    return {"keep_checkpoints": 1, **common}, checked


def _checked(
    table: Any, where: str, problems: list[str], refused: Sequence[str] = ()
) -> dict[str, Any]:
    try:
        settings = typed(table, where)
    except (ValueError, AttributeError) as error:
        problems.append(f"{where} {error}" if isinstance(error, AttributeError) else str(error))
        return {}
    for key in settings:
        if key in _ELSEWHERE:
            problems.append(f"{where} {key}={settings[key]!r}: {_ELSEWHERE[key]}")
        elif key in refused:
            problems.append(f"{where} {key}={settings[key]!r}: all arms share it, see [settings]")
    return settings
