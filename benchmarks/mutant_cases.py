"""Which files mutants.py changes, and the tests of each that are to notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A file and the tests that belong to it."""

    file: str
    tests: tuple[str, ...]


MEASURES = "tests/evaluation/measures"
OBJECTIVES = "tests/grpo/objectives"
CASES = (
    Case("grpo/advantages.py", ("tests/grpo/test_advantages.py",)),
    Case("grpo/loss.py", ("tests/grpo/test_loss.py",)),
    Case("grpo/objectives/ratio.py", (f"{OBJECTIVES}/test_ratio.py", "tests/grpo/test_loss.py")),
    Case("grpo/objectives/surrogate.py", (f"{OBJECTIVES}/test_surrogate.py",)),
    Case("grpo/objectives/divergence.py", (f"{OBJECTIVES}/test_divergence.py",)),
    Case("grpo/objectives/entropy.py", (f"{OBJECTIVES}/test_entropy.py",)),
    Case("grpo/objectives/factors.py", (f"{OBJECTIVES}/test_factors.py",)),
    Case("grpo/objectives/enumerated.py", (f"{OBJECTIVES}/test_enumerated.py",)),
    Case("grpo/overlong.py", ("tests/grpo/test_overlong.py",)),
    Case("grpo/dynamic_sampling.py", ("tests/grpo/test_dynamic_sampling.py",)),
    Case("data/pass_rates.py", ("tests/data/test_pass_rates.py",)),
    Case("grpo/uniforms.py", ("tests/grpo/test_uniforms.py",)),
    Case("grpo/inverse_cdf.py", ("tests/grpo/test_inverse_cdf.py",)),
    Case(
        "grpo/rollout.py",
        (
            "tests/grpo/test_rollout.py",
            "tests/grpo/test_sampling_loop.py",
            "tests/grpo/test_prompt_pass.py::test_nothing_is_kept_where_the_update_could_not_use_it",
        ),
    ),
    Case(
        "grpo/sampling.py",
        (
            "tests/grpo/test_sampling_loop.py",
            "tests/grpo/test_sampling.py::test_logits_are_float32_products_of_what_the_model_computed",
        ),
    ),
    Case("rewards/parsing.py", ("tests/rewards/test_parsing.py",)),
    Case(
        "evaluation/measures/statistics.py",
        (f"{MEASURES}/test_statistics.py", f"{MEASURES}/test_intervals.py"),
    ),
    Case(
        "evaluation/measures/clusters.py",
        (f"{MEASURES}/test_clusters.py", f"{MEASURES}/test_bootstrap.py"),
    ),
    Case(
        "evaluation/measures/intervals.py",
        (f"{MEASURES}/test_bootstrap.py", f"{MEASURES}/test_intervals.py"),
    ),
)
SMOKE = next(case for case in CASES if case.file == "grpo/uniforms.py")
