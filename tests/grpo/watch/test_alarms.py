"""Each alarm on made-up streams: what sets it off, what does not, and how often it speaks."""

import random

import pytest

from grpo.watch.alarms import RECOVERY, MetricAlarms
from grpo.watch.rules import REMEMBERED, RULES, History

HEALTHY = {
    "kl": 0.05,
    "entropy": 0.5,
    "completion_tokens": 100.0,
    "well_formed": 0.95,
    "truncated": 0.02,
    "reward": 1.5,
    "zero_std_groups": 0.4,
}


def stream(steps: int, **changes) -> list[dict]:
    """Healthy metrics; a change is a value, or a function of the step, from 0."""
    return [
        HEALTHY | {k: v(step) if callable(v) else v for k, v in changes.items()}
        for step in range(steps)
    ]


def warnings(metrics: list[dict]) -> list[tuple[int, str]]:
    """Every warning with its step, counted from 0."""
    alarms = MetricAlarms()
    return [(step, text) for step, row in enumerate(metrics) for text in alarms.look(row)]


def test_a_healthy_run_is_left_in_peace():
    noise = random.Random(0)

    def around(mean):
        return lambda _step: mean * noise.uniform(0.7, 1.3)

    names = ("kl", "entropy", "completion_tokens", "reward", "zero_std_groups")
    assert warnings(stream(600, **{name: around(HEALTHY[name]) for name in names})) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kl": 1.3}, "the KL to the reference is 1.30 nats"),
        ({"kl": lambda s: 0.1 if s < 40 else 0.7}, "the KL to the reference rose from 0.1 to"),
    ],
)
def test_where_the_reference_follows_it_is_no_longer_called_the_start_model(changes, words):
    ((_, text),) = warnings(stream(50, **changes, reference_age=lambda s: s % 25))
    assert text.startswith(words)


def test_learning_is_no_alarm():
    # from nothing to nearly all: as in the embedded default run, which ends at 94 %
    rising = stream(
        400,
        reward=lambda s: 1.4 + 0.6 * s / 400,
        entropy=lambda s: 0.1 - 0.05 * s / 400,
        kl=lambda s: 0.2 * s / 400,
        zero_std_groups=lambda s: 0.2 + 0.6 * s / 400,
        well_formed=lambda s: min(1.0, 0.1 + s / 100),
    )
    assert warnings(rising) == []


@pytest.mark.parametrize(
    ("changes", "first", "words"),
    [
        # six of ten steps above the bound move the median of the last ten past it
        ({"kl": lambda s: 0.6 if s < 30 else 1.3}, 35, ["is 1.30 nats", "above 1", "--beta"]),
        # the median of five, against that of twenty steps before: three large ones are needed
        ({"kl": lambda s: 0.1 if s < 40 else 0.7}, 42, ["from 0.1 to 0.7", "--max-grad-norm"]),
        (
            {"entropy": lambda s: 0.5 if s < 30 else 0.04},
            35,
            ["0.04 nats", "--temperature", "--entropy-bonus"],
        ),
        (
            {"completion_tokens": lambda s: 100 if s < 30 else 20},
            35,
            ["shrank to 20 tokens from 100", "--beta"],
        ),
        (
            {"completion_tokens": lambda s: 60 if s < 30 else 200},
            35,
            ["grew to 200 tokens from 60", "--loss-normalization"],
        ),
        # the mean of ten falls by 0.05 a step: the fifth is 0.25 down
        (
            {"well_formed": lambda s: 0.9 if s < 30 else 0.4},
            34,
            ["fell to 65% from 90%", "--reward-weights"],
        ),
        # from the first ten steps on
        ({"truncated": 0.3}, 9, ["30% of the completions", "--max-completion-tokens"]),
        (
            {"zero_std_groups": lambda s: 0.5 if s < 30 else 1.0},
            46,
            ["in 92% of the groups", "--group-size", "--dynamic-sampling"],
        ),
        # k of twenty: a fall of k / 20, a pooled spread of 0.73 sqrt(k / 20 (1 - k / 20)): k is 11
        (
            {"reward": lambda s: 1.5 if s < 60 else 0.5},
            70,
            ["fell to 0.95 from 1.5", "--learning-rate", "checkpoints/best.json"],
        ),
    ],
)
def test_each_alarm_names_value_and_way_out_once(changes, first, words):
    found = warnings(stream(120, **changes))
    assert len(found) == 1, found
    step, text = found[0]
    assert step == first
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    "changes",
    [
        {"kl": lambda s: 1.8 if s % 10 == 0 else 0.1},
        {"kl": lambda s: 0.01 if s < 40 else 0.4},  # forty times, but small
        {"entropy": lambda s: 0.5 if s < 30 else 0.06},
        {"completion_tokens": lambda s: 100 if s < 30 else 40},
        {"well_formed": lambda s: 0.9 if s < 30 else 0.75},
        {"truncated": lambda s: 1.0 if s % 5 == 0 else 0.0},
        {"zero_std_groups": lambda s: 1.0 if s % 5 else 0.2},
        {"reward": lambda s: 1.0 + s % 2 if s < 60 else 0.6 + s % 2},  # 0.4 under, spread 0.5
        {"kl": None, "entropy": None},  # beta 0; a method without sampling
    ],
)
def test_one_bad_batch_or_a_small_change_is_none(changes):
    assert warnings(stream(120, **changes)) == []


