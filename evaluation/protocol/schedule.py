"""All runs and cells of a protocol: what they are made of, what is there, what is missing."""

from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.asking.asked_model import AskedModel, asked_model
from evaluation.asking.shared_flags import AskingFlags
from evaluation.matrix import Matrix
from evaluation.measures.priors import FittedPriors
from evaluation.protocol import arms as arms_of
from evaluation.protocol.arms import NEW, TRAINED, Arm
from evaluation.protocol.axis_rows import AxisData, load_axis
from evaluation.protocol.protocol_file import AxisPlan, ProtocolConfig
from evaluation.protocol.results import BASE, AxisResults, read_grid
from grpo.run.provenance import model_checksum
from models.files import find_checkpoint


class Schedule:
    """All runs and cells of a protocol: looked at as a whole before the first is begun."""

    def __init__(self, config: ProtocolConfig) -> None:
        """Read all rows and check all settings; nothing is written.

        Raises:
            ValueError: naming the file or the setting that does not fit.
        """
        self.config, self.output = config, Path(config.output_dir)
        self.axes: dict[str, AxisPlan] = {axis.name: axis for axis in config.axes}
        self.arms = arms_of.all_arms(config)
        self.data: dict[str, AxisData] = {a.name: load_axis(config, a) for a in config.axes}
        self._configs = {
            arm: arms_of.arm_config(config, arm, self.source(arm)) for arm in self.arms
        }
        self._priors: dict[tuple[str, str], FittedPriors] = {}
        self._check_same_examples()

    def check_there(self) -> None:
        """Check all runs that are there, and whether the weights are that missing cells need.

        Raises:
            ValueError: naming the run or the cell that does not fit.
        """
        start = model_checksum(find_checkpoint(self.config.model))
        for arm in self.arms:
            if self.state(arm) != NEW:
                split = self.data[arm.axis].train[arm.slice]
                arms_of.check_same_run(arm.path(self.output), self._configs[arm], split, start)
            self._check_weights(arm)

    def source(self, arm: Arm) -> str:
        """Return what an arm's --train-json names."""
        return self.data[arm.axis].train_sources[arm.slice]

    def _check_same_examples(self) -> None:
        """Every method sees the same examples in the same order: what the comparison rests on."""
        first: dict[tuple[str, str, int], Arm] = {}
        for arm in self.arms:
            if chosen := arms_of.chosen_by_rewards(self._configs[arm]):
                raise ValueError(
                    f"{arm.name} would see other examples than the rest: {chosen} lets a run's own"
                    " rewards choose them; leave it away"
                )
            rival = first.setdefault((arm.axis, arm.slice, arm.seed), arm)
            if self.examples[arm] != self.examples[rival]:
                raise ValueError(
                    f"{arm.name} and {rival.name} would see other examples: leave"
                    " prompts_per_step and shuffle_options to [settings]"
                )

    @cached_property
    def examples(self) -> dict[Arm, str]:
        """Arm -> checksum of the examples it sees, in their order."""
        known: dict[tuple[Any, ...], str] = {}
        found = {}
        for arm in self.arms:
            config = self._configs[arm]
            amount = (self.steps(arm), config.prompts_per_step, config.shuffle_options)
            key = (arm.axis, arm.slice, config.seed, *amount)  # all that the examples depend on
            if key not in known:
                split = self.data[arm.axis].train[arm.slice]
                known[key] = arms_of.examples_checksum(config, split)
            found[arm] = known[key]
        return found

    def _check_weights(self, arm: Arm) -> None:
        if self.state(arm) != TRAINED or not (arm.path(self.output) / "trained.json").is_file():
            return
        matrix = self.matrix(arm)
        place = Path(matrix.models[0].checkpoint)
        if matrix.pending() and not place.is_dir():
            model, test = matrix.pending()[0]
            raise ValueError(
                f"the cell {matrix.cell(model, test).path} is gone, and so are the weights that it"
                f" needs ({place}): remove {arm.path(self.output)} to train that run anew"
            )

    def state(self, arm: Arm) -> str:
        """Return how far an arm's run is."""
        return arms_of.find_state(arm.path(self.output), self.steps(arm))

    def steps(self, arm: Arm) -> int:
        """Return the number of an arm's last step."""
        split = self.data[arm.axis].train[arm.slice]
        return self._configs[arm].total_steps(len(split.examples))

    def matrix(self, arm: Arm) -> Matrix:
        """Return the row of a trained arm: its checkpoint on the test files of its own axis."""
        asked = arms_of.asked_arm(arm, arm.path(self.output))
        return self._matrix(arm.axis, f"{arm.method}-seed{arm.seed}", [asked])

    @cached_property
    def zero_shot(self) -> dict[tuple[str, str], Matrix]:
        """(axis, mode) -> the start model's row."""
        # as the arms ask, whose defaults are train.py's; a checkpoint's own may be others
        one = next(iter(self._configs.values()))

        def asking(mode: str) -> AskingFlags:
            size, most = one.image_size, one.max_completion_tokens
            return AskingFlags(mode=mode, image_size=size, max_completion_tokens=most)

        return {
            (axis, mode): self._matrix(
                axis,
                f"zero-shot-{mode}",
                [asked_model(BASE, self.config.model, asking(mode))],
            )
            for axis in self.axes
            for mode in self.config.zero_shot
        }

    def _matrix(self, axis: str, name: str, models: list[AskedModel]) -> Matrix:
        return Matrix(
            self.output / "matrices" / axis / name,
            models,
            self.data[axis].tests,
            controls=("blank",),
            priors_of=lambda train: self._priors_of(axis, train),
            with_letters=False,  # a forward more per batch; no table here shows a calibration
        )

    def _priors_of(self, axis: str, train: str) -> FittedPriors | None:
        if train == BASE:
            return None
        if (axis, train) not in self._priors:
            rows = self.data[axis].train[train].examples
            self._priors[axis, train] = FittedPriors.on(rows)
        return self._priors[axis, train]

    def results(self) -> dict[str, AxisResults]:
        """Return the cells that are there, by axis."""
        found: dict[str, AxisResults] = {}
        for axis in self.axes:
            methods: dict[str, dict[int, Any]] = {}
            for arm in self.trained():
                if arm.axis == axis:
                    grid = methods.setdefault(arm.method, {}).setdefault(arm.seed, {})
                    grid.update(read_grid(self.matrix(arm)))
            zero = {m: read_grid(x) for (a, m), x in self.zero_shot.items() if a == axis}
            found[axis] = AxisResults({m: grid for m, grid in zero.items() if grid}, methods)
        return found

    def trained(self) -> list[Arm]:
        """Return the arms whose last step is done and noted."""
        return [arm for arm in self.arms if (arm.path(self.output) / "trained.json").is_file()]

    def missing_runs(self) -> list[Arm]:
        """Return the arms that are still to be trained, or to be trained on."""
        return [arm for arm in self.arms if self.state(arm) != TRAINED]

    def missing_cells(self) -> list[tuple[str, str]]:
        """Return (kind, name) of every cell that is not there, those of missing runs included."""
        missing = [
            (f"cell {mode}", f"{axis}: zero-shot {mode} on {test.name}")
            for (axis, mode), matrix in self.zero_shot.items()
            for _, test in matrix.pending()
        ]
        trained = set(self.trained())
        for arm in self.arms:
            pending = [test for _, test in self.matrix(arm).pending()] if arm in trained else None
            tests = self.data[arm.axis].tests if pending is None else pending
            missing += [(f"cell {arm.mode}", f"{arm.name} on {test.name}") for test in tests]
        return missing

    def count(self) -> tuple[int, int]:
        """Return the numbers of runs and of cells."""
        tests = {axis: len(data.tests) for axis, data in self.data.items()}
        zero = sum(tests[axis] for axis, _ in self.zero_shot)
        return len(self.arms), zero + sum(tests[arm.axis] for arm in self.arms)
