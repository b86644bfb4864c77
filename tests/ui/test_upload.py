"""Networks of one's own through a real browser."""

import re

import pytest

from modecomb_viz.checkpoints import catalogue

#: What is said in the section, and in an alert that asks for attention.
SAID = "deep(document, '.MuiAlert-message').some((e) => e.textContent.includes(arg))"


@pytest.fixture
def section(explorer_server, page, deep):
    """The page Modes with the section open, and its server."""
    page.goto(f"{explorer_server.url}?page=Modes&resolution=9&draws=8")
    deep.wait_until_complete(1)
    page.get_by_role("button", name="Your own networks").click()
    page.get_by_label("Options, NAME=VALUE").fill("widths=[64, 512, 512, 10]")
    return explorer_server


def send(page, mode, path):
    """Choose a file, and wait until all of it is sent; what is pressed then comes after it."""
    page.locator("input[type=file]").nth("ABC".index(mode)).set_input_files(path)
    page.get_by_text(f"{mode}: {path.name}").wait_for()


def open_them(page):
    page.get_by_role("button", name="Open", exact=True).click()


def test_two_files_become_networks_of_this_page(section, page, deep, complaints):
    folder = catalogue()["digits-mlp"]
    send(page, "A", folder / "A.safetensors")
    open_them(page)
    deep.wait(SAID, "at least two checkpoints")
    assert deep.texts("[role=combobox]")[0] == "digits-mlp"
    send(page, "B", folder / "C.safetensors")
    open_them(page)
    deep.wait(SAID, "is open: A is A.safetensors, B is C.safetensors.")
    deep.wait("deep(document, '[role=combobox]')[0].textContent.startsWith('uploaded-')")
    deep.wait_until_complete(1)
    name = deep.texts("[role=combobox]")[0]
    assert name in deep.texts("td")
    page.get_by_role("tab", name="Slice").click()
    deep.wait_until_complete(2)
    assert re.match(r"81 of 81 points · lowest 0\.\d+", deep.texts(".numbers")[0])
    page.wait_for_url(f"**modes_name={name}**")
    page.reload()
    deep.wait(SAID, f"'{name}' were networks that a browser sent")
    assert complaints == []
    assert section.troubles() == []


@pytest.mark.slow
def test_files_that_do_not_fit_are_said_in_full(section, page, deep, tmp_path):
    large = tmp_path / "large.pt"
    with large.open("wb") as file:
        file.truncate(2**28 + 1)
    page.locator("input[type=file]").first.set_input_files(large)
    deep.wait(SAID, "exceeds maximum file size of 256 MB")
    send(page, "A", catalogue()["digits-mlp"] / "A.safetensors")
    send(page, "B", catalogue()["digits-convnet"] / "B.safetensors")
    open_them(page)
    deep.wait(SAID, "'B.safetensors' is missing 'fc1.bias'")
    assert deep.texts("[role=combobox]")[0] == "digits-mlp"
    assert section.troubles() == []
