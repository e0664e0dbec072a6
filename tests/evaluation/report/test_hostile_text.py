"""A page whose every text was written to break out of it is the page of harmless texts."""

import json
import re
from html.parser import HTMLParser

import pytest

from evaluation.answers.finished import write_evaluation
from evaluation.ask import answer_text
from evaluation.matrix_json import matrix_json
from evaluation.measures.gains import summarize_control
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.summary import summarize
from evaluation.report.protocol_markdown import protocol_markdown
from evaluation.report.summary_text import sample_completions
from evaluation.report.write import write_report
from process.tables.text import table_lines
from process.tables.value import Table, columns_of
from tests.evaluation.report.test_report import prediction, protocol, rollout_row, write_lines

HOSTILE = (
    "</script></style></pre></td><script>alert(1)</script><img src=http://evil.example/x.png>"
    "\" onload=\"alert(2)' onerror='x <a href='javascript:alert(3)'>y</a><!-- ]]> --> &#60;b&#62;"
    "\x1b[2J\x1b]0;taken\x07\x9b31m\r\u202eevil\u2066\u200b\ufeff\u2028 $\\frac{$ `x` | ![p](http://"
    "evil.example/p.png) [l](javascript:alert(4))\n\n[r]: http://evil.example\n# heading \ud800"
)
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e\u2066-\u2069\ufeff\ud800]")
KEPT = {"part", "choice", "lenient_choice", "answer", "control", "letter_probabilities"}
KEPT |= {
    "permutation",
    "modality",
    "question_type",
    "model",
    "test",
}  # which tell parts of a table apart


def poisoned(value, name=""):
    """A value of JSON whose every text is hostile, but those that are looked up."""
    if isinstance(value, str):
        return f"{HOSTILE} {value}"
    if isinstance(value, list | tuple):
        return [poisoned(item, name) for item in value]
    if isinstance(value, dict):
        return {key: item if key in KEPT else poisoned(item, key) for key, item in value.items()}
    return value


class Parts(HTMLParser):
    """What a page is made of, as a browser takes it: elements and their attributes, no texts."""

    SHOWN = ("alt",)  # attributes that are read

    def __init__(self, html):
        super().__init__()
        self.found, self.texts = set(), []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs or [("", "")]:
            if name in self.SHOWN:
                self.texts.append(value)
            shown = "" if name in self.SHOWN else re.sub(r"base64,.*|\d+%", "", value or "")
            self.found.add((tag, name, shown))

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        self.found.add(("comment", data, ""))

    def unknown_decl(self, data):
        self.found.add(("declaration", data, ""))


def evaluation_files(change):
    def asked(**fields):
        ids = [change({"id": f"row-{number}"}) for number in range(8)]
        return [prediction(number, **one, **fields) for number, one in enumerate(ids)]

    plain, turned = asked(), asked(permutation=(1, 0))
    blank = asked(correct=False, control="blank")
    summary = {
        **summarize(plain),
        "calibration": summarize_confidence(plain),
        "controls": {"blank": summarize_control(plain, blank, {"no other image": 3})},
        "permutations": summarize_permutations(plain, turned, 2),
        "thoughts": {"applicable": False, **change({"reason": "no thought is written"})},
        "evaluation": change({"model": "tiny", "mode": "think", "image_root": "x"}),
    }
    return summary, [*plain, *blank, *turned]


def write_run(folder, change):
    config = {"method": "grpo", "mode": "think", "model": "tiny", "device": "cpu", "dtype": "f"}
    config |= {"train_json": ["a.json"], "image_root": "images"}
    about = {"config": config, "total_steps": 3, "prompt_template": "{question}"}
    about |= {"versions": {"torch": "2"}, "checksums": {"a.json": "12"}}
    about["resumed"] = [{"from_step": 1, "changed": {"device": "cuda"}}]
    (folder / "run.json").write_text(json.dumps(change(about)))
    metric = "reward/accuracy" + change({"x": ""})["x"]
    write_lines(folder / "metrics.jsonl", [{"step": s, "reward": 0.5, metric: 0.5} for s in (1, 2)])
    rows = [rollout_row(s, 0, i, images=["a.png"]) for s in (1, 2) for i in (0, 1)]
    name = "accuracy" + change({"x": ""})["x"]
    rows = [{**change(row), "rewards": {name: 1.0}} for row in rows]
    write_lines(folder / "rollouts.jsonl", rows)
    (folder / "eval").mkdir()
    summary, _ = evaluation_files(change)
    summary["by_modality"] = {f"CT{change({'x': ''})['x']}": summary["overall"]}
    (folder / "eval" / "step-000001.json").write_text(json.dumps(summary))
    (folder / "checkpoints").mkdir()
    best = {"step": 0, "accuracy": 0.5, **change({"checkpoint": "step-1"})}
    (folder / "checkpoints" / "best.json").write_text(json.dumps(best))
    (folder / "profile").mkdir()
    table = change({"x": "a table"})["x"].encode("utf-8", "surrogatepass")
    (folder / "profile" / "table.txt").write_bytes(table)


