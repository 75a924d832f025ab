#!/usr/bin/env python3
"""Looks at every page of the console as a person would, and as one with a disability would.

usage: console.py TARGET [PICTURES]   TARGET is cargo's folder; PICTURES a folder for pictures of every page
"""

import contextlib
import pathlib
import sys
import tempfile
import time

from selenium.webdriver.common.keys import Keys

from page import Browser, Fault, claim
from plane import Plane

LONG = "medizinisches-versorgungszentrum-am-alten-guterbahnhof-ost-0017"


def without_a_session(browser, plane):
    browser.open("/")
    claim("compliancectl console" in browser.text(), "the page tells how to log in")
    claim("clinic" not in browser.driver.page_source, "nothing is shown without a session")
    browser.look_at("login")
    browser.find("#code").send_keys("0000-0000-0000", Keys.ENTER)
    browser.until("a refusal", lambda: "wrong" in browser.text("[role=alert]"))
    browser.look_at("login-wrong")
    browser.log_in(plane.code().lower())


def every_page(browser):
    browser.open("/")
    browser.live()
    browser.look_at("fleet")
    browser.find("#find").send_keys("nothing-has-this", Keys.ENTER)
    browser.until("an empty answer", lambda: "0 with" in browser.text())
    browser.look_at("fleet-none")
    for site in ["clinic-north", "praxis-dr-vogel", "zahnzentrum-sued", LONG, "not-installed-yet"]:
        browser.open(f"/sites/{site}")
        browser.look_at("site-" + site[:16])
    browser.open("/sites/clinic-north?check=services")
    browser.look_at("site-filtered")
    browser.find(".timeline a").click()
    browser.until("a bundle", lambda: "Bundle " in browser.text("h1"))
    browser.look_at("bundle-deferred")
    browser.open("/sites/clinic-north?check=services")
    browser.all(".timeline a")[-1].click()
    browser.until("a bundle", lambda: "restarted" in browser.text(".lead"))
    browser.look_at("bundle-healed")
    browser.open("/orders")
    browser.look_at("orders")
    browser.open("/orders?site=clinic-001")
    browser.look_at("orders-none")
    browser.open("/nothing")
    browser.look_at("nothing")


def why_it_does_not_act(browser):
    browser.open("/sites/clinic-north")
    said = browser.until("why it does not act", lambda: browser.text(".notice.unsure"))
    claim("Why not now: services" in said, "the site's page tells why it does not act")
    claim("outside the maintenance window" in said, "the gate that is closed is named")
    path = browser.find(".notice.bad a").get_attribute("href").removeprefix(browser.base)
    browser.open(path)
    browser.until("what is missing is named where it is missing", lambda: "are missing" in browser.text("tr.gap"))


SEEN = """
const box = arguments[0].getBoundingClientRect();
const [x, y] = [box.left + Math.min(box.width / 2, 20), box.top + box.height / 2];
return arguments[0].contains(document.elementFromPoint(x, y));
"""

BEHIND = """
const [row, head] = [...arguments].map((e) => e.getBoundingClientRect().top);
const tall = arguments[0].closest(".tall");
(tall.scrollHeight > tall.clientHeight ? tall : window).scrollBy({ top: row - head - 4, behavior: "instant" });
"""


def what_tables_tell(browser):
    """What one has to know to read a row is in view, however long or narrow the table is."""
    browser.open("/")
    seen = lambda element: browser.run(SEEN, element)
    for width in [1360, 1280, 800, 390]:
        browser.look(width, height=460)
        browser.check_width()
        head, last = browser.find(".board thead th:nth-child(2)"), browser.all(".board tbody th a")[-1]
        browser.run("arguments[0].closest('.tall').scrollIntoView()", head)
        browser.run("arguments[0].scrollIntoView({ block: 'nearest' })", last)
        claim(seen(last) and seen(head), f"the checks' names stay, {width} wide")
        behind, below = browser.all(".board tbody th a")[3:5]
        browser.run("arguments[0].focus({ preventScroll: true })", below)
        browser.run(BEHIND, behind, head)
        claim(not seen(behind), f"the head is over the row that comes next, {width} wide")
        browser.press(Keys.ARROW_UP)
        browser.until("what has the focus is behind nothing", lambda: browser.focused() == behind and seen(behind))
        for link in browser.all(".board tbody th a"):
            cut = browser.run("return arguments[0].scrollWidth > arguments[0].clientWidth", link)
            claim(not cut, f"a name is whole, {width} wide: {link.text}")
    for path, table in [("/orders", ".orders"), ("/sites/clinic-north", ".orders"), ("/sites/clinic-north", ".timeline")]:
        browser.open(path)
        for mark in browser.all(f"{table} .outcome .mark"):
            right = browser.run("return arguments[0].getBoundingClientRect().right", mark)
            claim(right <= 390, f"how it ended is in the first screen of a telephone: {table} of {path}")
    browser.look()


