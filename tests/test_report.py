"""The report: whole, escaped, small, and rendered without Panel."""

import base64
import json
import math
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import synthetic
import xarray as xr
from bokeh.models import Range1d
from explained import explains
from synthetic import at, retold

import modecomb_viz as mc
from modecomb_viz.cli import app
from modecomb_viz.report import SIZE_BUDGET, render
from modecomb_viz.report.claims import findings_of
from modecomb_viz.report.controls import axes_of, choices_of, controls_of, picture_frames, start_of
from modecomb_viz.report.frames import Pool
from modecomb_viz.report.page import PICTURES, pictures_of
from modecomb_viz.report.picture import Table
from modecomb_viz.report.points import curves_of
from modecomb_viz.report.recipes import recipe_table, told_apart
from modecomb_viz.sweep import last_dataset, make_sweep


def sections(html):
    """Names and headings of the sections of a page."""
    return re.findall(r'<section id="([\w-]+)"[^>]*>\s*<h3>(.*?)</h3>', html)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return mc.save_report(synthetic.all_sweeps(), path, title='A <b>bold</b> "title"').read_text()


def test_pictures_of_all_sweeps_and_their_recipes_are_there(html):
    names = ["map", "segment", "distribution", "laws", "layers", "points", "search", "cut", "inspection"]
    names += ["transitivity", "perturbation", "similarity"]
    assert [name for name, _ in sections(html)] == names
    assert html.count("<summary>Recipe of") == 13
    assert html.count("<summary>Table of the numbers") == 9
    assert html.count('<p class="sentence">') == 13, "one more of the inspector"
    assert html.count("its slider does not move it") == 2
    for sweep in PICTURES:
        assert f"mc.sweep_{sweep}(" in html
    assert "mc.open_modes(&#39;synthetic &lt;i&gt;&#39;)" in html


def test_every_picture_says_numbers_and_has_a_frame_for_every_choice():
    datasets = synthetic.all_sweeps()
    choices = choices_of(datasets)
    assert choices == ([0.0, 0.5, 1.0], ["loss", "accuracy"], ["test", "train"])
    said = {}
    for picture in pictures_of(datasets):
        frames = picture_frames(picture, choices)
        assert len(frames) == (12 if picture.follows else 4)
        assert len({tuple((p.model.id, p.name) for p in frame.properties) for frame in frames}) == 1
        texts = [p.value for frame in frames for p in frame.properties if p.model is picture.numbers]
        assert len(texts) == len(frames)
        said[picture.name] = texts[0]
        for frame in frames:
            picture.figure.apply(frame)
    assert said["transitivity"].startswith(
        "D2 barrier, mean over pairs: naive 1 · direct 0.02 · through a third network"
    )
    assert said["transitivity"].endswith("costs 0.03 more and keeps 97% of what alignment gains")
    assert said["similarity"].startswith("disagreement with A: draws 0.65 (0.5 to 0.8) · networks trained apart")
    assert said["layers"].startswith("largest changes by a swap: block.7.conv +0.8 · block.6.conv +0.7")
    assert said["points"] == "lowest loss: midpoint 0.4 · highest loss: worst 1.3 · A 0.1, π(B) 0.3"
    assert said["search"].startswith("loss 0.1 after 10 steps, 0.5 at the midpoint · ")
    assert said["search"].endswith(" −0.2 over the worse of A and B")
    assert said["laws"].startswith(
        "10 of 15 laws have a mean excess of at most 0.1 nat · the highest, 0.18 nats, at mean 0"
    )


def test_tables_tell_the_points_and_what_a_search_found():
    datasets = [at(synthetic.points(2)), at(synthetic.search("unit"))]
    tables = {picture.name: picture.shown((0.0, "loss", "test")).table() for picture in pictures_of(datasets)}
    assert tables["points"].rows[1] == ("π(B)", "0.3", "0", "0.111", "0.5", "", "")
    assert tables["points"].rows[-1] == ("worst", "1.1", "+0.8", "1", "0.1", "3", "0.4")
    assert tables["search"].head == ("layer", "mean coefficient", "range", "coefficients")
    assert tables["search"].rows[-1] == ("block.3.conv", "1", "0.9 to 1.1", "3")
    (picture,) = pictures_of([at(synthetic.search())])
    assert picture.shown((0.0, "loss", "test")).table().rows[0] == ("block.0.conv", "0")


