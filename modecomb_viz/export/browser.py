"""A Bokeh figure as PNG or SVG, drawn by the Chromium that is installed; nothing is fetched and no driver is needed.

A page with BokehJS and the figure in it is opened without a window. Once everything is drawn, a script in the page has
Bokeh export the figure and puts the result in place of the page, which Chromium prints.
"""

import base64
import binascii
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

from bokeh.embed import json_item
from bokeh.models import UIElement
from bokeh.resources import Resources

__all__ = ["CHROMIUM", "FLAGS", "drawn", "find_chromium"]

#: The environment variable that names the program, before all others.
CHROMIUM = "MODECOMB_CHROMIUM"

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

#: How it is started: it draws one page, and asks nothing of a network.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Milliseconds of the page's own clock, which stands still while it computes.
_BUDGET = 30_000

#: Seconds after which Chromium is ended.
_PATIENCE = 180


def find_chromium() -> str:
    """The path of a Chromium or Chrome.

    Raises:
        ValueError: when there is none, or none where ``MODECOMB_CHROMIUM`` says.
    """
    named = os.environ.get(CHROMIUM)
    if named:
        if found := shutil.which(named):
            return found
        raise ValueError(f"{CHROMIUM} is '{named}', which is no program. Give the path of a Chromium or Chrome.")
    if found := next(filter(None, map(shutil.which, _PROGRAMS)), None):
        return found
    raise ValueError(
        f"a picture is drawn by Chromium, and none was found: looked for {', '.join(_PROGRAMS)} on the PATH. "
        f"Install one (Debian: sudo apt-get install chromium), or name yours with {CHROMIUM}=/path/to/chrome."
    )


def drawn(root: UIElement, kind: str, scale: float = 1.0) -> bytes:
    """The content of a PNG or SVG file.

    Args:
        root: a figure or a layout of figures.
        kind: "png" or "svg".
        scale: pixels of a PNG per pixel of the figure; 1 for an SVG.

    Raises:
        ValueError: when there is no Chromium, or it does not draw the figure.
    """
    program = find_chromium()
    with tempfile.TemporaryDirectory(prefix="picture-", ignore_cleanup_errors=True) as folder:
        page, printed = Path(folder) / "page.html", Path(folder) / "printed"
        page.write_text(_page(root, kind), encoding="utf-8")
        arguments = [
            "--headless",
            "--hide-scrollbars",
            *FLAGS,
            f"--force-device-scale-factor={scale:g}",
            f"--user-data-dir={folder}/profile",
            f"--virtual-time-budget={_BUDGET}",
            "--dump-dom",
            page.as_uri(),
        ]
        complaints = _run([program, *_unconfined(), *arguments], printed)
        text = printed.read_text(encoding="utf-8", errors="replace")
    return _content(text, kind, program, complaints)


def _unconfined() -> list[str]:
    """Chromium does not start in its sandbox as root."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _run(command: list[str], printed: Path) -> str:
    """Run Chromium with its output in a file; what it says on stderr.

    Output goes to files, since processes that Chromium leaves behind would hold a pipe open.
    """
    errors = printed.with_suffix(".err")
    with printed.open("wb") as out, errors.open("wb") as err:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=_PATIENCE, check=False)
        except OSError as error:
            raise ValueError(f"'{command[0]}' cannot be run: {error}. Name another with {CHROMIUM}.") from error
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"'{command[0]}' drew nothing within {_PATIENCE} s. Draw fewer points or fewer pixels."
            ) from error
    return errors.read_text(encoding="utf-8", errors="replace").strip()


def _page(root: UIElement, kind: str) -> str:
    """The page: BokehJS, the figure as JSON that cannot end its script, and the script that exports it."""
    bokeh = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    given = json.dumps({"item": json_item(root), "kind": kind}).replace("<", "\\u003c")
    page = (files("modecomb_viz") / "templates" / "picture.html").read_text(encoding="utf-8")
    before, between, after = re.split("{{ bokeh }}|{{ given }}", page)
    return before + bokeh + between + given + after


def _content(text: str, kind: str, program: str, complaints: str) -> bytes:
    """What the page that Chromium printed holds."""
    found = re.search(r'<pre id="(picture|problem)">(.*?)</pre>', text, re.DOTALL)
    if not found:
        said = f" It said: {complaints.splitlines()[-1]}" if complaints else ""
        raise ValueError(
            f"'{program}' showed no picture.{said} A Chromium that may not read {tempfile.gettempdir()} (from snap, "
            f"for instance) needs TMPDIR set to a folder in your home; another one is chosen with {CHROMIUM}."
        )
    if found[1] == "problem":
        raise ValueError(f"the picture could not be drawn: {html.unescape(found[2]).splitlines()[0]}")
    if kind == "svg":
        return unquote(found[2]).encode()
    try:
        content = base64.b64decode(found[2].partition(",")[2], validate=True)
    except binascii.Error as error:
        raise ValueError(f"'{program}' gave a PNG that cannot be read: {error}.") from error
    if not content:
        raise ValueError("the picture has more pixels than Chromium can draw. Choose a smaller scale, width or height.")
    return content
