"""Clicks through a running demonstration, as somebody would who sees it for the first time.

usage: browser.py URL CODE PICTURES   CODE lets in, as `compliancectl console` gives it
"""

import pathlib
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parent.parent / "browser"))

from page import Browser, Fault, claim

BANNER = "DEV ONLY - NOT FOR PRODUCTION"
SITE = "site-a"

# A round, a poll and an upload, on a busy machine.
POLL = 15


def shows(browser, state):
    """Waits until the board shows that state of the site, without being loaded again."""
    browser.until("the board is live", lambda: browser.text("#live") == "live")
    row = f"tr[data-site={SITE}]"
    browser.until(f"{SITE} to be {state}", lambda: browser.find(row).get_attribute("data-state") == state, POLL)


def start(browser, scenario):
    """Presses a scenario's button; its run is then open."""
    browser.open("/scenarios")
    browser.find(f"form[action='/scenarios/{scenario}'] button").click()
    browser.until("its page", lambda: browser.all(".run"))


def as_expected(browser):
    """Waits until the run that is open has ended as it should."""
    ended = browser.until("the end", lambda: browser.all(".run:not([data-state=playing])"), 120)
    claim(ended[0].get_attribute("data-state") == "as-expected", browser.text())


def story(browser, code, folder):
    browser.open("/")
    claim(BANNER in browser.text(), "the login page says what this is")
    browser.look_at("login")
    browser.log_in(code)
    browser.open("/")
    shows(browser, "compliant")
    browser.look_at("fleet-green")
    browser.open("/scenarios")
    browser.look_at("scenarios")

    start(browser, "stop-imaging")
    browser.open("/")
    shows(browser, "drifted")
    browser.look_at("fleet-red")
    browser.open(f"/sites/{SITE}")
    why = browser.until("why it is not healed", lambda: browser.text(".notice.unsure"))
    claim("Why not now" in why and "window" in why, f"the site's page tells why it is not healed: {why}")
    card = browser.text("#check-services")
    claim("imaging.service" in card and "active" in card, f"the card tells what is expected and what is: {card}")
    browser.look_at("site-red")

    start(browser, "now")
    as_expected(browser)
    claim(BANNER in browser.text(), "a run says what this is")
    browser.look_at("run")
    evidence = browser.all(".chain a")[-1].get_attribute("href").removeprefix(browser.base)
    browser.open("/")
    shows(browser, "compliant")
    browser.open("/orders")
    browser.look_at("orders")
    browser.open(evidence)
    browser.until("the bundle", lambda: browser.all("#openssl"))
    browser.look_at("bundle")
    browser.verify_with_openssl(folder)
    browser.no_faults()


def main():
    base, code, pictures = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, Browser(base, pictures) as browser:
        story(browser, code, pathlib.Path(folder))
    print("the demonstration is as it should be, also in a browser", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        print(f"FAULT: {fault}", file=sys.stderr)
        sys.exit(1)
