"""Memory that ran out is known, whatever raised it, and told in one message."""

import errno

import pytest

from process.command import command, exit_status_of
from process.memory import DeviceMemoryError, MemoryRanOutError, during, full_memory

# As torch 2.13 says it for 4 PiB.
TORCH = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"
    " tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)"
)
KINDS = {
    "torch": RuntimeError(TORCH),
    "Python": MemoryError(),
    "numpy": MemoryError("Unable to allocate 8.00 PiB for an array"),
    "system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "C++": RuntimeError("std::bad_alloc"),
}


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


def wrapped(error: Exception) -> Exception:
    outer = ValueError("reward 'own' fails: it must return a number")
    outer.__cause__ = error
    return outer


def test_torch_still_says_it_so():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert full_memory(caught.value) == (False, str(caught.value).splitlines()[0])


@pytest.mark.parametrize("error", KINDS.values(), ids=KINDS)
def test_this_machines_memory_is_known_also_behind_another_error(error):
    for one in (error, wrapped(error)):
        full = full_memory(one)
        assert full is not None and not full.is_device
        assert full.reason == (str(error) or "MemoryError")


def test_a_gpus_memory_is_told_from_this_machines():
    full = full_memory(wrapped(OutOfMemoryError("CUDA out of memory\nof 2 GB")))
    assert full == (True, "CUDA out of memory")


def test_what_is_explained_already_and_what_is_no_memory_stay_what_they_are():
    explained: Exception
    for explained in (MemoryRanOutError("while a.png"), DeviceMemoryError("during loading")):
        explained.__cause__ = MemoryError()
        assert full_memory(explained) is None
        assert full_memory(wrapped(explained)) is None
    assert full_memory(ValueError(f"a row holds {TORCH!r}")) is None
    assert full_memory(RuntimeError("shapes differ")) is full_memory(None) is None


def test_the_innermost_part_is_named_with_what_to_lower():
    with (
        pytest.raises(MemoryRanOutError) as caught,
        during("the evaluation", "lower --batch-size"),
        during("loading", "take a smaller model"),
    ):
        raise wrapped(MemoryError())
    assert str(caught.value) == (
        "this machine's memory ran out, during loading (MemoryError): free memory, or take a"
        " smaller model"
    )


def test_a_gpus_memory_passes_a_part_unchanged():
    with pytest.raises(OutOfMemoryError), during("loading", "take a smaller model"):
        raise OutOfMemoryError("CUDA")


@pytest.mark.parametrize("error", KINDS.values(), ids=KINDS)
def test_a_command_ends_with_one_message_and_status_2(error, capsys):
    def work() -> None:
        raise error

    @command
    def main(_argv=None) -> int:
        work()
        return 0

    assert exit_status_of(work, kept="", lower="lower --batch-size") == 2
    first = capsys.readouterr().err
    reason = str(error) or "MemoryError"
    start = "error: this machine's memory ran out, during"
    assert first == f"{start} the evaluation ({reason}): free memory, or lower --batch-size\n"
    assert main([]) == 2
    second = capsys.readouterr().err
    assert second == f"{start} the command ({reason}): free memory, or work on less at a time\n"


def test_what_is_no_mistake_of_a_user_still_raises():
    def work() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        exit_status_of(work, kept="", lower="")
    with pytest.raises(RuntimeError, match="shapes differ"):
        command(lambda _argv: work())([])