def by_keyboard(browser):
    """From the top of the board to a site, with keys alone."""
    browser.open("/")
    browser.press(Keys.TAB)
    claim(browser.focused().text == "Skip to content", "the first stop leads past the navigation")
    browser.press(Keys.ENTER)
    browser.until("the content has the focus", lambda: browser.focused().get_attribute("id") == "main")
    names = [link.text for link in browser.all(".board tbody th a")]
    for _ in range(10):
        browser.press(Keys.TAB)
        if browser.focused().text == names[0]:
            break
    claim(browser.focused().text == names[0], "the first site is a few stops away")
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    claim(outline != "none", "what has the focus shows it")
    browser.press(Keys.TAB)
    claim(browser.focused().text == names[1], "a site is one stop")
    browser.press(Keys.ARROW_DOWN)
    claim(browser.focused().text == names[2], "the arrow keys go from site to site")
    browser.press(Keys.ARROW_UP, Keys.ARROW_UP)
    browser.press(Keys.ENTER)
    browser.until("the site", lambda: browser.path() == f"/sites/{names[0]}")


def by_itself(browser, plane):
    """What changes is on the page without a reload, and what somebody does there is not disturbed."""
    browser.look(width=800, height=460)
    browser.open("/")
    browser.live()
    browser.run("window.never_reloaded = true; window.scrollTo(0, 40); document.querySelector('.tall').scrollTo(30, 50)")
    link = browser.find("tr[data-site=clinic-live] a")
    browser.run("arguments[0].focus({ preventScroll: true })", link)
    scrolled = lambda: browser.run(
        "const { scrollLeft, scrollTop } = document.querySelector('.tall'); return [scrollY, scrollLeft, scrollTop]")
    before = scrolled()
    claim(all(before), f"the page and the board are scrolled: {before}")
    state = lambda: browser.find("tr[data-site=clinic-live]").get_attribute("data-state")
    claim(state() != "drifted", "nothing has drifted yet")
    plane.upload("drifted")
    browser.until("the board turns red", lambda: state() == "drifted")
    claim("clinic-live: drifted" in browser.find("#news").get_attribute("textContent"), "the change is told")
    claim(browser.focused().text == "clinic-live", "the focus stays")
    claim(scrolled() == before, f"nothing jumps: {scrolled()} was {before}")
    plane.register()
    browser.until("the new site", lambda: browser.all("tr[data-site=clinic-new]"))
    plane.upload("healed")
    browser.until("the board turns green", lambda: state() == "compliant")
    claim(browser.run("return window.never_reloaded"), "the page was never loaded again")
    browser.look()

    browser.open("/sites/clinic-live")
    browser.live()
    age = browser.text("#check-services time")
    browser.until("ages tick", lambda: browser.text("#check-services time") != age)
    browser.no_faults()


FETCHED = "return performance.getEntriesByType('resource').filter((e) => e.initiatorType === 'fetch').length"


def of_others(browser, plane):
    """That a site was heard of is put in its place, and where it has none, nothing is done."""
    for path in ["/orders", "/?find=clinic-north", "/"]:
        browser.open(path)
        browser.live()
        browser.run("window.heard = []; window.other = new EventSource('/events');"
                    "other.addEventListener('change', (e) => heard.push(JSON.parse(e.data).what))")
        browser.until("another stream", lambda: browser.run("return other.readyState === 1"))
        shown = lambda: [e.get_attribute("datetime") for e in browser.all("[data-seen=clinic-live] time")]
        before, then = browser.run(FETCHED), shown()
        plane.poll()
        browser.until("a poll is heard of", lambda: browser.run("return heard.includes('seen')"))
        time.sleep(3)  # Longer than the script waits.
        claim(browser.run(FETCHED) == before, f"{path} is not fetched for a poll")
        claim(path != "/" or shown() != then, "the board tells when the site was heard of")
    browser.no_faults()


