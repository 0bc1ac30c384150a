"""The page in headless Chromium: what its script and style do. Run with `-m slow`."""

import shutil

import pytest
from page_records import save_with_masks

from benchmark.dataset import open_dataset
from benchmark.page import write

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
support = pytest.importorskip("selenium.webdriver.support.ui")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
    pytest.mark.skipif(not DRIVER, reason="no chromedriver here"),
]


@pytest.fixture(scope="module")
def page(small_data, tmp_path_factory):
    """The URL of a page with runs of three methods."""
    folder = tmp_path_factory.mktemp("browser")
    for method in ("unet", "fixmatch", "propl"):
        save_with_masks(folder, method=method, dataset=open_dataset(small_data))
    return write(folder, folder / "page.html", small_data).as_uri()


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium, page):
    """A freshly loaded page that has left nothing in the console when the test ends."""
    show(chromium, page)
    yield chromium
    assert chromium.get_log("browser") == []


def show(driver, url, width=1280, dark=False, scripts=True):
    def send(command, **arguments):
        driver.execute_cdp_cmd(f"Emulation.{command}", arguments)

    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    send("setEmulatedMedia", features=[scheme, still])
    send("setScriptExecutionDisabled", value=not scripts)
    mobile = width < 500
    send("setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile)
    driver.get(url)


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def texts(driver, selector):
    return [element.text for element in find(driver, selector)]


def choose(driver, name, value):
    support.Select(find(driver, f"#gallery [name={name}]")[0]).select_by_value(value)


def test_a_heading_sorts_best_first_then_worst_then_as_the_paper(browser):
    table = "article:first-of-type .dice "
    rows = table + "tbody tr:not(.category) th"
    paper_order = texts(browser, table + "tbody tr")
    assert texts(browser, rows)[0].startswith("U-Net")
    (mean,) = (b for b in find(browser, table + "thead button") if b.text.startswith("mDice"))

    def state():
        known = [row.split("\n")[0] for row in texts(browser, rows)]
        (heading,) = find(browser, table + "[aria-sort$=ending]")
        return heading.get_attribute("aria-sort"), known

    mean.click()
    values = [
        float(text.split()[0]) for text in texts(browser, table + "tr td:nth-last-child(2)")[:3]
    ]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3
    order, best_first = state()
    assert order == "descending"
    assert best_first[:3] == ["U-Net", "FixMatch", "ProPL"]
    mean.send_keys("\ue007")  # the Enter key
    order, worst_first = state()
    assert order == "ascending"
    assert worst_first[:3] == ["ProPL", "FixMatch", "U-Net"]
    assert worst_first[3:] == best_first[3:]  # those not run stay below
    mean.send_keys(" ")
    assert texts(browser, table + "tbody tr") == paper_order
    assert not find(browser, table + "[aria-sort$=ending]")


def test_hd95_sorts_the_smallest_first_and_methods_by_name(browser):
    find(browser, "[value=hd95] + span")[0].click()
    find(browser, "[name=unrun]")[0].click()
    table = "article:first-of-type .hd95 "
    buttons = find(browser, table + "thead button")
    buttons[-1].click()
    values = [float(text.split()[0]) for text in texts(browser, table + "tr td:last-child")[:3]]
    assert values == sorted(values)
    buttons[0].click()
    assert texts(browser, table + "tbody th")[:2] == ["AugSeg", "CLIP-UM"]
    assert len(find(browser, table + "[aria-sort$=ending]")) == 1


def test_switches_show_metric_paper_and_methods_not_run(browser):
    def shown(selector):
        script = "return [...document.querySelectorAll(arguments[0])].some(e => e.offsetParent)"
        return browser.execute_script(script, selector)

    assert shown(".dice")
    assert not shown(".iou, .hd95, .paper")
    find(browser, "[value=iou] + span")[0].click()
    assert shown(".iou")
    assert not shown(".dice, .hd95")
    find(browser, "[name=paper]")[0].click()
    assert shown(".iou .paper")
    assert not shown(".unrun")
    find(browser, "[name=unrun]")[0].click()
    assert shown(".unrun th[scope=row]")
    assert shown(".unrun.category")


def test_without_data_intervals_and_masks_are_shown(browser, tmp_path):
    save_with_masks(tmp_path)
    show(browser, write(tmp_path, tmp_path / "page.html").as_uri())
    interval = find(browser, ".dice .interval")[0]
    assert interval.is_displayed()
    value, bounds = texts(browser, ".dice td:has(.interval)")[0].split("\n")
    low, high = map(float, bounds.split("–"))
    assert low < float(value) < high
    find(browser, "[name=intervals]")[0].click()
    assert not interval.is_displayed()
    assert not find(browser, "#cards img")
    (tile, *_), (drawing, *_) = find(browser, "#cards .tile"), find(browser, "#cards svg")
    assert drawing.rect == pytest.approx(tile.rect, abs=1)
    assert find(browser, "#cards .mask path")[0].value_of_css_property("fill") != "none"


def test_the_gallery_filters_and_sorts(browser):
    cards = "#cards figure"
    first = float(find(browser, cards + " strong")[0].text.split()[1].rstrip(","))
    assert first == 0
    choose(browser, "task", "FH")
    choose(browser, "method", "ProPL")
    captions = texts(browser, cards + " figcaption")
    assert captions
    assert all("FH/" in text and "ProPL, 1/4" in text for text in captions)
    dice = [float(text.split()[1].rstrip(",")) for text in captions]
    assert dice == sorted(dice)
    choose(browser, "order", "-1")
    again = [float(text.split()[1].rstrip(",")) for text in texts(browser, cards + " figcaption")]
    assert again == dice[::-1]
    choose(browser, "place", "best")
    assert len(find(browser, cards)) < len(captions)
    assert all(", best" in text for text in texts(browser, cards + " figcaption"))
    count = len(find(browser, cards))
    assert texts(browser, "#count") == [f"{count} of {count} shown"]


def test_more_cards_come_on_demand(browser):
    before = len(find(browser, "#cards figure"))
    total = int(texts(browser, "#count")[0].split()[2])
    assert before < total
    find(browser, "#more")[0].click()
    assert before < len(find(browser, "#cards figure")) <= total
    choose(browser, "task", "FH")
    assert not find(browser, "#more")[0].is_displayed()


def test_images_and_outlines_are_drawn_in_one_place(browser):
    (image, *_) = find(browser, "#cards img")
    assert int(image.get_property("naturalWidth")) > 0
    (drawing, *_) = find(browser, "#cards svg")
    for side in ("x", "y", "width", "height"):
        assert drawing.rect[side] == pytest.approx(image.rect[side], abs=1)
    outline = find(browser, "#cards .mask path")[0]
    assert outline.rect["width"] == pytest.approx(image.rect["width"] / 2, rel=0.1)
    find(browser, "#gallery label.mask")[0].click()
    assert not outline.is_displayed()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_at_any_width_or_scheme(browser, page, width, dark):
    show(browser, page, width, dark)
    find(browser, "[name=paper]")[0].click()
    browser.execute_script("for (const e of document.querySelectorAll('details')) e.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    wide = """return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll')
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
    assert browser.execute_script(wide) == []
    background = find(browser, "body")[0].value_of_css_property("background-color")
    light = sum(map(int, background.strip("rgba()").split(",")[:3])) > 384
    assert light is not dark


def test_tables_and_switches_need_no_script(browser, page):
    show(browser, page, scripts=False)
    assert not find(browser, "thead button, #cards figure")
    find(browser, "[value=iou] + span")[0].click()
    (table, *_) = find(browser, ".iou")
    assert table.is_displayed()
    assert "U-Net" in table.text
    assert "switched off" in find(browser, "#gallery noscript")[0].text