def write_scores(folder, change):
    summary, rows = evaluation_files(change)
    folder.rmdir()
    changed = {"completion": "x", "question": "y", "options": ["one", "two"], "images": ["a.png"]}
    rows = [row.from_json({**row.to_json(), **change(changed)}) for row in rows]
    write_evaluation(folder, summary, rows)


def write_matrix(folder, change):
    names = [change({"x": name})["x"] for name in ("CT", "MRI")]
    entry = {"accuracy": 0.5, "n": 4, "low": 0.1, "high": 0.9, "chance": 0.25}
    matrix = matrix_json({(model, test): entry for model in names for test in names})
    described = {"model": "tiny", "method": "grpo", "step": 3, "mode": "think"}
    described = {"model": change({"x": "tiny"})["x"], **change(described)}
    matrix |= {"models": dict.fromkeys(names, described)}
    (folder / "matrix.json").write_text(json.dumps(matrix))


def write_protocol(folder, change):
    result = change(protocol())
    axis = result["axes"]["modality"]
    axis["methods"] = {f"{change({'x': ''})['x']}{name}": v for name, v in axis["methods"].items()}
    (folder / "protocol.json").write_text(json.dumps(result))


@pytest.mark.parametrize("write", [write_run, write_scores, write_matrix, write_protocol])
def test_hostile_texts_make_no_element_attribute_or_address_of_their_own(tmp_path, write):
    pages = []
    for place, change in (("clean", lambda value: value), ("hostile", poisoned)):
        (tmp_path / place).mkdir()
        write(tmp_path / place, change)
        report = write_report(tmp_path / place)
        content = report.path.read_bytes().decode("utf-8")
        assert not ACTS.search(content)
        pages.append(Parts(content))
    clean, hostile = pages
    assert hostile.found == clean.found
    texts = "\n".join(hostile.texts)
    assert texts.count("<script>alert(1)") >= 3 and r"\x1b[2J" in texts and r"\u202eevil" in texts
    assert not any("javascript:" in value or "http" in value for _, _, value in hostile.found
                   if value != "Content-Security-Policy")  # fmt: skip


def test_answers_are_printed_as_escapes_in_lines_of_their_own():
    fields = {"id": HOSTILE, "question": HOSTILE, "completion": HOSTILE, "images": (HOSTILE,)}
    asked = prediction(0, **fields, options=(HOSTILE, "a stone"))
    for text in (sample_completions([asked]), answer_text(asked)):
        assert not ACTS.search(text) and r"\x1b[2J" in text
    lines = answer_text(asked).split("\n")
    wrote = lines[lines.index("the model wrote:") + 1 : -2]
    assert all(line.startswith("  ") or not line for line in wrote)
    table = Table(columns_of(["", HOSTILE]), [[HOSTILE, "1"], ["b", "2"]])
    *head, first, second = table_lines(table)
    assert not ACTS.search("\n".join([*head, first])) and second.startswith("b ")


def test_the_browser_is_told_to_fetch_and_run_nothing(tmp_path):
    write_run(tmp_path, lambda value: value)
    found = Parts(write_report(tmp_path).path.read_text(encoding="utf-8")).found
    (policy,) = (value for _, name, value in found if name == "content" and "-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:" and "script-src" not in rules


def test_hostile_names_are_no_markup_in_protocol_md():
    page = protocol_markdown(poisoned(protocol()))
    clean = protocol_markdown(protocol())
    assert not ACTS.search(page)
    read = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", page)  # without what stands as code
    assert not re.search(r"[<`]|\]\(|\]:|\]\[", read)
    assert page.count("\n") == clean.count("\n")
    for line, one in zip(page.splitlines(), clean.splitlines(), strict=True):
        assert line[:1] == one[:1]  # headings, tables and code as before
        if one.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", one))
