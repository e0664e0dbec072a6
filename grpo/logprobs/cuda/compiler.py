"""logprobs.cu to machine code with NVRTC, kept on disk between runs.

CUDA builds of torch bring NVRTC and its Python bindings, so nothing else is installed. Compiling
takes a fraction of a second; the cache spares it to the many short processes of a distributed run.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from process.storage import replacing

SOURCE = "logprobs.cu"
# Denormals flushed to zero: exp2f becomes one instruction, and 1e-38 is nothing to a probability.
# Spilled registers and warnings would be our mistake; tests/grpo/logprobs/cuda/test_compiler.py
# looks for them.
OPTIONS = ("--std=c++17", "--ftz=true")

_MAGIC = b"groupwise cubin 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


def source_code() -> bytes:
    """Return logprobs.cu as it was installed."""
    return resources.files("grpo.logprobs.cuda").joinpath(SOURCE).read_bytes()


def cubin(architecture: str) -> bytes:
    """Return machine code for an architecture such as "sm_90", from the cache or compiled now.

    Raises:
        RuntimeError: NVRTC is missing or refuses, with its log.
    """
    nvrtc = _nvrtc()
    version = _checked(nvrtc, nvrtc.nvrtcVersion(), "nvrtcVersion")
    source = source_code()
    key = cache_key(source, architecture, version)
    directory = cache_directory()
    if directory is None:
        return compile_source(source, architecture)[0]
    path = directory / f"{SOURCE.removesuffix('.cu')}-{key.hex()[:32]}.cubin"
    code = read_cached(path, key)
    if code is None:
        code, _log = compile_source(source, architecture)
        write_cached(path, key, code)
    return code


def compile_source(
    source: bytes, architecture: str, options: tuple[str, ...] = ()
) -> tuple[bytes, str]:
    """Return machine code and the compiler's log.

    Raises:
        RuntimeError: NVRTC is missing, or the source does not compile; the log is in the message.
    """
    nvrtc = _nvrtc()
    options = (f"--gpu-architecture={architecture}", *OPTIONS, *options)
    program = _checked(
        nvrtc, nvrtc.nvrtcCreateProgram(source, SOURCE.encode(), 0, [], []), "nvrtcCreateProgram"
    )
    try:
        encoded = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        size = _checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program), "nvrtcGetProgramLogSize")
        log = _buffer(size)
        _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, log), "nvrtcGetProgramLog")
        text = log.rstrip(b"\0").decode(errors="replace")
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(
                f"NVRTC could not compile {SOURCE} with {' '.join(options)}: {status.name}\n{text}"
            )
        size = _checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program), "nvrtcGetCUBINSize")
        code = _buffer(size)
        _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, code), "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return code[:size], text


def cache_key(source: bytes, architecture: str, version: tuple[int, int]) -> bytes:
    """Return a digest of all that decides the machine code."""
    parts = (source, architecture.encode(), repr(tuple(version)).encode(), repr(OPTIONS).encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return where compiled kernels are kept: $XDG_CACHE_HOME or ~/.cache, then groupwise.

    None where there is neither: a container's user often has no home.
    """
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path("~/.cache").expanduser()) / "groupwise"
    except RuntimeError:
        return None


def read_cached(path: Path, key: bytes) -> bytes | None:
    """Return a cached file's machine code, or None if it is missing, damaged or foreign.

    Foreign: made from something else, or written by another user, who could have put anything in.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            content = file.read()
    except OSError:
        return None
    head = _MAGIC + key
    digest, code = content[len(head) :][:_DIGEST_BYTES], content[len(head) + _DIGEST_BYTES :]
    whole = content.startswith(head) and hashlib.sha256(code).digest() == digest
    return code if whole and code else None


def write_cached(path: Path, key: bytes, code: bytes) -> None:
    """Keep machine code for later processes; a directory that cannot be written costs only time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = f".{path.name}.{secrets.token_hex(8)}"  # other processes may compile the same
        with replacing(path, own) as unfinished:
            unfinished.touch(mode=0o600, exist_ok=False)
            unfinished.write_bytes(_MAGIC + key + hashlib.sha256(code).digest() + code)
    except OSError:
        return


def _buffer(size: int) -> bytes:
    """Return room for the bindings to write into; a byte more than asked for.

    They write into a bytes object, and those of one byte exist once in the whole interpreter.
    """
    return b"\0" * (size + 1)


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()  # the library itself is looked for at the first call
    except Exception as error:  # the bindings raise their own kinds for a library not found
        raise RuntimeError(
            f"NVRTC or its Python bindings are missing ({error}): install a CUDA build of torch"
            " 2.10 or later, which brings both"
        ) from error
    return nvrtc


def _checked(nvrtc: Any, result: tuple, call: str) -> Any:
    """Return what a call gave beside its status."""
    status, *values = result
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"{call} failed: {status.name}")
    return values[0] if len(values) == 1 else tuple(values)
