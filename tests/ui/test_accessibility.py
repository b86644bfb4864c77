"""Every page, in both themes, and a report: axe finds nothing serious in them."""

import pytest
from axe_playwright_python.sync_playwright import Axe

import modecomb_viz as mc
from modecomb_viz.state import ON_DEMAND, PAGES

#: Grave enough to keep somebody from using the page.
GRAVE = ("serious", "critical")

#: Pictures on demand that the address asks for.
ASKED = ("inspection", "other", "difference")

#: What axe tells of a page as one.
RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def violations(page) -> list[str]:
    """One line per element that breaks a rule: rule, impact, where, what is wrong."""
    return [
        f"{found['id']} ({found['impact']}) {node['target']} {node['html'][:160]}: {node['failureSummary']}"
        for found in Axe().run(page, options=RULES).response["violations"]
        for node in found["nodes"]
    ]


def grave(page, looks: int = 5) -> list[str]:
    """What is grave and lasts: colours that are on their way are looked at again."""
    found: list[str] = []
    for _ in range(looks):
        found = [line for line in violations(page) if any(f"({impact})" in line for impact in GRAVE)]
        if not found:
            break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_of_the_explorer_is_accessible(explorer_server, page, deep, theme):
    page.goto(f"{explorer_server.url}?resolution=9&draws=8&page=Layers&inspected=0.5,0.25&against=alignment")
    deep.wait_until_complete(2)
    if theme == "dark":
        page.get_by_label("Toggle theme").first.click()
        deep.wait("document.documentElement.dataset.theme === 'dark' || deep(document, '.mui-dark').length > 0")
    found = {}
    for name, all_views in PAGES.items():
        deep.turn(name, len([view for view in all_views if view not in ON_DEMAND or view in ASKED]))
        found[name] = grave(page)
    assert not any(found.values()), "\n".join(line for lines in found.values() for line in lines)


def test_a_report_and_a_gallery_are_accessible(page, tmp_path):
    modes = mc.open_modes("digits-mlp")
    shown = [mc.sweep_plane(modes, resolution=9), mc.sweep_segment(modes, points=9), mc.sweep_similarity(modes, n=4)]
    path = mc.save_report(shown, tmp_path / "report.html", title="A report")
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('canvas').length > 0 || document.querySelector('.bk-Figure')")
    assert grave(page) == []
    page.goto(mc.save_gallery([path], tmp_path / "index.html").as_uri())
    page.get_by_role("link", name="A report").wait_for()
    assert grave(page) == []


def test_what_is_not_accessible_is_found(page):
    page.set_content("<html lang=en><title>t</title><main><img src='x.png'><button></button></main></html>")
    assert {line.split()[0] for line in grave(page)} == {"image-alt", "button-name"}
