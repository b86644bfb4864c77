"""Training again from a committed recipe finds the same networks."""

from dataclasses import replace

import pytest
import torch
from explained import explains

import modecomb_viz as mc
from modecomb_viz.architectures import params_of
from modecomb_viz.checkpoints import catalogue, mode_metadata, read_recipe
from modecomb_viz.training import cautions, measure, train_mode, train_modes


def test_an_embedded_mode_is_trained_again():
    """Within 4 of 360 test images: threads and processors round differently, and training amplifies that."""
    folder = catalogue()["digits-convnet"]
    recipe, splits = read_recipe(folder / "recipe.toml"), mc.load_dataset("digits")
    measured = measure(train_mode(recipe, recipe.seeds["A"], splits["train"]), splits)
    stated = mode_metadata(folder / "A.safetensors").values
    assert measured["test_accuracy"] == pytest.approx(stated["test_accuracy"], abs=4 / 360)
    assert measured["train_accuracy"] == pytest.approx(stated["train_accuracy"], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(catalogue()))
def test_every_embedded_set_is_trained_again(name, tmp_path):
    written = train_modes(catalogue()[name] / "recipe.toml", out=tmp_path)
    for mode, measured in written.items():
        stated = mode_metadata(catalogue()[name] / f"{mode}.safetensors").values
        assert measured["test_accuracy"] == pytest.approx(stated["test_accuracy"], abs=5 / 360)
    assert list(mc.open_modes(tmp_path).params) == list(written)


def test_the_recipe_is_looked_at_for_what_speaks_against_alignment(digits):
    assert cautions(digits) == ["Nothing in the recipe speaks against alignment."]

    def said(**training):
        recipe = replace(digits.recipe, training={**digits.recipe.training, **training})
        return " ".join(cautions(replace(digits, recipe=recipe)))

    assert "learning rate 0.001 is low for sgd" in said(learning_rate=0.001)
    assert "learning rate 0.02 is high for adam" in said(learning_rate=0.02, optimizer="adam")
    assert "without weight decay" in said(weight_decay=0.0)
    assert "same seed" in " ".join(cautions(replace(digits, recipe=replace(digits.recipe, seeds={"A": 1, "B": 1}))))
    assert "not recorded" in " ".join(cautions(replace(digits, recipe=None)))


@pytest.fixture
def short():
    recipe = read_recipe(catalogue()["digits-mlp"] / "recipe.toml")
    return replace(
        recipe,
        architecture={"name": "mlp", "widths": [64, 32, 10]},
        training={**recipe.training, "epochs": 12},
    )


def test_a_seed_gives_the_same_weights_and_touches_nothing_else(short):
    train, rng = mc.load_dataset("digits")["train"], torch.get_rng_state()
    first, second, other = (params_of(train_mode(short, seed, train)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["fc1.weight"], other["fc1.weight"])
    assert torch.equal(rng, torch.get_rng_state())


def test_training_lowers_the_loss_and_reports_every_step(short):
    splits, reports = mc.load_dataset("digits"), []
    model = train_mode(short, 0, splits["train"], on_step=lambda done, total: reports.append((done, total)))
    assert reports == [(i, 264) for i in range(1, 265)]
    assert measure(model, splits)["train_loss"] < 1.0 < measure(short.build(0), splits)["train_loss"]
    assert not model.training


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"optimizer": "lion"}, ["optimizer", "sgd, adam, adamw", "'lion'"]),
        ({"epochs": 0}, ["epochs and batch_size must be ≥ 1", "0"]),
        ({"batch_size": 10_000}, ["batch_size = 10000", "1437"]),
        ({"lr": 0.1}, ["[training] has", "lr", "learning_rate"]),
    ],
)
def test_bad_recipes_are_explained(short, training, words):
    with explains(*words):
        train_mode(replace(short, training={**short.training, **training}), 0, mc.load_dataset("digits")["train"])
