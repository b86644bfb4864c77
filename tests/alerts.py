"""What an alert shows."""

import re

from panel.pane import Markdown


def said(alert):
    """The HTML that its Markdown is rendered to, in one line."""
    shown = Markdown._get_parser("markdown-it", ()).render(alert.object)
    return " ".join(re.sub(r"</?p>|<br />", " ", shown).split())
