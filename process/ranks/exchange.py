"""How bytes go round, by the means of PyTorch, and how it says that they did not."""

# In the first line of what a library raises where a process is lost, or too late.
_LOST = ("Connection closed by peer", "Connection reset", "Timed out waiting", "gloo", "NCCL")


def gather_bytes(payload: bytes, size: int) -> list[bytes]:
    """Return what each of ``size`` processes has given, in the order of their ranks.

    Raises:
        RuntimeError: one of them is gone, or does not come in time; see `is_lost`.
    """
    import torch
    import torch.distributed as dist

    own = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    sizes = [torch.empty(1, dtype=torch.int64) for _ in range(size)]
    dist.all_gather(sizes, torch.tensor([len(own)]))
    longest = max(int(length) for length in sizes)
    padded = torch.nn.functional.pad(own, (0, longest - len(own)))
    found = [torch.empty(longest, dtype=torch.uint8) for _ in range(size)]
    dist.all_gather(found, padded)
    return [bytes(part[: int(length)].numpy()) for part, length in zip(found, sizes, strict=True)]


def is_lost(error: RuntimeError) -> bool:
    """Return whether an error says that another process is gone, or has not come in time."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)
