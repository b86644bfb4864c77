"""Networks of one's own, sent by the browser."""

import logging
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from html import escape
from threading import Thread
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from modecomb_viz.architectures import ARCHITECTURES
from modecomb_viz.checkpoints import SUFFIXES, ModeSet
from modecomb_viz.data import DATASETS
from modecomb_viz.explorer.explained import Button, Explained
from modecomb_viz.explorer.notebook import arrange, home
from modecomb_viz.explorer.notices import say
from modecomb_viz.state import ExplorerState
from modecomb_viz.state.uploads import LARGEST, Arriving, offered_data, offered_options, open_uploaded

__all__ = ["FileUpload", "OwnNetworks"]

#: Bytes of one message from the browser: less than what any server or notebook takes by default, in base64 too.
_PIECE = 2**22

_MODES = {"A": "Network A", "B": "Network B", "C": "Network C, if there is one"}


class FileUpload(Explained, pmui.FileInput):
    """A button that a checkpoint is chosen with or dropped onto; it comes in pieces, none of it beyond the limit.

    Attributes:
        file: what has arrived.
    """

    def __init__(self, mode: str, say: Callable[[str], None]):
        super().__init__(
            explanation="A checkpoint, to choose or to drop here.",
            label=_MODES[mode],
            uploaded_label=f"{mode}: {{filename}}",
            accept=",".join(SUFFIXES),
            chunk_size=_PIECE,
            max_file_size=LARGEST,
            variant="outlined",
            size="small",
            sizing_mode="stretch_width",
            sx={"textTransform": "none"},
        )
        self.file, self._mode, self._say = Arriving(), mode, say

    def _handle_msg(self, msg: Mapping[str, Any]):
        """What the browser's side of the button sends."""
        status = msg.get("status")
        if status == "initializing":
            self.file.begin()
            self.label = _MODES[self._mode]
            self._say("")
        elif status == "upload_event":
            self._take(msg)
        elif status == "finished":
            self.file.end()
            self.label = f"{self._mode}: {self.file.name}"  # the browser forgets it when the section is folded
            self._send_msg({"status": "finished"})
        elif status == "error":  # the browser found it too large, or could not read it
            self.file.begin()
            self._say(f"{self._mode}: {str(msg.get('error'))[:300]}.")

    def _take(self, msg: Mapping[str, Any]):
        try:
            self.file.take(str(msg["name"]), int(msg["chunk"]), int(msg["total_chunks"]), msg["data"])
        except ValueError as error:
            self._send_msg({"status": "error", "error": str(error)})
            self._say(f"{self._mode}: {error}")


