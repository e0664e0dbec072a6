"""What stands on a device from one step to the next: weights, what AdamW keeps, copies."""

from models.memory.decoding import Decoding
from models.memory.held import Held
from models.memory.parts import Sizes
from models.memory.sizes import ModelSizes
from models.memory.work import Work
from models.vision.features import LIMIT_BYTES

# An allowance, not a measurement: CUDA's context with its kernels and cuBLAS's workspaces.
CONTEXT_BYTES = 750_000_000


class Standing:
    """The sums of what stands, for one process."""

    def __init__(self, sizes: ModelSizes, held: Held, work: Work, *, keeps_pass: bool) -> None:
        """Keep what they are made of.

        Args:
            sizes: of the model.
            held: where its parts are.
            work: how much of a step the process has at once.
            keeps_pass: whether the prompts' pass of a rollout is kept for the update.
        """
        self.sizes, self.held, self.work, self.keeps_pass = sizes, held, work, keeps_pass
        self.decoding = Decoding(sizes, held, work)

    def resident(self) -> tuple[Sizes, Sizes]:
        """Return what stays on the device from step to step, and what waits in CPU memory."""
        held, trained = self.held, self.trained()
        own = {
            "master": self._share(4 * trained) if self.has_master else 0,
            "moments": self._of_trained(round(trained * held.moment_bytes)),
            "gradients": self._of_trained(4 * trained) + self.waiting(),
        }
        host: Sizes = {}
        if held.offloads_optimizer:  # on the device a gradient is no longer than it takes to leave
            host = own | {"gradients": own["gradients"] - self.waiting()}
            if not self.has_master and held.adapters is None:
                host["master"] = self._share(4 * trained)
            own = {"gradients": self.waiting()}
        resident = own | {"weights": self.weights(), "sampler": self.sampler()}
        reference, lent = self.reference()
        resident["reference"] = reference
        if lent:
            host = host | {"reference": lent}
        resident["features"] = LIMIT_BYTES if held.freeze_vision and held.on_cuda else 0
        resident |= self.decoding.graphs() if held.on_cuda and held.samples else {}
        resident["context"] = CONTEXT_BYTES if held.on_cuda else 0
        return resident, host

    def _share(self, size: int) -> int:
        """Return a rank's part of what is spread over all."""
        return -(-size // self.held.ranks)

    def _of_trained(self, size: int) -> int:
        """Return a rank's part of what belongs to trained weights: adapters each has whole."""
        return size if self.held.adapters is not None else self._share(size)

    @property
    def has_master(self) -> bool:
        """Whether AdamW moves something else than the weights of the forwards.

        Adapters and, in float32, the weights of one process are their own.
        """
        return self.held.adapters is None and (self.held.is_half or self.held.ranks > 1)

    def trained(self) -> int:
        """Return how many numbers are trained."""
        if self.held.adapters is not None:
            return self.held.adapters.parameters
        return self.sizes.parameters - (self.sizes.vision if self.held.freeze_vision else 0)

    def weights(self) -> int:
        """Return what stands of the weights of every forward; of several ranks, what is frozen."""
        sizes, held = self.sizes, self.held
        adapters = 4 * held.adapters.parameters if held.adapters is not None else 0
        if held.ranks == 1:
            return sizes.parameters * held.size + adapters
        tower = 0 if held.trains_tower else sizes.vision * held.size
        if held.adapters is None:
            return tower
        return tower + self._share(sizes.parameters * held.size - tower) + adapters

    def sampler(self) -> int:
        """Return the copy that decodes: of several ranks all of it, under LoRA what is merged too.

        Of several ranks each gathers the frozen weights for it, and merges beside them.
        """
        sizes, held = self.sizes, self.held
        if not held.samples:
            return 0
        gathered = sizes.parameters - (0 if held.trains_tower else sizes.vision)
        size = gathered * held.size if held.ranks > 1 else 0
        if held.adapters is not None:  # merged in float32, one after the other
            merging = sizes.text.largest * (4 + 4 * held.is_half)
            size += held.adapters.merged * held.size + merging
        return size

    def reference(self) -> tuple[int, int]:
        """Return what the reference has on the device, and what of it waits in CPU memory.

        A frozen tower is one and the same in both models. Of several ranks each has its share, and
        keeps the weights of no layer whole once they were gathered.
        """
        sizes, held = self.sizes, self.held
        if held.reference == "none" or held.adapters is not None:
            return 0, 0
        if held.reference == "cpu":
            layers = (sizes.text.total + sizes.tower.total) * held.size
            return sizes.parameters * held.size - layers, layers
        own = (sizes.parameters - (sizes.vision if held.freeze_vision else 0)) * held.size
        if held.ranks > 1:
            return self._share(own) + sizes.outside * held.size, 0
        return own, 0

    def waiting(self) -> int:
        """Return what the largest matrix's gradient takes before it is added to the sum.

        In half precision as it is made and, where there is something to add it to, in float32.
        """
        if self.held.adapters is not None:
            return 0
        of_text = self.keeps_pass or not self.held.trains_tower
        largest = self.sizes.text.largest if of_text else self.sizes.largest
        is_sum = self.keeps_pass or not self.work.is_whole
        if self.held.offloads_optimizer:
            return largest * self.held.size
        if self.held.is_half:
            return largest * (2 + 4 if is_sum else 2)
        return largest * 4 if is_sum else 0
