"""A user's file of rewards: loaded as a module of its own, and named where it fails."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType


def function_in(name: str, modules: dict[Path, ModuleType]) -> tuple[str, Callable]:
    """Return the function that ``path.py:function`` names, by its own name.

    Args:
        name: of both.
        modules: by file, those that are loaded already; a new one is put among them.

    Raises:
        ValueError: there is no such file or function, or the file fails while it is loaded.
    """
    file, _, function_name = name.rpartition(":")
    path = file_of(file)
    if path not in modules:
        modules[path] = _load_file(name, path)
    function = getattr(modules[path], function_name, None)
    if not callable(function):
        raise ValueError(
            f"reward {name!r}: {path} defines no function {function_name!r}: check its spelling"
        )
    return function_name, function


def file_of(name: str) -> Path:
    """Return the file of a path that a user wrote."""
    return Path(os.path.expanduser(name)).resolve()  # noqa: PTH111 Path's raises for no user


def described(error: BaseException, name: str) -> str:
    """Return an error's type, words and line in the file of ``path.py:function``, else the last."""
    return _described(error, str(file_of(name.rpartition(":")[0])))  # a registered one has none


def _load_file(name: str, path: Path) -> ModuleType:
    """Return the module in ``path``, under a private name so that it can shadow no other module."""
    if not path.is_file():
        raise ValueError(f"reward {name!r}: there is no file {path}: check the path")
    module_name = f"_groupwise_reward_{sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None, f"no loader for {path}"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up by name
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that what stands beside it shadows nothing
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ValueError(
            f"reward {name!r}: {path} fails while it is loaded"
            f" ({_described(error, str(path))}): run it with python to see why"
        ) from error
    return module


def _described(error: BaseException, file: str) -> str:
    """Return the error's type, words and line in the user's file, else the last one."""
    whole = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in whole if frame.filename == file] or whole
    line = f", line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return f"{type(error).__name__}: {error}{line}"
