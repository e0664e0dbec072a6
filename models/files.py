"""Where a checkpoint's files are, and whether they are all there: every check before loading.

A checkpoint is a directory in the hub's layout: config.json, *.safetensors, tokenizer and image
processor files. Each problem ends in one ValueError that says what to do.
"""

import json
import os
import re
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from models.described import check_fits, check_sizes, cleaned
from models.foreign import check_kind, check_not_quantised, check_tensors
from process.regular import read_bytes, read_text

_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
# The embedded base models: tiny answers with letters, tiny_open also in words.
EMBEDDED = {name: Path(__file__).resolve().parent / name for name in ("tiny", "tiny_open")}
_LARGEST_JSON = 200_000_000  # bytes; a tokenizer of 150,000 words has about 11 million
FAMILIES = ("qwen2_vl", "qwen2_5_vl")
WEIGHTS_INDEX = "model.safetensors.index.json"

# What is read beside the weights. Saving writes these, a download asks for no more.
PROCESSOR_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)
DOWNLOADED = (
    "config.json",
    "adapter_config.json",
    "*.safetensors",
    WEIGHTS_INDEX,
    *PROCESSOR_FILES,
)


def find_checkpoint(path: str | Path) -> Path:
    """Return the directory of a checkpoint: `tiny`, a local directory, or a hub id.

    The words `tiny` and `tiny_open` are the embedded models next to this file, whatever stands in
    the working directory; `./tiny`, and a Path always, name a directory. A hub id is downloaded
    into, or found in, the hub's cache.

    Raises:
        ValueError: nothing is there, or the hub cannot be reached and has not been before.
    """
    return local_checkpoint(path) or _from_hub(str(path))


def local_checkpoint(path: str | Path) -> Path | None:
    """Return the directory that a model's name means, None for a hub id."""
    if isinstance(path, str) and path in EMBEDDED:
        return EMBEDDED[path]
    local = Path(os.path.expanduser(path))  # noqa: PTH111 Path's own raises for an unknown user
    if local.is_dir():
        return local
    if local.suffix == ".gguf" and local.is_file():
        raise ValueError(
            f"--model {path} is a GGUF file, quantised for inference: give the directory or hub id"
            " of the unquantised checkpoint that it was made from"
        )
    if local.exists():
        raise ValueError(f"--model {path} is a file: give the directory that holds config.json")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) or str(path).startswith((".", "/")):
        raise ValueError(
            f"no model directory {path}: give a directory that holds config.json, a hub id such as"
            " Qwen/Qwen2-VL-2B-Instruct, or `tiny`, the embedded model"
        )
    return None


def _from_hub(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():  # a log keeps every line that a bar draws itself anew with
        disable_progress_bars()
        print(f"{repo_id}: fetched from the hub, where its cache lacks a file", flush=True)
    cause: Exception
    try:
        # of a command: its standard error shows controls, and the hub's bars need some
        with redirect_stderr(getattr(sys.stderr, "drawing", sys.stderr)):
            return Path(snapshot_download(repo_id, allow_patterns=list(DOWNLOADED)))
    except GatedRepoError as error:
        reason, remedy = "asks for a login", "run `hf auth login` with an account that has access"
        cause = error
    except RepositoryNotFoundError as error:
        reason, remedy = "is not on the hub", "check the spelling"
        cause = error
    except (OSError, HfHubHTTPError, ValueError) as error:
        # LocalEntryNotFoundError is a ValueError and an OSError; no network is a ConnectionError.
        reason = "is no directory here, not in the hub's cache, and the hub cannot be reached"
        remedy = f"go online once, or copy the model to a directory and name that ({repo_id} is"
        remedy += " looked up in the cache that HF_HOME names)"
        cause = error
    raise ValueError(f"the model {repo_id} {reason}: {remedy}") from cause


def read_config(directory: Path) -> dict[str, Any]:
    """Return config.json, flat or nested, of a directory whose model family is one of ours."""
    check_kind(directory)
    missing = "it is no checkpoint in the hub's layout"
    inside = sorted(directory.glob("checkpoints/step-*"))
    if inside:
        missing = f"it is a run's directory, name one of its checkpoints, such as {inside[-1]}"
    config = read_checkpoint_json(directory, "config.json", missing)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"{directory}: config.json has model_type {family!r}, and only {' and '.join(FAMILIES)}"
            " are supported: give a Qwen2-VL or Qwen2.5-VL checkpoint"
        )
    check_not_quantised(directory, config)
    check_sizes(directory / "config.json", config)
    return config


