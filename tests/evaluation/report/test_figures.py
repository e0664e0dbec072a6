"""Figures hold the numbers they were given: read back from the Figure, not from its pixels."""

import math
from functools import partial
from io import BytesIO
from random import Random

import pytest
from PIL import Image

from evaluation.measures.calibration import expected_calibration_error, reliability_bins
from evaluation.report.album import Album
from evaluation.report.figures.confidence import reliability_diagram, risk_coverage_curve
from evaluation.report.figures.curves import running_mean, smoothing_window, training_curves
from evaluation.report.figures.decay import decay_curve
from evaluation.report.figures.heatmap import contrast, heatmap
from evaluation.report.figures.shared import MatplotlibMissingError, to_png
from evaluation.report.matrix_page import cells_heatmap

pytest.importorskip("matplotlib", reason="the extra 'report'")

NAN = float("nan")


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title() == title]
    return found


def lines_of(axes):
    """Return the y values of each labelled line or row of points."""
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    points = {bars.get_label(): list(bars.lines[0].get_ydata()) for bars in axes.containers}
    return {**lines, **points}


def metrics(count, **more):
    return [
        {"step": step, "reward": step / 10, "reward/format": 1.0, "kl": None} | more
        for step in range(1, count + 1)
    ]


def entry(accuracy, n=10):
    return {"accuracy": accuracy, "n": n, "low": accuracy - 0.1, "high": accuracy + 0.1}


# heatmaps


def test_a_heatmap_shows_shares_in_per_cent_with_their_intervals():
    figure = heatmap(["CT"], ["CT", "MRI"], [[0.125, None]], intervals=[[(0.1, 0.2), None]])
    assert texts(figure) == ["12.5", "10–20", "–"]


def test_differences_show_their_sign_around_the_middle_of_the_colours():
    figure = heatmap(["a"], ["b", "c"], [[-0.05, 0.2]], scale=(-0.3, 0.3), signed=True)
    assert texts(figure) == ["-5.0", "+20.0"]
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-30.0, 30.0)
    assert min(image.to_rgba(0.0)[:3]) > 0.95


def test_the_scale_does_not_depend_on_the_values():
    low, high = (heatmap(["a"], ["b"], [[share]]).axes[0].images[0] for share in (0.1, 0.9))
    assert low.get_clim() == high.get_clim() == (0.0, 100.0)
    assert low.to_rgba(50.0) == high.to_rgba(50.0)


@pytest.mark.parametrize("signed", [False, True])
def test_the_text_of_every_cell_can_be_read(signed):
    from matplotlib.colors import to_rgb

    shares = [place / 50 for place in range(-50 if signed else 0, 51)]
    names = list(map(str, shares))
    scale = (-1.0, 1.0) if signed else (0.0, 1.0)
    figure = heatmap(["a"], names, [shares], scale=scale, signed=signed)
    axes = figure.axes[0]
    for share, text in zip(shares, axes.texts, strict=True):
        background = axes.images[0].to_rgba(100 * share)
        assert contrast(to_rgb(text.get_color()), background) >= 4.5, share


def test_contrast_is_that_of_the_standard():
    # WCAG's own example of a grey on white that just passes: #767676, 4.54
    assert contrast((0x76 / 255,) * 3, (1, 1, 1)) == pytest.approx(4.54, abs=0.005)