BUSY = """
window.EventSource = class extends EventTarget {
  static OPEN = 1;
  readyState = 1;
  constructor() {
    super();
    const data = JSON.stringify({ site: "clinic-001", what: "evidence" });
    setInterval(() => this.dispatchEvent(new MessageEvent("change", { data })), 50);
  }
  close() {}
};
const fetched = window.fetch;
window.asked = [];
window.fetch = async (...what) => {
  asked.push(performance.now());
  await new Promise((done) => setTimeout(done, 200));
  return fetched(...what);
};
"""


def of_a_large_fleet(browser):
    """A page that takes long to fetch, and of which something always changes, is not fetched all the time."""
    with browser.before_scripts(BUSY):
        browser.open("/")
        first, second = browser.until("a page that changes", lambda: browser.run("return asked[1] && asked"))[:2]
        claim(second - first > 30 * 200, f"{second - first} ms are enough for what takes 200 ms")


def when_it_is_refused(browser):
    """A stream that was refused is asked for again; until then the page says that it is not live."""
    browser.open("/nothing")
    with contextlib.ExitStack() as streams:
        for _ in range(4):
            stream = browser.until("a stream", lambda: browser.fetch(browser.base + "/events"))
            streams.enter_context(stream)
        browser.open("/")
        browser.until("the truth", lambda: browser.text("#live").startswith("not live"))
        claim("old" in browser.find("body").get_attribute("class"), "what is not live has no colours")
    browser.live()
    browser.no_faults()


def with_openssl(browser, folder):
    """The line of a bundle's page, run on what the page offers to download."""
    browser.open("/sites/clinic-north?check=services")
    browser.find(".timeline a").click()
    browser.until("a bundle", lambda: browser.all("#openssl"))
    browser.verify_with_openssl(folder)


def without_script(plane, pictures):
    """Every page is whole without script."""
    with Browser(plane.console, pictures) as browser:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.log_in(plane.code())
        browser.driver.get(browser.base + "/sites/clinic-north")
        text = browser.text()
        for part in ["Why not now", "frontdesk.service", "expected", "run_checks", "Older evidence"]:
            claim(part in text, f"{part} is there without script")
        browser.find(".timeline summary").click()
        rounds = browser.all(".timeline details a")
        claim("43 summaries" in text and len(rounds) == 43, "each summary of rounds is behind their line")
        rounds[-1].click()
        browser.until("its bundle", lambda: browser.text("h1") == "Bundle 10")


def log_out(browser):
    browser.open("/")
    browser.find("form[action='/logout'] button").click()
    browser.until("the login page", lambda: browser.path() == "/login")
    browser.open("/orders")
    claim(browser.all("#code"), "after logging out there is nothing to see")
    browser.no_faults()


def without_the_server(plane, pictures):
    """What nobody keeps up to date loses its colours, and says so."""
    with Browser(plane.console, pictures) as browser:
        browser.log_in(plane.code())
        browser.open("/")
        browser.live()
        grey = lambda: "grayscale" in browser.run("return getComputedStyle(document.querySelector('main')).filter")
        claim(not grey(), "what is live has its colours")
        plane.server.terminate()
        browser.until("a board without colours", grey)
        claim("may be old" in browser.text("#live"), "it is said that the board may be old")


def main():
    target, pictures = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder, Plane(target, folder) as plane:
        with Browser(plane.console, pictures) as browser:
            without_a_session(browser, plane)
            every_page(browser)
            why_it_does_not_act(browser)
            what_tables_tell(browser)
            by_keyboard(browser)
            by_itself(browser, plane)
            of_others(browser, plane)
            of_a_large_fleet(browser)
            when_it_is_refused(browser)
            downloads = pathlib.Path(folder) / "downloads"
            downloads.mkdir()
            with_openssl(browser, downloads)
            log_out(browser)
        without_script(plane, pictures)
        without_the_server(plane, pictures)
    print("the console is as it should be")


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        print(f"FAULT: {fault}", file=sys.stderr)
        sys.exit(1)
