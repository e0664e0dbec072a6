"""Every place of one text in another: as by looking everywhere, and in a time linear in both."""

from hypothesis import given
from hypothesis import strategies as st

from rewards.occurrences import places_of
from tests.growth import LINEAR, growth

texts = st.text("ab ", max_size=30)


@given(st.text("ab ", min_size=1, max_size=9), texts, st.integers(1, 4))
def test_all_places_are_found(wanted, text, repeats):
    for one in (wanted, wanted * repeats):
        places = [at for at in range(len(text)) if text.startswith(one, at)]
        assert list(places_of(one, text)) == places


def test_a_text_that_repeats_itself_is_not_compared_whole_at_every_place():
    for piece in ("bb ", "a", "ab ab b "):
        assert growth(lambda text: list(places_of(text[: len(text) // 2], text)), piece) < LINEAR
