"""manifest.json: what it lists is what was written, and a policy that is loaded is that one."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpo.run.provenance import model_checksum
from models import load_policy
from models.checkpoint import checksums
from models.checkpoint.manifest import damages, is_listed, read_manifest
from models.checkpoint.saving import save_policy
from models.checkpoint.sealing import Seal
from tests.models.nano import write_checkpoint

pytestmark = pytest.mark.model

TENSORS = {f"exp_avg/{i}": torch.randn(7, i) for i in range(5)} | {"step/é": torch.tensor(3.0)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int64])
def test_a_file_that_is_hashed_as_it_is_written_is_safetensors_own_to_the_byte(tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in TENSORS.items()}
    save_file(tensors, tmp_path / "theirs.safetensors")
    with Seal(tmp_path) as seal:
        seal.write_tensors("ours.safetensors", tensors)
        seal.finish(1)
    ours, theirs = (tmp_path / f"{whose}.safetensors" for whose in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()
    files = read_manifest(tmp_path).files
    assert files[ours.name] == files[theirs.name]  # hashed on its way; read again


def test_tensors_of_several_dtypes_come_back(tmp_path):
    mixed = {"half": torch.ones(3).half(), "long": torch.arange(5), "float": torch.ones(2, 2).T}
    with Seal(tmp_path) as seal:
        seal.write_tensors("ours.safetensors", mixed)
    found = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(found[name], mixed[name]) for name in mixed)


def test_a_folder_that_is_given_up_is_left_at_once(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    with pytest.raises(OSError, match="full"), Seal(tmp_path) as seal:
        seal.take()
        raise OSError("full")
    assert not (tmp_path / "manifest.json").exists()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> Path:
    """A policy as a run saves it, without trainer/ as people copy it."""
    folder = tmp_path_factory.mktemp("sealed")
    policy, place = load_policy(write_checkpoint(folder / "nano")), folder / "saved"
    (place / "trainer").mkdir(parents=True)
    (place / "trainer" / "state.json").write_text("{}")
    (place / "groupwise.json").write_text("{ }")
    with Seal(place) as seal:
        save_policy(policy, place)
        seal.finish(3)
    shutil.rmtree(place / "trainer")
    return place


@pytest.fixture
def copy(sealed, tmp_path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "copy"))


def test_a_copy_without_what_training_needs_loads(copy):
    load_policy(copy)
    (copy / "groupwise.json").unlink()
    load_policy(copy)


FILES = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
FILES += ["preprocessor_config.json", "generation_config.json", "groupwise.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_policy_of_which_a_file_was_changed_is_not_loaded(copy, name):
    file = copy / name
    content = bytearray(file.read_bytes())
    if name == "model.safetensors":
        content[-2] ^= 1
    else:  # a blank: it says the same, and is not what was saved
        content[content.index(b" ")] = ord("\t")
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} has other bytes .* remove .*manifest\.json"):
        load_policy(copy)
    (copy / "manifest.json").unlink()
    load_policy(copy)


def test_another_rope_theta_is_not_loaded(copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["rope_parameters"]["rope_theta"] = 20000.0
    (copy / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    with pytest.raises(ValueError, match=r"copy is not as it was saved: config\.json has"):
        load_policy(copy)


def test_a_template_that_is_gone_or_was_put_there_is_noticed(copy):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(ValueError, match=r"chat_template\.jinja was not saved with it"):
        load_policy(copy)
    (copy / "chat_template.jinja").unlink()
    (copy / "generation_config.json").unlink()
    with pytest.raises(ValueError, match=r"generation_config\.json is missing"):
        load_policy(copy)


@pytest.mark.parametrize("text", ["{}", "[]", "", '{"icons": [], "name": "App"}'])
def test_a_manifest_of_another_tool_is_nobodys_business(copy, text):
    (copy / "groupwise.json").unlink()
    (copy / "manifest.json").write_text(text)
    assert not is_listed(copy)
    load_policy(copy)


def lists(**changes):
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lists(files={}), "its own checksum differs"),
        (lists(step=4), "its own checksum differs"),
        (lambda file: file.write_text("{}"), "KeyError"),
        (lambda file: file.write_text("[" * 9), "JSONDecodeError"),
    ],
)
def test_a_damaged_list_is_not_taken_for_damaged_files(copy, change, message):
    change(copy / "manifest.json")
    with pytest.raises(ValueError, match=rf"saved: manifest\.json is damaged \(.*{message}"):
        load_policy(copy)


@pytest.mark.parametrize("name", ["/etc/passwd", "../nano/config.json", "a/../../b"])
def test_a_list_that_names_files_outside_is_refused(copy, name, monkeypatch):
    monkeypatch.setattr("models.checkpoint.manifest._own_checksum", lambda _: "same")
    lists(sha256="same", files={name: {"size": 1, "sha256": "0"}})(copy / "manifest.json")
    with pytest.raises(ValueError, match="it lists"):
        read_manifest(copy)


def test_of_a_later_version_it_says_so(copy, monkeypatch):
    monkeypatch.setattr("models.checkpoint.manifest._own_checksum", lambda _: "same")
    lists(sha256="same", format_version=2)(copy / "manifest.json")
    with pytest.raises(ValueError, match="format_version 2, and this version knows 1"):
        read_manifest(copy)


def test_the_models_checksum_does_not_hang_on_the_manifest(copy):
    before = model_checksum(copy)
    (copy / "manifest.json").unlink()
    assert model_checksum(copy) == before


def test_a_file_is_hashed_once_as_long_as_nobody_touches_it(tmp_path, monkeypatch):
    file, real, read = tmp_path / "weights", checksums.hashlib.file_digest, []
    file.write_bytes(b"1")
    monkeypatch.setattr(checksums, "_SETTLED", 0)
    monkeypatch.setattr(
        checksums.hashlib, "file_digest", lambda *given: read.append(given) or real(*given)
    )
    first = checksums.file_checksum(file)
    assert checksums.file_checksum(file) == first and len(read) == 1
    file.write_bytes(b"22")
    assert checksums.file_checksum(file) != first and len(read) == 2


def test_a_file_of_this_very_moment_is_read_again(tmp_path, monkeypatch):
    file, real, read = tmp_path / "weights", checksums.hashlib.file_digest, []
    file.write_bytes(b"1")  # a write within the same tick of the clock would show in no time
    monkeypatch.setattr(
        checksums.hashlib, "file_digest", lambda *given: read.append(given) or real(*given)
    )
    assert checksums.file_checksum(file) == checksums.file_checksum(file) and len(read) == 2


def test_a_whole_checkpoint_has_no_damage(copy):
    assert damages(copy, read_manifest(copy), lambda name: not name.startswith("trainer/")) == []