def test_tables_have_intervals():
    datasets = [at(synthetic.laws()), at(synthetic.samples()), at(synthetic.transitivity())]
    tables = {picture.name: picture.shown((0.0, "loss", "test")).table() for picture in pictures_of(datasets)}
    assert tables["laws"].head[3] == "95 % over draws"
    low, high = map(float, tables["laws"].rows[-1][3].split(" to "))
    assert low < float(tables["laws"].rows[-1][2]) == 0.18 < high
    assert tables["distribution"].head == ("excess loss over the worse end", "nats", "95 % over draws")
    assert [row[0] for row in tables["distribution"].rows][:2] == ["mean", "5% quantile"]
    assert ("direct", "0.02 (0.02 to 0.02)", "0.0%", "3") in tables["transitivity"].rows


def test_draws_and_single_groups_under_a_perturbed_matching():
    dataset = synthetic.perturbation_of_draws(repeats=5)
    midpoint = retold(synthetic.perturbation(), distribution="constant", parameters={"value": 0.5})
    html = render([dataset, midpoint], "robust")
    assert sections(html) == [
        ("perturbation", "The draws under a perturbed matching: bernoulli, p 0.5"),
        ("perturbation-2", "The midpoint under a perturbed matching: constant, value 0.5"),
    ]
    assert "the draws (mean of 4, bernoulli, p 0.5) against the strength" in html
    assert "<b>fc1" not in html
    picture = next(pictures_of([dataset]))
    shown = picture.shown((0.5, "loss", "test"))
    assert shown.numbers.startswith("at strength 0.5: mean 0.85 · 50% of the units moved")
    assert ("fc2 alone", "tolerated: strength 0.167 (95 % 0.145 to 0.196)", "", "") in shown.table().rows
    calm = dataset.assign(loss=0 * dataset.loss + 0.1)
    assert next(pictures_of([calm])).shown((0.5, "loss", "test")).numbers.endswith("tolerated: all strengths")


def test_laws_of_one_deviation_are_reported_as_a_curve():
    html = render([at(synthetic.laws("bernoulli")), at(synthetic.laws("beta"))], "laws")
    assert sections(html) == [
        ("laws", "Combinability of a family of laws: bernoulli"),
        ("laws-2", "Combinability of a family of laws: beta"),
    ]
    assert html.count("The curve goes over the means") == 1
    assert html.count("Every cell is one law") == 1


def test_nothing_reaches_the_page_unescaped(html):
    assert "A &lt;b&gt;bold&lt;/b&gt; &#34;title&#34;" in html
    assert "<b>bold" not in html
    assert "synthetic <i>" not in html


def test_names_from_a_file_are_text():
    evil = "</script><img src=x onerror=alert(1)>"
    layers = at(synthetic.layers(3)).assign_coords(layer=[evil, "b", "c"])
    transitivity = at(synthetic.transitivity()).assign_coords(pair=[evil, "A–C", "B–C"])
    similarity = synthetic.similarity()
    names = [evil if name == "C" else name for name in similarity.model.values.tolist()]
    similarity = similarity.assign_coords(model=names, other=names)
    laws = retold(at(synthetic.laws("bernoulli")), granularity=evil, modes=evil)
    html = render([layers, transitivity, similarity, laws, retold(laws, modes="other")], "names")
    assert "<img src=x" not in html
    assert "</script><img" not in html
    assert len(sections(html)) == 5
    assert Table(("<i>",), [(evil,)]).html() == (
        "<table><thead><tr><th>&lt;i&gt;</th></tr></thead><tbody>"
        "<tr><td>&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;</td></tr></tbody></table>"
    )


def test_it_loads_nothing(html):
    loaded = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            loaded.extend(value for name, value in attributes if name in ("src", "href"))

    Tags().feed(html)
    assert loaded == []


@pytest.mark.slow
def test_a_realistic_report_keeps_the_budget(tmp_path):
    strengths = np.linspace(0, 1, 11)
    datasets = [synthetic.plane(33), synthetic.segment("identity"), synthetic.segment(), synthetic.samples(64)]
    datasets += [synthetic.laws(), synthetic.layers(22), synthetic.transitivity(), synthetic.similarity(16)]
    grown = [
        d.interp(strength=strengths, kwargs={"fill_value": "extrapolate"}) if "strength" in d.dims else d
        for d in datasets
    ]
    path = mc.save_report([*grown, synthetic.perturbation(5)], tmp_path / "report.html")
    least = len(render([synthetic.segment("identity")], "x").encode()) + 8 * 11 * 33**2
    assert least < path.stat().st_size <= SIZE_BUDGET


