"""A gallery in a browser, without a network: it leads to its reports."""

import synthetic

import modecomb_viz as mc


def test_a_gallery_leads_to_its_reports(page, complaints, tmp_path):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    mc.save_report(synthetic.everything(), tmp_path / "with map & more.html", title="First <b>report</b>")
    mc.save_report([synthetic.segment(), synthetic.segment("identity")], tmp_path / "curves.html", title="Second")
    page.goto(mc.save_gallery([tmp_path], tmp_path / "index.html").as_uri())
    assert {link.inner_text() for link in page.locator("h2 a").all()} == {"First <b>report</b>", "Second"}
    assert page.locator(".small > *").count() == 2
    assert page.evaluate("document.querySelector('.small img').naturalWidth") == 17
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="First <b>report</b>").click()
    page.wait_for_function("document.documentElement.dataset.painted")
    assert page.locator("h1").inner_text() == "First <b>report</b>"
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