def transformers_config(directory: Path) -> Any:
    """Return transformers' config object of config.json, without choices of how it is run.

    Raises:
        ValueError: as `read_config`, or transformers refuses what it says.
    """
    from transformers import CONFIG_MAPPING

    config = read_config(directory)
    try:
        return CONFIG_MAPPING[config["model_type"]].from_dict(cleaned(config))
    except Exception as error:  # many kinds: a type, a rope setting, a size that does not divide
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{directory / 'config.json'} cannot be used ({reason})") from error


def read_checkpoint_json(directory: Path, name: str, missing: str) -> dict[str, Any]:
    """Return a JSON object of the checkpoint; `missing` ends the message when it is not there."""
    try:
        if (size := (directory / name).stat().st_size) > _LARGEST_JSON:
            raise ValueError(
                f"{directory / name} has {size:,} bytes, and no such file of a model has more than"
                f" {_LARGEST_JSON:,}: fetch it again"
            )
        text = read_text(directory / name)
    except FileNotFoundError:
        raise ValueError(f"{directory} has no {name}: {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{directory / name} cannot be read ({error}): fetch it again") from error
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"{directory / name} is nested too deeply: fetch it again") from None
    except ValueError as error:  # also of a number of thousands of digits
        raise ValueError(f"{directory / name} is not JSON ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{directory / name} holds no JSON object: fetch it again")
    return content


def read_processor_files(directory: Path) -> dict[str, bytes]:
    """Return those of PROCESSOR_FILES that are there, name -> content."""
    files = {}
    for name in PROCESSOR_FILES:
        if (directory / name).is_file():
            try:
                files[name] = read_bytes(directory / name)
            except OSError as error:
                raise ValueError(
                    f"{directory / name} cannot be read ({error}): fetch it again"
                ) from error
    return files


def check_weights(directory: Path) -> None:
    """Raise unless every safetensors file is there and whole.

    Pickled weights (.bin) are refused even when they are all there is: loading them runs code.
    """
    names = weight_files(directory)
    for name in names:
        file = directory / name
        if not file.is_file():
            raise ValueError(
                f"{directory} lacks {name}, which {WEIGHTS_INDEX} names: fetch the missing shard"
            )
        _check_safetensors(file)
    sizes = [(directory / name).stat().st_size for name in names]
    check_fits(directory, read_config(directory), sum(sizes))


def weight_files(directory: Path) -> list[str]:
    """Return the names of a checkpoint's safetensors files.

    Raises:
        ValueError: there are none, or the index that should name them is damaged.
    """
    if (directory / "model.safetensors").is_file():
        return ["model.safetensors"]
    if (directory / WEIGHTS_INDEX).is_file():
        weight_map = read_checkpoint_json(directory, WEIGHTS_INDEX, "").get("weight_map")
        named = list(weight_map.values()) if isinstance(weight_map, dict) else []
        if not named or not all(isinstance(name, str) for name in named):
            raise ValueError(f"{directory / WEIGHTS_INDEX} has no weight_map: fetch it again")
        if elsewhere := [name for name in named if Path(name).name != name]:
            raise ValueError(
                f"{directory / WEIGHTS_INDEX} names {elsewhere[0][:200]!r}, which is no file beside"
                " it: fetch it again"
            )
        return sorted(set(named))
    pickled = [file.name for file in directory.iterdir() if file.suffix in _PICKLED]
    if pickled:
        raise ValueError(
            f"{directory} holds only pickled weights ({sorted(pickled)[0]}), which can run code"
            " when they are loaded: convert them to safetensors first, or fetch a checkpoint that"
            " has them"
        )
    raise ValueError(
        f"{directory} has no weights: model.safetensors, or {WEIGHTS_INDEX} with its shards, is"
        " missing"
    )


def _check_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:  # compares header and file's size
            names = tensors.keys()
            dtypes = {name: tensors.get_slice(name).get_dtype() for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is cut short or damaged ({error}): fetch or copy it again"
        ) from error
    check_tensors(file, dtypes)
