"""How much memory a run needs: a sum of named parts, from config.json alone; docs/memory.md."""

from models.memory.adapters import AdapterSizes, adapter_sizes
from models.memory.estimate import estimate_memory
from models.memory.held import MOMENTS, QUANTIZED_MOMENTS, Held, Place
from models.memory.parts import PARTS, MemoryEstimate
from models.memory.sizes import ModelSizes, sizes_of, sizes_of_model, weightless
from models.memory.work import Work

__all__ = [
    "MOMENTS",
    "PARTS",
    "QUANTIZED_MOMENTS",
    "AdapterSizes",
    "Held",
    "MemoryEstimate",
    "ModelSizes",
    "Place",
    "Work",
    "adapter_sizes",
    "estimate_memory",
    "sizes_of",
    "sizes_of_model",
    "weightless",
]