@pytest.mark.parametrize(
    ("more", "unit"), [({}, "per token"), ({"exact/mass_outside": 0.0}, "per question")]
)
def test_where_answers_are_listed_the_kl_is_one_of_questions(more, unit):
    high = warnings(stream(30, kl=2.0, **more))
    rising = warnings(stream(60, kl=lambda s: 0.1 if s < 40 else 0.7, **more))
    assert f"is 2.00 nats {unit}" in high[0][1] and f"to 0.7 nats {unit}" in rising[0][1]


def test_a_reward_that_falls_since_harder_questions_are_chosen_is_none():
    kept = {"reward": lambda s: 1.5 if s < 60 else 0.5}  # of the groups that a step ends with
    assert warnings(stream(120, **kept, **{"curriculum/unseen": 0.3})) == []
    assert warnings(stream(120, **kept, **{"dynamic/reward": 1.2})) == []
    drawn = {"dynamic/reward": lambda s: 1.5 if s < 60 else 0.5}
    ((_, text),) = warnings(stream(120, **drawn))
    assert text.startswith("the reward fell to 0.95 from 1.5")


@pytest.mark.parametrize(
    ("chooses", "words"),
    [
        ({}, "--temperature, draw others in their place (--dynamic-sampling), or leave out"),
        ({"dynamic/reward": 1.0}, "raise --group-size, --temperature or --dynamic-sampling, or"),
        ({"curriculum/unseen": 0.3}, "raise --group-size or --temperature, or leave out"),
    ],
)
def test_where_groups_agree_the_way_out_is_one_that_the_run_does_not_have(chooses, words):
    ((_, text),) = warnings(stream(40, zero_std_groups=1.0, **chooses))
    assert words in text


def test_it_speaks_again_only_after_it_has_recovered():
    def kl(step):  # high, back for 4 steps, high; back for 40, high
        return 0.1 if 30 <= step < 34 or 60 <= step < 100 else 2.0

    alarms = [step for step, text in warnings(stream(140, kl=kl)) if "alarm above" in text]
    assert alarms == [9, 104]


WORSENING = [
    ("kl", 2.0, 4.0),
    ("entropy", 0.04, 0.02),
    ("completion_tokens", 25, 12),
    ("completion_tokens", 400, 900),
    ("truncated", 0.3, 0.7),
    ("zero_std_groups", 0.92, 0.97),
]


@pytest.mark.parametrize(("name", "bad", "worse"), WORSENING)
def test_it_speaks_again_when_it_has_become_worse(name, bad, worse):
    good = HEALTHY[name]
    metrics = stream(160, **{name: lambda s: good if s < 20 else bad if s < 90 else worse})
    found = [step for step, text in warnings(metrics) if "rose from" not in text]
    assert len(found) == 2 and 20 <= found[0] < 90 <= found[1], found
    metrics = stream(160, **{name: lambda s: good if s < 20 else bad})  # and not when it has not
    assert len([step for step, text in warnings(metrics) if "rose from" not in text]) == 1


def test_a_resumed_run_goes_on_with_what_it_said():
    metrics = stream(120, kl=lambda s: 0.1 if 60 <= s < 90 else 2.0)
    whole = warnings(metrics)
    for cut in (5, 12, 65, 80, 95):
        alarms = MetricAlarms(past=metrics[:cut])
        rest = [
            (step, text)
            for step, row in enumerate(metrics[cut:], start=cut)
            for text in alarms.look(row)
        ]
        assert rest == [item for item in whole if item[0] >= cut]


def test_the_rules_look_at_what_they_are_given_and_nothing_else():
    history = History()
    for row in stream(50, kl=2.0, truncated=0.9):
        history.add(row)
    first = [rule(history) for rule in RULES]
    assert [rule(history) for rule in RULES] == first and sum(t is not None for t in first) == 2


def test_memory_is_bounded_and_an_old_best_is_forgotten():
    slow = stream(REMEMBERED + 400, reward=lambda s: 2.0 if s < 20 else 2.0 - 1e-4 * s)
    assert warnings(slow) == []
    history = History()
    for row in slow:
        history.add(row)
    assert history.last("reward", REMEMBERED) and not history.last("reward", REMEMBERED + 1)
    assert history.start("reward") == 2.0 and RECOVERY > 0