def test_it_is_rendered_elsewhere_when_panel_is_loaded(tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[2])
import panel, synthetic, modecomb_viz as mc
mc.save_report(synthetic.everything(), sys.argv[1], title="beside panel")
"""
    path = tmp_path / "report.html"
    command = [sys.executable, "-W", "error", "-c", code, str(path), str(synthetic.__file__.rpartition("/")[0])]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "beside panel" in path.read_text()
    assert "panel.min.js" not in path.read_text()


def test_any_subset_will_do():
    alone = render([synthetic.segment("identity")], "one")
    assert sections(alone) == [("segment", "Segment from A to B")]


def test_results_of_one_sweep_are_all_drawn_and_told_apart():
    two_maps = render([synthetic.plane(5), synthetic.plane(9)], "two")
    assert sections(two_maps) == [("map", "Loss map: resolution 5"), ("map-2", "Loss map: resolution 9")]
    samples, other = synthetic.samples(), retold(synthetic.samples(), distribution="normal", parameters={"mean": 0.5})
    assert [heading for _, heading in sections(render([samples, other], "two"))] == [
        "Distribution over draws: bernoulli, p 0.5",
        "Distribution over draws: normal, mean 0.5",
    ]
    layers = [synthetic.layers(3), retold(synthetic.layers(4), modes="another set")]
    html = render(layers, "two")
    assert [heading for _, heading in sections(html)] == [
        "Which layers matter: synthetic &lt;i&gt;",
        "Which layers matter: another set",
    ]
    assert "Recipe of layers: another set" in html


def test_results_that_differ_in_law_and_granularity_alone_are_one_picture():
    datasets = synthetic.families()
    choices = choices_of(datasets)
    plane, draws = pictures_of(datasets)
    assert [(len(p.members), p.family.laws, p.family.granularities) for p in (plane, draws)] == [
        (2, (), ("unit", "weight")), (6, ({"p": 0.1}, {"p": 0.5}, {"p": 0.9}), ("unit", "weight")),
    ]  # fmt: skip
    settings = [mc.recipe(member.datasets[0]) for member in draws.members]
    assert [(one["parameters"]["p"], one["granularity"]) for one in settings] == [
        (0.1, "unit"), (0.1, "weight"), (0.5, "unit"), (0.5, "weight"), (0.9, "unit"), (0.9, "weight"),
    ]  # fmt: skip
    assert draws is draws.members[2], "the law in the middle and units come first"
    axes = axes_of(draws, choices)
    assert [(axis.label, axis.entries) for axis in axes[:2]] == [
        ("Bernoulli law, p", ("0.1", "0.5", "0.9")), ("granularity", ("unit", "weight")),
    ]  # fmt: skip
    frames = picture_frames(draws, choices)
    assert len(frames) == 6 * 3 * 2 * 2
    (numbers,) = (p.value for p in frames[start_of(axes)].properties if p.model is draws.numbers)
    assert numbers == draws.shown((0.0, "loss", "test")).numbers
    controls = controls_of([plane, draws], choices)
    assert [control.label for control in controls] == [
        "Perturbation strength", "quantity", "split", "granularity", "Bernoulli law, p",
    ]  # fmt: skip
    html = render(datasets, "families")
    assert sections(html) == [("map", "Loss map"), ("distribution", "Distribution over draws")]
    assert "Moves with: perturbation strength, granularity." in html
    assert "Moves with: perturbation strength, Bernoulli law, granularity." in html


def test_results_that_fill_no_grid_are_told_apart():
    draws = synthetic.families()[:6]
    of_units, one_of_weights = draws[:3], draws[3]
    pictures = list(pictures_of([*of_units, one_of_weights]))
    assert [len(picture.members) for picture in pictures] == [3, 1]
    assert [heading for _, heading in sections(render([*of_units, one_of_weights], "x"))] == [
        "Distribution over draws: granularity unit", "Distribution over draws: granularity weight",
    ]  # fmt: skip
    assert [len(picture.members) for picture in pictures_of([of_units[0], of_units[0]])] == [1, 1]
    other = of_units[1].assign_attrs(modes_hash='{"A": "other"}')
    assert [len(picture.members) for picture in pictures_of([of_units[0], other])] == [1, 1]


def test_the_pool_holds_a_value_once_and_loses_none():
    pool, model = Pool(), Range1d()
    values = [1.5, "a</script>", [1.5, math.nan], {0.5: "x"}, np.float32([1, 2]), np.zeros((2, 3)), model, math.inf]
    places = [pool.place(value) for value in [*values, *values]]
    assert places == [*range(len(values))] * 2
    assert pool.models == {model.id: model}
    told = json.loads(pool.text())
    assert told[:4] == [1.5, "a</script>", [1.5, {"$number": "NaN"}], {"$map": [[0.5, "x"]]}]
    assert told[6:] == [{"$model": model.id}, {"$number": "Infinity"}]
    assert np.frombuffer(base64.b64decode(told[4]["data"]), "<f4").tolist() == [1, 2]
    assert "</script>" not in pool.text()


def test_findings_say_what_the_numbers_say():
    found = {one.claim: one for one in findings_of(synthetic.all_sweeps(), "test")}
    assert list(found) == ["Combinability", "Transitivity", "Robustness", "Non-vacuity"]
    assert {claim: one.verdict for claim, one in found.items()} == {
        "Combinability": "holds", "Transitivity": "holds", "Robustness": "does not hold", "Non-vacuity": "holds",
    }  # fmt: skip
    low = mc.summary(at(synthetic.samples())).low_loss_share.sel(split="test").item()
    assert f"{low:.0%} (95 % interval" in found["Combinability"].sentence
    assert found["Combinability"].numbers["naive barrier"] == "1 nats"
    assert found["Transitivity"].numbers == {"gain kept through a third": "97%"}
    assert "a diversity" not in found["Non-vacuity"].sentence
    of_train = {one.claim: one for one in findings_of(synthetic.all_sweeps(), "train")}
    assert "a train loss within" in of_train["Combinability"].sentence
    (segments,) = findings_of([synthetic.segment("identity")], "test")
    assert (segments.verdict, segments.rule) == ("", "")
    assert segments.sentence == "The naive barrier D2 from A to B is 1 nats."
    families = {one.claim: one for one in findings_of(synthetic.families(), "test")}["Combinability"]
    assert families.verdict == "does not hold"
    assert "The rule holds for 0 of 6 laws" in families.sentence
    assert "Of the law with the fewest, 0% (95 % interval" in families.sentence
    assert families.where == "test data, perturbation strength 0"
    assert found["Robustness"].where == "test data, perturbation strength 0 to 1"


def test_findings_of_what_is_no_number_say_so():
    lost = [
        dataset.assign(loss=dataset.loss * math.nan) for dataset in (synthetic.transitivity(), *synthetic.everything())
    ]
    similarity = synthetic.similarity()
    gone = {name: similarity[name] * math.nan for name in ("accuracy", "disagreement")}
    findings = findings_of([*lost, similarity.assign(gone)], "test")
    assert [one.verdict for one in findings] == ["does not hold"] * 4
    for one in findings:
        assert not re.search(r"\bnan\b", one.sentence)
        assert "not a number" in f"{one.sentence} {one.numbers}", one


def test_a_page_says_its_size(tmp_path):
    small = render([synthetic.segment()], "x", 10**8)
    large = render([synthetic.segment()], "x", 1000)
    assert re.search(r"It has \d\.\d MB\.</footer>", small)
    assert re.search(r"It has \d\.\d MB, more than the 0\.001 MB of a standard report: fewer", large)


def test_what_tells_results_apart():
    one = synthetic.layers(3)
    assert told_apart([one]) == [""]
    assert told_apart([one, one]) == ["result 1", "result 2"]
    assert told_apart([one, retold(one, new=True)]) == ["result 1", "result 2"]
    one = retold(one, seed=0).assign_attrs(modes_hash='{"A": "0"}')
    assert told_apart([one, retold(one, seed=1)]) == ["seed 0", "seed 1"]
    assert told_apart([one, retold(one, seed=1, base=0.5)]) == ["base 0", "base 0.5"]
    again = one.assign_attrs(modes_hash='{"A": "1"}')
    assert told_apart([one, again]) == ["modes hash A 0", "modes hash A 1"]
    assert told_apart([one, again, retold(again, base=1.0)]) == [
        "base 0, modes hash A 0", "base 0, modes hash A 1", "base 1, modes hash A 1",
    ]  # fmt: skip


def test_segments_share_a_picture_where_they_join_the_same_networks():
    naive, aligned = synthetic.segment("identity"), synthetic.segment()
    other = retold(aligned, alignment="activation_matching")
    another = [retold(dataset, modes="another set") for dataset in (naive, aligned)]
    groups = [picture.datasets for picture in pictures_of([naive, aligned, other, *another])]
    assert [[mc.recipe(d)["alignment"] for d in group] for group in groups] == [
        ["weight_matching", "identity"], ["activation_matching", "identity"], ["weight_matching", "identity"],
    ]  # fmt: skip
    assert [mc.recipe(group[-1])["modes"] for group in groups] == ["synthetic <i>", "synthetic <i>", "another set"]
    assert [len(picture.datasets) for picture in pictures_of([naive, naive])] == [1, 1]
    strengths = [aligned.sel(strength=s) for s in (0.0, 0.5)]
    assert [len(picture.datasets) for picture in pictures_of([*strengths, naive])] == [3]


def test_a_sweep_without_a_picture_is_explained():
    with explains("no picture of the result of sweep_dance", "plane, segment, samples"):
        render([retold(synthetic.segment(), sweep="dance")], "unknown")


def test_real_results_with_points_that_are_no_numbers(batchnorm):
    html = render([mc.sweep_plane(batchnorm, "three_modes", resolution=5, margin=0.5)], "BatchNorm")
    assert "points are not finite" in html


def test_bad_input_is_explained(tmp_path):
    good = synthetic.segment()
    with explains("datasets is empty", "at least one"):
        mc.save_report([], tmp_path / "x.html")
    with explains("must end in '.html'", "x.pdf"):
        mc.save_report([good], tmp_path / "x.pdf")
    with explains("cannot write '/proc/x.html'", "Choose a folder"):
        mc.save_report([good], "/proc/x.html")
    with explains("no 'recipe' attribute"):
        mc.save_report([xr.Dataset()], tmp_path / "x.html")
    with explains("no split in common", "test; train"):
        mc.save_report([good.sel(split=["test"]), synthetic.plane().sel(split=["train"])], tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_the_first_picture_has_the_axes_of_all_strengths():
    datasets = synthetic.all_sweeps()
    choices = choices_of(datasets)
    for picture in pictures_of(datasets):
        frames = picture_frames(picture, choices)
        ranges = [
            [(p.model.id, p.name, p.value) for p in frame.properties if isinstance(p.model, Range1d)]
            for frame in frames[:: len(choices[1]) * len(choices[2])]
        ]
        assert all(found == ranges[0] for found in ranges), picture.name


def test_segments_are_named_by_their_strength():
    many = synthetic.segment()
    one = many.sel(strength=0.5)
    assert set(curves_of(synthetic.segment("identity"), 0.5)) == {"naive"}
    assert set(curves_of(many, 0.0)) == {"aligned"}
    assert set(curves_of(many, 0.5)) == {"aligned", "perturbed"}
    assert set(curves_of(many.sel(strength=[0.5, 1.0]), 0.5)) == {"perturbed"}
    assert set(curves_of(one, 0.0)) == {"perturbed"}
    assert set(curves_of(many.sel(strength=0.0), 0.0)) == {"aligned"}


def test_strengths_that_differ_are_explained():
    with explains("different perturbation strengths", "plane 0, 0.5, 1", "samples 0, 1", "same strength="):
        render([synthetic.plane(5), synthetic.samples().sel(strength=[0.0, 1.0])], "mixed")
    with explains("plane 0, 0.5, 1; plane 0, 1"):
        render([synthetic.plane(5), synthetic.plane(5).sel(strength=[0.0, 1.0])], "mixed")


SETTINGS = {
    "plane": {"resolution": 3, "z": ["linear1"], "parameters": {"p": 0.3}, "strength": [0.0, 0.5]},
    "segment": {"points": 3, "start": -0.5, "alignment": "identity", "max_memory": 10**9},
    "samples": {
        "n": 2,
        "distribution": "normal",
        "parameters": {"std": 0.1, "clip": 1.0},
        "splits": ["train", "test"],
        "examples": True,
    },
    "perturbation": {"strength": [0.0, 1.0], "repeats": 1, "perturbation": "noise", "per_group": True},
    "layers": {"points": 2, "base": 0.5},
    "laws": {"means": (-0.25, 0.5), "deviations": (0.0, 0.5), "n": 2, "granularity": "layer"},
    "similarity": {"n": 2, "layer": "fc2"},
}


@pytest.mark.parametrize("sweep", list(SETTINGS))
def test_python_and_command_line_compute_the_recipe_again(sweep, tmp_path):
    modes = mc.open_modes("digits-mlp")
    # to the bit, so cut by no measurement
    settings = {**SETTINGS[sweep], "plan": {"strategy": "loop", "examples": 90, "block": 2}}
    if "z" in settings:
        settings = {**settings, "z": list(modes.spec.layer_names[:1])}
    dataset = last_dataset(make_sweep(sweep, settings).steps(modes))
    table = recipe_table(dataset)
    code = table["code"].replace("mc.sweep", "again = mc.sweep")
    scope = {}
    exec(code, scope)
    words = shlex.split(table["command"])
    out = tmp_path / words[words.index("--out") + 1]
    words[words.index("--out") + 1] = str(out)
    app(words[1:], standalone_mode=False)
    for again in (scope["again"], mc.open(out)):
        assert mc.recipe(again) == mc.recipe(dataset)
        xr.testing.assert_equal(again.loss, dataset.loss)
