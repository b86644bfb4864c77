"""The explorer in a real JupyterLab: a notebook that the test writes is run in the browser."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from typing import NamedTuple

import nbformat
import pytest

#: How a notebook may begin: with nothing, with Panel loaded, with what VS Code and Colab talk through.
SETUPS = {
    "plain": [],
    "inline": ["import panel as pn\npn.extension(inline=True)"],
    "ipywidgets": ["import panel as pn\npn.extension(comms='ipywidgets', inline=True)"],
}

EXPLORER = 'import modecomb_viz as mc\nexplorer = mc.Explorer("digits-mlp", resolution=9)\nexplorer'

#: Megabytes that a notebook may weigh: Panel and Bokeh twice, as HoloViz does, and one bundle per view.
LARGEST = 12


class Lab:
    """A JupyterLab that was started for a test; asked through its own interface."""

    def __init__(self, folder, port):
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        places = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        options = [f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
        options += ["--ZMQChannelsWebsocketConnection.limit_rate=False"]
        options += ["--LabApp.extension_manager=readonly", "--ServerApp.disable_check_xsrf=True"]
        options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
        self.log = folder / "lab.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, *options],
                env={**os.environ, **places, "IPYTHONDIR": str(folder / "ipython")},
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def ask(self, path, body=None, method="GET"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def wait_until_served(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError):
                self.ask("status")
                return
            time.sleep(0.05)
        raise AssertionError(f"not served in time: {self.log.read_text()}")

    def stop(self):
        with suppress(OSError):
            for kernel in self.ask("kernels"):
                self.ask(f"kernels/{kernel['id']}", method="DELETE")
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory, port):
    lab = Lab(tmp_path_factory.mktemp("lab"), port)
    try:
        lab.wait_until_served()
        yield lab
    finally:
        lab.stop()


class Notebook:
    """A notebook that is open in the browser."""

    def __init__(self, lab, page, deep, name, cells):
        self.lab, self.page, self.deep, self.name = lab, page, deep, f"{name}.ipynb"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=[*map(nbformat.v4.new_code_cell, cells)])
        nbformat.write(made, lab.folder / self.name)
        session = {"path": self.name, "name": self.name, "type": "notebook", "kernel": {"name": "python3"}}
        self.kernel = lab.ask("sessions", session, "POST")["kernel"]["id"]
        page.goto(f"{lab.url}/lab/tree/{self.name}?reset", wait_until="domcontentloaded")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        deadline = time.monotonic() + 60
        while not (state := lab.ask(f"kernels/{self.kernel}"))["connections"] or state["execution_state"] != "idle":
            assert time.monotonic() < deadline, state
            page.wait_for_timeout(50)

    def menu(self, name, entry):
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.get_by_role("menuitem", name=entry, exact=True).click()

    def run_all(self):
        self.menu("Run", "Run All Cells")
        self.deep.wait("deep(document, '.jp-InputPrompt').some((e) => /[\\d*]/.test(e.textContent))")

    def run(self, code):
        """Type code into the cell at the end and run it."""
        self.page.locator(".jp-Notebook-footer").click()
        self.page.locator(".jp-Notebook .jp-CodeCell .cm-content").last.click()
        self.page.keyboard.type(code)
        self.page.keyboard.press("Shift+Enter")

    def saved(self):
        """The notebook with its outputs, as Lab writes it to the disk."""
        self.page.keyboard.press("Control+s")
        self.deep.wait("!document.querySelector('.jp-mod-dirty')")
        return nbformat.read(self.lab.folder / self.name, as_version=4)

    def complaints(self):
        """Everything that a cell wrote to its error stream or raised."""
        of = "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
        return self.deep.texts(of)

    def strength(self):
        """What the slider of the perturbation shows."""
        return self.page.locator("input[type=range]").first.input_value()


@pytest.fixture
def notebook(lab, page, deep):
    opened = []

    def open_notebook(name, cells):
        opened.append(Notebook(lab, page, deep, name, cells))
        return opened[-1]

    page.set_viewport_size({"width": 1400, "height": 1000})
    yield open_notebook
    for one in opened:
        lab.ask(f"kernels/{one.kernel}", method="DELETE")


def slow_but(fast):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in SETUPS]


#: Views that are shown, and their pictures; a view that is hidden has no size.
SHOWN = """(() => {
  const shown = deep(document, '.state').filter((e) => e.getRootNode().host.checkVisibility())
  const numbers = shown.map((e) => e.parentElement.querySelector('.numbers').textContent)
  return {states: shown.map((e) => e.textContent), numbers, pictures: pictures().filter((p) => p)}
})()"""


class Seen(NamedTuple):
    """What a reader sees of the views that are complete."""

    numbers: list[str]
    pictures: list[int]


def seen(deep, views, before=None, timeout=60_000, pictures=None):
    """Wait until so many views are complete, and the last of them has other numbers and another picture than before."""
    complete = f"""(() => {{
      const now = {SHOWN}
      return now.states.length === arg.views && now.pictures.length === arg.pictures
        && now.states.every((state) => state === 'complete') && (!arg.before ||
        arg.before[0].every((n, i) => n !== now.numbers[i]) && arg.before[1].at(-1) !== now.pictures.at(-1))
    }})()"""
    deep.wait(complete, {"views": views, "pictures": pictures or views, "before": before}, timeout)
    shown = deep.read(SHOWN)
    return Seen(shown["numbers"], shown["pictures"])


@pytest.mark.parametrize("setup", slow_but({"plain"}))
def test_the_explorer_is_live_in_both_directions(notebook, deep, complaints, setup):
    opened = notebook(f"explorer-{setup}", [*SETUPS[setup], EXPLORER])
    opened.run_all()
    before = seen(deep, 2, timeout=120_000)
    assert before.numbers[0].startswith("81 of 81 points")

    opened.page.locator("input[type=range]").first.focus()
    for _ in range(10):
        opened.page.keyboard.press("ArrowRight")
    before = seen(deep, 2, before)
    assert opened.strength() == "0.1"

    opened.run("explorer.state.strength = 0.3")
    before = seen(deep, 2, before)
    assert opened.strength() == "0.3"
    opened.run("assert explorer.state.strength == 0.3 and 'plane' in explorer.results.datasets; print('as shown')")
    deep.wait("deep(document, '.jp-OutputArea-output').some((e) => e.textContent.trim() === 'as shown')")

    assert opened.complaints() == []
    assert complaints == []
    assert len(nbformat.writes(opened.saved())) / 1e6 < LARGEST


@pytest.mark.parametrize("setup", slow_but({}))
def test_a_view_is_live_alone_and_shown_again(notebook, deep, complaints, setup):
    opened = notebook(f"map-{setup}", [*SETUPS[setup], f"{EXPLORER}.map"])
    for _ in range(2):  # running the cells again shows another explorer in place of the first
        opened.run_all()
        before = seen(deep, 1, timeout=120_000)
    opened.run("explorer.state.strength = 0.3")
    seen(deep, 1, before)
    opened.run("explorer.map")
    before = seen(deep, 2)
    opened.run("explorer.state.strength = 0.9")
    seen(deep, 2, before)
    assert opened.complaints() == []
    assert complaints == []


@pytest.mark.parametrize("setup", slow_but({"plain"}))
def test_a_page_turned_from_python_is_shown(notebook, deep, complaints, setup):
    opened = notebook(f"pages-{setup}", [*SETUPS[setup], EXPLORER])
    opened.run_all()
    seen(deep, 2, timeout=120_000)
    opened.run("explorer.state.page = 'Similarity'")
    tab = opened.page.get_by_role("tab", name="Similarity")
    tab.scroll_into_view_if_needed()
    before = seen(deep, 1, pictures=3)
    opened.run("explorer.state.strength = 0.3")
    seen(deep, 1, before, pictures=3)
    opened.run("explorer.state.page = 'Slice'")
    seen(deep, 2)
    assert opened.complaints() == []
    assert complaints == []
