"""Which stored images can be shown: each decoded to its last byte, before anything takes long.

A file that breaks off behind a whole header, holds another thing than its name says, or is of a
size that Pillow takes for an attack can only be found by what training does with it: decoding.
"""

import os
import stat as stat_module
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from PIL import Image

from data.examples import StoredImage
from data.held_images import HeldImage
from data.image_bounds import ImageRefusalError
from data.images import MISSING, decode
from data.verdict_cache import ImageKey, VerdictCache, content_key, file_key
from process.bars import bar
from process.memory import MemoryRanOutError
from process.signals import end_if_asked, interruptible

_CHUNK = 32  # files of one task
_SILENT = 2.0  # seconds after which a check shows how far it is


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What is known of one stored image."""

    size: tuple[int, int] | None  # (width, height) as it is shown; None where it cannot be
    reason: str = ""  # why not


@interruptible()
def examine_images(
    sources: Iterable[StoredImage], cache: VerdictCache
) -> dict[StoredImage, ImageVerdict]:
    """Return the verdict on each image, decoded now or known from an earlier start.

    Pillow lets other threads run while it decodes, and a network disk while it fetches, so files
    are looked at by several threads. A bar shows how far it is, lines where there is no terminal;
    neither shows for what is quickly done.
    """
    sources = list(dict.fromkeys(sources))
    if not sources:
        return {}
    # All of Pillow's formats before the first thread: of two threads that load them at once, one
    # can find a WebP file to be no image.
    Image.init()
    verdicts: dict[StoredImage, ImageVerdict] = {}
    chunks = (sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK))
    threads = _num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="groupwise-images")
    try:
        progress = bar(
            total=len(sources), desc="checking images", unit="image", delay=_SILENT, leave=False
        )
        with progress:
            waiting: set[Future[dict[StoredImage, ImageVerdict]]] = set()
            while True:
                end_if_asked()
                while len(waiting) < 2 * threads and (chunk := next(chunks, None)):
                    waiting.add(pool.submit(_examine, chunk, cache))
                if not waiting:
                    break
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    found = future.result()
                    verdicts |= found
                    progress.update(len(found))
    finally:  # also when it is broken off: the next start goes on from here
        pool.shutdown(wait=True, cancel_futures=True)
        cache.save()
    return verdicts


def _num_threads() -> int:
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux: what a container or Slurm lends
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(16, 2 * cores)


def _examine(
    sources: Sequence[StoredImage], cache: VerdictCache
) -> dict[StoredImage, ImageVerdict]:
    return {source: _verdict(source, cache) for source in sources}


def _verdict(source: StoredImage, cache: VerdictCache) -> ImageVerdict:
    try:
        if isinstance(source, HeldImage):
            return ImageVerdict(_known_size(source, content_key(source.name), cache))
        stat = source.stat()
        if not stat_module.S_ISREG(stat.st_mode):  # a pipe would be waited for, for ever
            return ImageVerdict(None, "is no file")
        if stat.st_size == 0:
            return ImageVerdict(None, "is an empty file")
        return ImageVerdict(_known_size(source, file_key(source, stat), cache))
    except FileNotFoundError:
        return ImageVerdict(None, MISSING)
    except MemoryRanOutError:  # says nothing of the file
        raise
    except ImageRefusalError as error:
        return ImageVerdict(None, str(error))
    except Exception as error:  # every decoder of Pillow raises what it likes for a broken file
        return ImageVerdict(None, f"cannot be decoded ({type(error).__name__}: {error})")


def _known_size(source: StoredImage, key: ImageKey, cache: VerdictCache) -> tuple[int, int]:
    size = cache.size(key)
    if size is None:
        size = decode(source).size
        cache.add(key, size)
    return size