def test_the_diagonal_is_outlined():
    cells = {
        (model, test): entry(0.5) | {"part": "diagonal" if model == test else "off_diagonal"}
        for model in ("CT", "MRI")
        for test in ("CT", "MRI", "OCT")
    }
    frames = cells_heatmap(cells, "accuracy").axes[0].patches
    assert [round(f.get_x() + f.get_width() / 2, 6) for f in frames] == [0.0, 1.0]
    assert [round(f.get_y() + f.get_height() / 2, 6) for f in frames] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("rows", "columns", "values", "words"),
    [
        ([], ["a"], [], "0 rows and 1 columns has no cell"),
        (["a"], ["b"], [[0.1, 0.2]], "one cell per column"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(rows, columns, values, words):
    with pytest.raises(ValueError, match=words):
        heatmap(rows, columns, values)


# curves


def slow_mean(values, window):
    means = []
    for end in range(1, len(values) + 1):
        known = [v for v in values[max(0, end - window) : end] if not math.isnan(v)]
        means.append(math.fsum(known) / len(known) if known else NAN)
    return means


@pytest.mark.parametrize("window", [1, 2, 7, 100])
def test_smoothing_is_the_mean_of_the_last_values(window):
    draw = Random(window)
    values = [NAN if draw.random() < 0.3 else draw.uniform(-5, 5) for _ in range(60)]
    wanted = slow_mean(values, window)
    assert running_mean(values, window) == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_short_run_is_drawn_as_it_is():
    figure = training_curves(metrics(6), {})
    drawn = lines_of(panel(figure, "reward and its parts"))
    assert drawn["reward"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert drawn["format"] == [1.0] * 6
    assert figure.get_suptitle() == ""
    assert [axes.get_title() for axes in figure.axes] == ["reward and its parts"]  # no KL: null


def test_a_long_run_is_smoothed_and_says_so():
    assert smoothing_window(39) == 1 and smoothing_window(200) == 10
    figure = training_curves(metrics(200), {})
    pale, bold = panel(figure, "reward and its parts").lines[:2]
    assert "mean of the last 10 steps" in figure.get_suptitle()
    assert list(pale.get_ydata()) == [row["reward"] for row in metrics(200)]
    assert bold.get_ydata()[-1] == pytest.approx(sum(range(191, 201)) / 100)


def test_what_an_objective_logs_has_a_panel_where_it_is_on():
    plain = [axes.get_title() for axes in training_curves(metrics(3, clip_fraction=0.0), {}).axes]
    assert plain == ["reward and its parts"]  # one pass clips nothing
    own = {"dynamic/drawn_groups": 9, "dynamic/discarded_groups": 5, "dynamic/short": 0}
    own |= {"curriculum/pass_rate_mean": 0.5, "curriculum/unseen": 0.25, "clip_fraction": 0.1}
    own |= {"exact/answer_entropy": 1.2, "exact/mass_outside": 0.01}
    figure = training_curves(metrics(3, **own), {})
    assert lines_of(panel(figure, "dynamic sampling"))["drawn groups"] == [9, 9, 9]
    assert set(lines_of(panel(figure, "curriculum: rows of the data"))) == {
        "pass rate mean",
        "unseen",
    }
    for title in ("clipped tokens", "exact gradient: entropy of the answer"):
        assert panel(figure, title)


def test_held_out_accuracy_stands_beside_the_blank_control_with_intervals():
    evaluations = {
        step: {
            "overall": entry(accuracy) | {"chance": 0.25},
            "blank": {"overall": entry(0.2)},
            "visual_gain": {"gain": accuracy - 0.2, "low": None, "high": None},
        }
        for step, accuracy in ((0, 0.3), (4, 0.75))
    }
    figure = training_curves([], evaluations)
    axes = panel(figure, "held-out, greedy, 95 % intervals (n = 10)")
    drawn = lines_of(axes)
    assert drawn["accuracy"] == pytest.approx([30.0, 75.0])
    assert drawn["images blank"] == pytest.approx([20.0, 20.0])
    assert drawn["chance"][0] == 25.0
    (bars,) = axes.containers[0].lines[2]
    assert bars.get_segments()[1][:, 1] == pytest.approx([65.0, 85.0])
    gain = lines_of(panel(figure, "visual gain: accuracy minus images blank"))
    assert gain["gain"] == pytest.approx([10.0, 55.0])


def test_a_decay_curve_goes_from_the_own_image_to_the_largest_radius():
    radii, shares = (0.0, 4.0, 64.0), (0.7, 0.5, 0.25)
    points = [
        {"radius": radius, **entry(share), "chance": 0.25}
        for radius, share in zip(radii, shares, strict=True)
    ]
    (axes,) = decay_curve(points, entry(0.2)).axes
    drawn = lines_of(axes)
    assert drawn["images blank"][0] == pytest.approx(20.0)
    assert drawn["chance"][0] == pytest.approx(25.0)
    line, _, (bars,) = axes.containers[0].lines
    assert line.get_xydata().tolist() == [[0.0, 70.0], [4.0, 50.0], [64.0, 25.0]]
    assert bars.get_segments()[1][:, 1] == pytest.approx([40.0, 60.0])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["own", "4", "64"]
    places = axes.transData.transform([(radius, 0) for radius in radii])[:, 0]
    left, right = axes.transAxes.transform([(0, 0), (1, 0)])[:, 0]
    assert left < places[0] < places[1] < places[2] < right


def test_a_decay_curve_without_blank_images_or_chance_has_one_line():
    points = [{"radius": radius, **entry(0.5), "chance": None} for radius in (0.0, 0.5)]
    (axes,) = decay_curve(points, None).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["accuracy"]


def test_no_gain_at_all_looks_like_none():
    gain = {"gain": 0.0, "low": 0.0, "high": 0.0}
    evaluation = {"overall": entry(0.3) | {"chance": 0.25}, "visual_gain": gain}
    axes = panel(training_curves([], {0: evaluation}), "visual gain: accuracy minus images blank")
    assert axes.get_ylim() == (-5, 5)


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="eval/ are empty"):
        training_curves([], {})


# confidence


def test_a_reliability_diagram_holds_its_bins_and_counts():
    confidences, correct = [0.95, 0.95, 0.9, 0.1], [True, False, True, False]
    bins = [vars(one) for one in reliability_bins(confidences, correct, num_bins=10)]
    error = expected_calibration_error(confidences, correct, num_bins=10)
    upper, lower = reliability_diagram(bins, error=error).axes
    (points,) = upper.containers
    assert points.lines[0].get_xdata() == pytest.approx([0.1, 0.9, 0.95])
    assert list(points.lines[0].get_ydata()) == [0.0, 1.0, 0.5]
    assert [bar.get_height() for bar in lower.patches] == [1, 1, 2]
    assert [text.get_text() for text in lower.texts] == ["1", "1", "2"]
    assert upper.get_xlim() == upper.get_ylim() == (-0.02, 1.02)  # points at 0 and 1 are whole
    assert f"{100 * error:.1f} points, n = 4" in upper.get_title()


def test_a_diagram_of_no_answers_is_an_error():
    with pytest.raises(ValueError, match="no answers"):
        reliability_diagram([{"n": 0}], error=0.0)


def test_a_risk_coverage_curve_holds_risks_in_per_cent():
    axes = risk_coverage_curve([0.9, 0.8, 0.3], [True, False, False]).axes[0]
    curve = axes.lines[0]
    assert curve.get_xdata() == pytest.approx([100 / 3, 200 / 3, 100])
    assert curve.get_ydata() == pytest.approx([0, 50, 200 / 3])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["the surest answers", "all answers: 66.7 % wrong"]


# files


def test_a_figure_is_the_same_file_each_time():
    one, other = (to_png(heatmap(["a"], ["b"], [[0.5]])) for _ in range(2))
    assert one == other and one.startswith(b"\x89PNG")


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MatplotlibMissingError, match="pip install matplotlib"):
        heatmap(["a"], ["b"], [[0.5]])


# names that others gave


def test_a_name_is_no_mathematics_and_no_longer_than_can_be_read(tmp_path):
    album = Album(tmp_path)
    for name in (r"$\frac{$", "\x1b[2J\n" * 9, "x" * 100_000):
        html = album.add("it", lambda name=name: heatmap([name], [name], [[0.5]], title=name), "it")
        assert "<img" in html
        with Image.open(BytesIO(album.figures["it"])) as picture:
            assert max(picture.size) < 2000


def test_a_heatmap_of_more_cells_than_can_be_looked_at_is_a_line(tmp_path):
    names = [str(number) for number in range(51)]
    draw = partial(heatmap, names, names, [[0.5] * 51] * 51)
    album = Album(tmp_path)
    html = album.add("it", draw, "it")
    assert "A figure is not drawn: 51 rows and 51 columns are too many." in html
    assert album.figures == {}


def test_a_run_whose_answers_were_compared_with_blank_images_has_a_panel_of_what_changes():
    entry = {"accuracy": 0.5, "n": 4, "low": 0.2, "high": 0.8, "chance": None}
    changes = {"share": 0.25, "low": None, "high": None}
    evaluations = {
        step: {"overall": entry, "image_sensitivity": {"blank": changes}} for step in (0, 2)
    }
    titles = [axes.get_title() for axes in training_curves([], evaluations).axes]
    assert any(title.startswith("image sensitivity") for title in titles)
    before = {step: {"overall": entry} for step in (0, 2)}
    (heldout,) = training_curves([], before).axes
    assert "chance" not in [text.get_text() for text in heldout.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("more", "unit"),
    [({}, "nats per token"), ({"exact/mass_outside": 0.1}, "nats per question")],
)
def test_the_kl_is_drawn_as_one_to_the_reference_in_its_unit(more, unit):
    figure = training_curves([{"step": 1, "reward": 1.0, "kl": 0.1, **more}], {})
    assert panel(figure, "KL to the reference").get_ylabel() == unit