class OwnNetworks(pn.viewable.Viewer):
    """Two or three checkpoints, an architecture, data: opened for this session alone.

    Attributes:
        files: the buttons for the files, by mode.
        architecture, options, data, mean, std: the fields.
        open: the button that opens them.
        alert: what came of it.
    """

    def __init__(self, state: ExplorerState):
        super().__init__()
        self.state, document = state, pn.state.curdoc
        self._faults: dict[str, str] = {}
        self._add = home(document.add_next_tick_callback) if document else None
        wide: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width"}
        self.architecture = pmui.Select(
            label="Architecture", options=list(ARCHITECTURES), description="What the networks are built as.", **wide
        )
        self.options = pmui.TextAreaInput(
            label="Options, NAME=VALUE, one a line", rows=2, auto_grow=True,
            description="Options of the architecture, values as in TOML, such as widths=[784, 256, 10].", **wide,
        )  # fmt: skip
        self.data = pmui.Select(
            label="Data", options=offered_data(), description="The examples that the networks are evaluated on.", **wide
        )
        pixels = {"placeholder": "one number, or one per channel", **wide}
        self.mean = pmui.TextInput(
            label="Mean of the pixels", description="It is subtracted from the pixels, as in training.", **pixels
        )
        self.std = pmui.TextInput(
            label="Their std", description="What is left is divided by it, as in training.", **pixels
        )
        self.open = Button(
            "Open", "Check these files, and choose them as the networks of this page.",
            color="primary", variant="contained", margin=(5, 10), on_click=self._open,
        )  # fmt: skip
        self.alert = pmui.Alert(object="", severity="error", visible=False, sizing_mode="stretch_width", margin=(6, 10))
        self._chosen = pn.Row(sizing_mode="stretch_width")
        self._offered = pn.pane.HTML("", styles={"font-size": "12px"}, margin=(0, 10), sizing_mode="stretch_width")
        self._empty_files()
        self.architecture.param.watch(self._show_fields, ["value"])
        self.data.param.watch(self._show_fields, ["value"])
        self._show_fields()

    def _empty_files(self):
        """New buttons: the old ones and what they held are gone."""
        self.files = {mode: FileUpload(mode, partial(self._fail, mode)) for mode in _MODES}
        arrange(self._chosen, list(self.files.values()))

    def _show_fields(self, *events: param.parameterized.Event):
        offered = offered_options(self.architecture.value)
        text = f"{self.architecture.value} takes {offered}; what is left out stays so."
        of_pixels = self.data.value not in DATASETS
        with pn.io.hold():
            self._offered.object = escape(text)
            self.mean.visible = self.std.visible = of_pixels

    def _fail(self, mode: str, text: str):
        """Say what is wrong with a file, or without a mode with all; nothing, once it is not any more."""
        self._faults[mode] = text
        say(self.alert, *filter(None, self._faults.values()), severity="error")

    def _busy(self, busy: bool):
        self.open.param.update(loading=busy, disabled=busy, label="Opening …" if busy else "Open")
        for button in self.files.values():
            button.disabled = busy

    def _open(self, event: Any):
        """Beside the server, which goes on meanwhile; in a notebook at once."""
        self._busy(True)
        self._faults.clear()
        self._fail("", "")
        files = {mode: copy(button.file) for mode, button in self.files.items() if button.file.begun}
        fields = {name: getattr(self, name).value for name in ("architecture", "options", "data", "mean", "std")}
        work = partial(self._work, files, fields)
        if self._add:
            Thread(target=work, name="modecomb-upload", daemon=True).start()
        else:
            work()

    def _work(self, files: Mapping[str, Arriving], fields: Mapping[str, str]):
        try:
            modes = open_uploaded(files, **fields)
        except ValueError as error:
            self._publish(partial(self._end, str(error)))
        except Exception as error:  # whatever a file makes a library raise, the page says it; the log has the rest
            logging.getLogger(__name__).exception("an upload could not be opened")
            self._publish(partial(self._end, f"{type(error).__name__}: {error}"))
        else:
            self._publish(partial(self._offer, modes, {mode: file.name for mode, file in files.items()}))

    def _publish(self, call: Callable[[], None]):
        """The page is changed, and its document touched, in its own thread alone."""
        self._add(call) if self._add else call()

    def _offer(self, modes: ModeSet, names: Mapping[str, str]):
        self._end("")
        self._empty_files()
        if modes.name in self.state.param.modes_name.objects:
            self.state.modes_name = modes.name
        else:
            self.state.offer(modes)
        text = f"{modes.name} is open: {', '.join(f'{mode} is {name}' for mode, name in names.items())}."
        say(self.alert, text, severity="success")

    def _end(self, fault: str):
        self._busy(False)
        if fault:
            self._fail("", fault)

    def __panel__(self) -> pn.Column:
        said = (
            f"Two or three checkpoints ({', '.join(SUFFIXES)}) of one architecture, up to {LARGEST >> 20} MiB each. "
            "They are read as tensors alone, checked, opened for this page only, and kept nowhere: when it is closed "
            "or loaded again they are gone. Sent again they have the same name, and what was kept of them opens again. "
            "docs/your-own-networks.md says how a folder or code of yours is opened."
        )
        words = pn.pane.HTML(escape(said), styles={"font-size": "12px"}, margin=(4, 10), sizing_mode="stretch_width")
        fields = pn.Row(self.architecture, self.options, self.data, sizing_mode="stretch_width")
        pixels = pn.Row(self.mean, self.std, sizing_mode="stretch_width")
        return pn.Column(
            words, self._chosen, fields, self._offered, pixels, self.open, self.alert, sizing_mode="stretch_width"
        )
