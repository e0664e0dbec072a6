"""A small sample that looks like the whole: the rows that ``--limit`` and ``--eval-limit`` keep."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from data.examples import VQAExample
from data.seeded import seeded_key

_FRACTION = 2**64  # of `seeded_key`, read as a number in [0, 1)
_ORDERS = 64  # of a modality's groups

Group = tuple[str, str, str]  # modality, question type, data set
Place = tuple[Group, int]
Counts = dict[tuple[int, str], float]  # by question type (1, name) and by data set (2, name)


def spread_sample(examples: Sequence[VQAExample], limit: int | None, seed: int) -> list[VQAExample]:
    """Return ``limit`` of the examples, in their order, in proportion to what the whole holds.

    Systematic sampling: the examples are lined up by modality, question type and data set, at
    random within each, and every ``len / limit``-th is taken from a random start. Every modality,
    every question type in it and every data set in that gets its exact share, rounded up or down.
    (The largest remainder would promise this of the smallest groups only: a modality made of many
    small data sets could lose all its rows.)

    Where groups are of one size, such a step can fall on the same question type in every modality.
    So each modality in turn tries its groups in several random orders and takes the one that keeps
    question types and data sets nearest to their shares of all rows so far.

    Depends on the examples, ``limit`` and ``seed`` alone. All examples where ``limit`` is None or
    not below their number.

    Raises:
        ValueError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a sample of {limit} examples is empty: pass a limit of at least 1")
    if limit is None or limit >= len(examples):
        return list(examples)

    groups: dict[Group, list[int]] = {}
    for index, example in enumerate(examples):
        key = (example.modality, example.question_type, example.dataset)
        groups.setdefault(key, []).append(index)
    for members in groups.values():
        members.sort(key=lambda index: seeded_key("sample", seed, examples[index].id))
    sizes = {group: len(members) for group, members in groups.items()}
    drawn = _draw(sizes, limit, seed)
    return [examples[index] for index in sorted(groups[group][place] for group, place in drawn)]


def _draw(sizes: Mapping[Group, int], limit: int, seed: int) -> list[Place]:
    """Return ``limit`` pairs of a group and a place in it."""
    total = sum(sizes.values())
    start = seeded_key("sample start", seed)
    rows = [(i * _FRACTION + start) * total // (limit * _FRACTION) for i in range(limit)]
    modalities = sorted({group[0] for group in sizes}, key=lambda m: seeded_key("order", seed, m))
    drawn: list[Place] = []
    share: Counts = defaultdict(float)  # what should be drawn of each value so far
    first = 0  # of the modality's rows
    for modality in modalities:
        own = [group for group in sizes if group[0] == modality]
        for value, rows_of_it in _by_value({g: sizes[g] * limit / total for g in own}).items():
            share[value] += rows_of_it
        end = first + sum(sizes[group] for group in own)
        wanted = [row - first for row in rows if first <= row < end]
        found = _by_value(Counter(group for group, _ in drawn))
        tried = [_places(order, sizes, wanted) for order in _orders(own, seed)]
        nearest = min(tried, key=lambda places: _distance(places, found, share))
        drawn += nearest
        first = end
    return drawn


def _orders(groups: Sequence[Group], seed: int) -> Iterator[list[Group]]:
    """Yield random orders of one modality's groups that keep a question type's together."""
    for number in range(_ORDERS):

        def key(group: Group, number: int = number) -> tuple[int, int]:
            return seeded_key("type", seed, number, *group[:2]), seeded_key(seed, number, *group)

        yield sorted(groups, key=key)


def _places(order: Sequence[Group], sizes: Mapping[Group, int], rows: list[int]) -> list[Place]:
    """Return where these rows of the line-up, ascending, lie."""
    ends = list(accumulate(sizes[group] for group in order))
    found = [(bisect_right(ends, row), row) for row in rows]
    return [(order[at], row - (ends[at] - sizes[order[at]])) for at, row in found]


def _by_value(counts: Mapping[Group, float]) -> Counts:
    """Return the counts of groups added up by value."""
    values: Counts = defaultdict(float)
    for group, count in counts.items():
        for part in (1, 2):
            values[part, group[part]] += count
    return values


def _distance(places: Sequence[Place], found: Counts, share: Counts) -> float:
    """Return how far these places and what was found before are from the share, squared."""
    new = _by_value(Counter(group for group, _ in places))
    return sum((found[value] + new[value] - wanted) ** 2 for value, wanted in share.items())
