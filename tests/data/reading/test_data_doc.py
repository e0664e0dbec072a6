"""docs/data.md says of every family what the code that reads it says."""

from data.reading.families import FAMILIES
from rewards.forms import FORMS
from scripts.make_data_doc import PAGE, section, written_anew


def test_the_page_is_written_from_the_tables_in_the_code():
    assert PAGE.read_text("utf-8") == written_anew(PAGE.read_text("utf-8"))


def test_a_table_has_every_field_under_all_of_its_names():
    for family in FAMILIES:
        for field in family.fields:
            line = next(one for one in section(family).splitlines() if f"| `{field.name}` |" in one)
            assert field.meaning in line
            assert field.shown or all(f"`{name}`" in line for name in field.aliases)


def test_the_page_names_every_form_of_answer():
    for name, form in FORMS.items():
        assert f"| `{name}` | {form.kind} |" in PAGE.read_text("utf-8")
