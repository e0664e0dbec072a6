"""What a run that goes on says of lines that its disk has lost: each once, in words that fit it."""

from pathlib import Path

from grpo.run.line_log import Edit, Found
from grpo.run.lost_lines import noted

RUN = Path("run")
DAMAGED = Found(edits=[Edit(0, 9, b"", 3), Edit(9, 9, b"", None)])  # of the other nothing is lost


def said(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_damaged_line_without_a_missing_step_is_nothing_to_go_back_for(capsys):
    now = noted({"resumed": [{"from_step": 9}]}, RUN, {"metrics.jsonl": DAMAGED})
    lost = {"metrics.jsonl": {"damaged_lines": [3], "missing_steps": []}}
    assert now["resumed"] == [{"from_step": 9, "lost": lost}]
    text = said(capsys)
    assert "line 3 damaged, moved to metrics.jsonl.damaged. The run goes on" in text
    assert "--resume-from" not in text and "missing" not in text


def test_missing_steps_are_told_as_ranges_with_the_way_to_have_them_again(capsys):
    found = Found(missing=[3, 7, 8, 9])
    now = noted({"resumed": [{"from_step": 9}]}, RUN, {"metrics.jsonl": found})
    assert [tuple(one) for one in now["resumed"][0]["lost"]["metrics.jsonl"]["missing_steps"]] == [
        (3, 3),
        (7, 9),
    ]
    text = said(capsys)
    assert "damaged" not in text and "missing or not complete" in text
    assert "--resume run --resume-from step-.." in text


def test_what_an_earlier_resumption_has_told_is_not_told_again(capsys):
    lost = {"metrics.jsonl": {"damaged_lines": [], "missing_steps": [[3, 4]]}}
    before = {"resumed": [{"from_step": 5, "lost": lost}, {"from_step": 9}]}
    assert noted(before, RUN, {"metrics.jsonl": Found(missing=[3, 4])}) is before
    assert said(capsys) == ""
    now = noted(before, RUN, {"metrics.jsonl": Found(missing=[3, 4, 6])})
    [again] = now["resumed"][1]["lost"]["metrics.jsonl"]["missing_steps"]
    assert tuple(again) == (6, 6) and "step 6 missing" in said(capsys)
