"""Conversations become one question and its key; what was said before it is not lost."""

import pytest

from data.reading.families import RowError, read_row
from tests.data.reading.published_files import published


def human(value) -> dict:
    return {"from": "human", "value": value}


def gpt(value) -> dict:
    return {"from": "gpt", "value": value}


def user(content) -> dict:
    return {"role": "user", "content": content}


def assistant(content) -> dict:
    return {"role": "assistant", "content": content}


ROW = {"image": "a.png", "conversations": [human("<image>Name the organ."), gpt("kidney")]}
PART = [{"type": "image"}, {"type": "text", "text": "Name the organ."}]


@pytest.mark.parametrize(
    ("name", "forms", "answers", "systems", "counts"),
    [
        ("f6_conversations.jsonl", ["letter", "letter"], ["Yes", "first"], ["", ""], [1, 2]),
        (
            "f6_messages.jsonl",
            ["text", "number", "yes_no"],
            ["disc", "4", "No"],
            ["You read pictures.", "", ""],
            [1, 1, 1],
        ),
    ],
)
def test_made_up_files_are_read_as_they_are_published(
    tmp_path, name, forms, answers, systems, counts
):
    examples = published(name, tmp_path)
    assert [example.form for example in examples] == forms
    assert [example.answer_text for example in examples] == answers
    assert [example.system for example in examples] == systems
    assert [len(example.images) for example in examples] == counts
    assert all("<image>" not in example.question for example in examples)
    assert all(image.is_file() for example in examples for image in example.images)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {"images": ["a.png"], "messages": [user("<image>Name the organ."), assistant("kidney")]},
        {"images": ["a.png"], "messages": [user("Name the organ.")], "solution": "kidney"},
        {"image": "a.png", "prompt": [user(PART)], "solution": "<answer> kidney </answer>"},
        {"image": "a.png", "prompt": "<image>Name the organ.", "answer": "kidney"},
        {"image": "a.png", "conversations": [user("Name the organ."), gpt("kidney")]},
        {"messages": [user([PART[0] | {"image": "a.png"}, PART[1]]), assistant("kidney")]},
        {"messages": [user([{"type": "image_url", "image_url": {"url": "a.png"}}, PART[1]])],
         "ground_truth": "kidney"},
        {"messages": [user([{"type": "image", "url": "a.png"}, "Name the ", "organ."])],
         "answer": "kidney"},
        {"images": ["a.png"], "prompt": [user(PART)], "data_source": "demo",
         "reward_model": {"style": "rule", "ground_truth": "kidney"}},
        ROW | {"solution": "kidney"},  # says the same twice
        {"image": "a.png", "conversations": [human("<image>Name the organ."),
         gpt("<think>bean-shaped</think> <answer>kidney</answer>")]},
        {"image": "a.png",
         "messages": [user(PART), assistant([{"type": "text", "text": "kidney"}])]},
    ],
)  # fmt: skip
def test_every_way_of_writing_it_says_the_same(row):
    content = read_row(row)
    assert (content.question, content.images) == ("Name the organ.", ("a.png",))
    assert (content.form, content.answer, content.system) == ("text", "kidney", "")


def test_a_key_may_be_a_number():
    row = ROW | {"conversations": [human("<image>How many?"), gpt(4)]}
    assert (read_row(row).form, read_row(row).answer) == ("number", "4")


def test_a_system_turn_is_kept_wherever_the_row_has_it():
    system = {"from": "system", "value": " You read pictures. "}
    turns = ROW["conversations"]
    for row in (
        ROW | {"conversations": [system, *turns]},
        ROW | {"system": "You read pictures."},
        ROW | {"conversations": [system, *turns], "system": "You read pictures."},
    ):
        assert read_row(row).system == "You read pictures."
        assert "system" not in read_row(row).fields
    assert read_row(ROW | {"system": None}).system == ""
    blank = ROW | {"conversations": [system, *turns], "system": " \n"}
    assert read_row(blank).system == "You read pictures."


def test_options_in_the_users_turn_are_read_as_in_a_problem():
    row = ROW | {"conversations": [human("<image>Is there a disc? A)Yes, B)No"), gpt("A")]}
    content = read_row(row)
    assert (content.question, content.options) == ("Is there a disc?", ("Yes", "No"))
    assert (content.form, content.answer) == ("letter", "A")
    assert read_row(row | {"solution": "Yes"}).answer == "A"  # the same option, otherwise said


def test_what_was_said_before_the_last_question_stands_before_it():
    turns = [
        human("<image>\nIs there a disc?"),
        gpt("Yes"),
        human("Where is it?"),
        gpt("on the left"),
    ]
    content = read_row(ROW | {"conversations": turns})
    assert content.question == "User: Is there a disc?\nAssistant: Yes\nUser: Where is it?"
    assert content.answer == "on the left"
    turns = [gpt("Hello."), human("<image>What is it?"), gpt("a disc")]
    content = read_row(ROW | {"conversations": turns})
    assert content.question == "Assistant: Hello.\nUser: What is it?"


