"""Watch every operation for what must not run in half precision.

Two things are looked at: the dtypes of operations that are only right in float32, and where the
numbers of a softmax come from. A product that was stored in half precision marks its memory, and
whatever is made of it, until the next product; a softmax must not read marked memory, also where
that was widened on the way.
"""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HALF = (torch.float16, torch.bfloat16)
SOFTMAX = ("_softmax", "_log_softmax", "logsumexp")
# Each also in place, as `out=` and in its backward.
ONLY_WIDE = (
    *SOFTMAX,
    *("exp", "expm1", "log", "logaddexp", "sigmoid", "lerp"),  # a sigmoid is a share of a softmax
    *("rsqrt", "sqrt", "pow", "mean", "var", "std", "norm", "linalg_vector_norm", "_foreach_norm"),
    *("cumsum", "sort", "topk", "searchsorted", "argmax", "amax", "minimum", "clamp"),
    *("cos", "sin", "_fused_adamw_"),
)
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm")
ATTENTION = ("_scaled_dot_product_flash_attention_for_cpu",)  # float32 inside: see the test's file
NORMS = ("native_layer_norm",)  # the same


class HalfWatch(TorchDispatchMode):
    """Collects what it finds; `seen` counts operations by name and dtype of their first tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []
        self.seen: Counter[tuple[str, torch.dtype]] = Counter()
        self._marked: dict[int, torch.UntypedStorage] = {}  # kept alive: no address comes twice

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name.split("::")[1]
        base = name.removesuffix("_backward_data").removesuffix("_backward")
        base = base if base in ONLY_WIDE else base.rstrip("_")
        result = function(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)]
        made = [t for t in tree_leaves(result) if torch.is_tensor(t)]
        floating = [t for t in (*given, *made) if t.is_floating_point()]
        if floating:
            self.seen[base, floating[0].dtype] += 1
        half = any(tensor.dtype in HALF for tensor in floating)
        activation = base == "sigmoid" and made[0].dim() == 2  # QuickGELU of (tokens, width)
        if base in ONLY_WIDE and half and not activation:
            self.broken.append(f"{function} in half precision")
        marked = any(self._is_marked(t) for t in given)
        if base in SOFTMAX and marked:
            self.broken.append(f"{function} of a product that was rounded to half precision")
        if base in (*PRODUCTS, *ATTENTION, *NORMS):
            marked = base in ("bmm", "baddbmm") and made[0].dtype in HALF
        if marked and base not in SOFTMAX:
            for tensor in made:
                storage = tensor.untyped_storage()
                self._marked[storage.data_ptr()] = storage
        return result

    def _is_marked(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._marked
