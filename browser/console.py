#!/usr/bin/env python3
"""Looks at every page of the console as a person would, and as one with a disability would.

usage: console.py TARGET [PICTURES]   TARGET is cargo's folder; PICTURES a folder for pictures of every page
"""

import pathlib
import sys
import tempfile

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
    browser.until("the board is live", lambda: browser.text("#live") == "live")
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
    browser.open("/")
    browser.until("the board is live", lambda: browser.text("#live") == "live")
    browser.run("window.never_reloaded = true; window.scrollTo(0, 40)")
    link = browser.find("tr[data-site=clinic-live] a")
    browser.run("arguments[0].focus({ preventScroll: true })", link)
    scrolled = browser.run("return scrollY")
    state = lambda: browser.find("tr[data-site=clinic-live]").get_attribute("data-state")
    claim(state() != "drifted", "nothing has drifted yet")
    plane.upload("drifted")
    browser.until("the board turns red", lambda: state() == "drifted")
    claim("clinic-live: drifted" in browser.find("#news").get_attribute("textContent"), "the change is told")
    claim(browser.focused().text == "clinic-live", "the focus stays")
    claim(browser.run("return scrollY") == scrolled, "the page does not jump")
    plane.register()
    browser.until("the new site", lambda: browser.all("tr[data-site=clinic-new]"))
    plane.upload("healed")
    browser.until("the board turns green", lambda: state() == "compliant")
    claim(browser.run("return window.never_reloaded"), "the page was never loaded again")

    browser.open("/sites/clinic-live")
    age = browser.text("#check-services time")
    browser.until("ages tick", lambda: browser.text("#check-services time") != age)
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
        browser.until("the board is live", lambda: browser.text("#live") == "live")
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
            by_keyboard(browser)
            by_itself(browser, plane)
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