def test_other_fields_stay_with_the_example():
    row = ROW | {"id": 2, "accu_reward_method": "mcq", "extra_info": {"index": 1}}
    assert dict(read_row(row).fields) == {
        "id": 2, "accu_reward_method": "mcq", "extra_info": {"index": 1}
    }  # fmt: skip


QUESTION = human("<image>Name the organ.")


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "is not a list of turns"),
        ({}, "is not a list of turns"),
        (7, "is not a list of turns"),
        (["Name it.", "kidney"], r"turn 0\) is no object with a role and a content"),
        ([gpt("4")], "has no user's turn before the answer: nothing is asked"),
        ([{"from": "system", "value": "Hi"}, gpt("4")], "has no user's turn"),
        ([{"from": "system", "value": "Hi"}], "has no user's turn"),
        ([QUESTION], "does not end with the assistant's turn, and there is no solution"),
        ([QUESTION, gpt("kidney"), human("Sure?")], "does not end with the assistant's turn"),
        ([QUESTION, gpt("kidney"), gpt("lung")], "followed by another turn of the assistant's"),
        ([QUESTION, {"from": "tool", "value": "x"}], r"turn 1\) is who speaks: only system, user"),
        ([QUESTION, {"from": 7, "value": "x"}], r"turn 1\) is who speaks"),
        ([QUESTION, {"value": "x"}], r"turn 1\) is who speaks"),
        ([QUESTION, gpt("x"), {"from": "system", "value": "Hi"}], "system turn behind another"),
        (2 * [{"from": "system", "value": "Hi"}] + [QUESTION, gpt("x")], "system turn behind"),
        ([human(""), gpt("x")], r"turn 0\) says nothing"),
        ([human(None), gpt("x")], r"turn 0\) is neither a text nor a list of parts"),
        ([human({"text": "a"}), gpt("x")], "is neither a text nor a list of parts"),
        ([human([{"type": "video"}]), gpt("x")], "is no part that is read: a text, or a user's"),
        ([human([{"type": "text", "text": 7}]), gpt("x")], "is no part that is read"),
        ([human([["a"]]), gpt("x")], "is no part that is read"),
        ([human([]), gpt("x")], r"turn 0\) says nothing"),
        ([QUESTION, gpt([{"type": "image"}])], "is no part that is read"),
        ([QUESTION, gpt("")], r"turn 1\) says nothing"),
        ([QUESTION, gpt(True)], r"\(conversations\) is neither a text nor a number"),
        ([QUESTION, gpt("<answer>a</answer><answer>b</answer>")], "holds the tag"),
        (201 * [QUESTION], "turns of conversations are more than 200"),
        ([human("<image><image>Two?"), gpt("disc")], "<image>"),
        ([human("<image>Is it? A)Yes, B)No"), gpt("maybe")], "is no option"),
    ],
)
def test_a_conversation_that_is_no_question_is_a_bad_row(turns, reason):
    with pytest.raises(RowError, match=reason):
        read_row(ROW | {"conversations": turns})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"solution": "lung"}, r"\(solution, conversations\) say two things: keep the right one"),
        (
            {"solution": ["disc", "line"], "answer": ["disc"]},
            r"\(solution, answer, conversations\) say two things",
        ),
        ({"system": 7}, r"\(system\) is not a text"),
        ({"messages": [user("Name it."), assistant("kidney")]}, "two names of one field"),
        ({"options": ["liver", "lung"]}, r"\(conversations\) is no option: the row has options A"),
        ({"options": "kidney or lung"}, r"\(options\) is no JSON"),
        ({"image": 7}, r"\(image\)"),
    ],
)
def test_a_row_that_says_two_things_or_something_strange_is_a_bad_row(change, reason):
    with pytest.raises(RowError, match=reason):
        read_row(ROW | change)


def test_two_system_turns_that_differ_are_refused():
    turns = [{"from": "system", "value": "One."}, *ROW["conversations"]]
    with pytest.raises(RowError, match="two system turns: keep one"):
        read_row(ROW | {"conversations": turns, "system": "Another."})


def test_images_beside_the_turns_and_others_inside_are_refused():
    turns = [user([{"type": "image", "image": "b.png"}, PART[1]]), assistant("kidney")]
    row = {"messages": turns}
    assert read_row(row | {"images": ["b.png"]}).images == ("b.png",)
    with pytest.raises(RowError, match="and others of the turns: keep one of both"):
        read_row(row | {"images": ["a.png"]})


def test_a_huge_turn_takes_linear_time():
    turns = [human("<image>" * 100_000 + "<answer>" * 100_000), gpt("x"), human("?"), gpt("y")]
    with pytest.raises(RowError):
        read_row(ROW | {"conversations": turns})


@pytest.mark.parametrize("last", ["Is <image> older than this one?", "<image>Older than <image>?"])
def test_a_mark_in_the_middle_of_any_turn_is_a_bad_row(last):
    turns = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "heart"}]
    row = {"messages": [*turns, {"role": "user", "content": last}], "solution": "no"}
    with pytest.raises(RowError, match="holds <image>"):
        read_row(row | {"images": ["a.png", "b.png", "c.png"][: 1 + last.count("<image>")]})
