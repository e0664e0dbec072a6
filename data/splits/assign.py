"""Whole groups to train or test, so that every stratum has its share: a seeded greedy choice."""

from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction

from data.seeded import seeded_key


def assign(
    groups: Sequence[Sequence[int]],
    strata: Sequence[Sequence[Hashable]],
    keys: Sequence[str],
    *,
    test_share: float,
    seed: int,
) -> list[bool]:
    """Return, per row, whether it is in test.

    Groups come largest first, those of one size in an order drawn from the seed. With t test rows
    of p rows placed so far in a stratum, its excess is d = t - share * p; a group goes where the
    sum of d squared over the strata becomes smaller. The share is that of the rows placed so far:
    measured against the final one, every stratum would look short of test rows until it is full,
    and the first groups, the large ones, would all go to test.

    The sums are of integers, so that the order of rows cannot move a rounding.

    Args:
        groups: row numbers; every row is in exactly one.
        strata: per row, the strata it counts in, coarse ones among them, for small ones round.
        keys: per row, a text that names it whatever its place: ties follow it.
        test_share: above 0, below 1.
        seed: draws the order.
    """
    share = Fraction(test_share).limit_denominator(10_000)
    top, bottom = share.numerator, share.denominator
    in_test = [False] * len(keys)
    excess: Counter[Hashable] = Counter()  # bottom * d
    drawn = {min(keys[row] for row in group): group for group in groups}
    for key in sorted(drawn, key=lambda key: (-len(drawn[key]), seeded_key("split", seed, key))):
        group = drawn[key]
        counts = Counter(stratum for row in group for stratum in strata[row])
        # bottom * (the sum with the group in test - the sum with it in train)
        change = sum(
            count * (2 * excess[stratum] + count * (bottom - 2 * top))
            for stratum, count in counts.items()
        )
        to_test = change < 0 or (change == 0 and seeded_key("tie", seed, key) % bottom < top)
        for stratum, count in counts.items():
            excess[stratum] += count * ((bottom if to_test else 0) - top)
        for row in group:
            in_test[row] = to_test
    return in_test
