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

# Of demo/site/site.nix, in seconds.
ROUND, POLL = 1, 2

# What is no wait of the appliance's: the hand at the site, the upload, and the board, which looks every two seconds at most.
SLACK = 3

# Starts a scenario while the board is open, and tells how many seconds later the board shows the site as drifted.
UNTIL_RED = """
const [site, scenario, told] = arguments;
const began = performance.now();
new MutationObserver((_, watch) => {
  if (document.querySelector(`tr[data-site="${site}"]`)?.dataset.state !== "drifted") return;
  watch.disconnect();
  told((performance.now() - began) / 1000);
}).observe(document.body, { subtree: true, childList: true, attributes: true });
fetch(`/scenarios/${scenario}`, { method: "POST", body: new URLSearchParams({ csrf: document.body.dataset.csrf }) });
"""


def shows(browser, state):
    """Waits until the board shows that state of the site, without being loaded again."""
    browser.until("the board is live", lambda: browser.text("#live") == "live")
    row = f"tr[data-site={SITE}]"
    browser.until(f"{SITE} to be {state}", lambda: browser.find(row).get_attribute("data-state") == state)


def turns_red_within_a_poll(browser):
    """The board, which is open and is not touched, is red within a round and a poll of the start of the drift."""
    took = browser.driver.execute_async_script(UNTIL_RED, SITE, "stop-imaging")
    claim(took <= ROUND + POLL + SLACK, f"the board turned red only {took:.1f} s after the start of the scenario")
    print(f"figure: the board is red {took:.1f} s after the start of the scenario", flush=True)


def start(browser, scenario):
    """Presses a scenario's button, once nothing plays any more; its run is then open."""
    browser.open("/scenarios")
    button = browser.until("the button", lambda: browser.all(f"form[action='/scenarios/{scenario}'] button:enabled"), 120)
    button[0].click()
    browser.until("its page", lambda: browser.all(".run"))


def ends(browser, state):
    """Waits until the run that is open has ended so."""
    ended = browser.until("the end", lambda: browser.all(".run:not([data-state=playing])"), 120)
    claim(ended[0].get_attribute("data-state") == state, browser.text())


def stopped(browser):
    """While one plays no other can be started, and one that would take five minutes can be stopped."""
    start(browser, "network")
    browser.until("what the site says", lambda: browser.all(".facts"))
    browser.look_at("run-playing")
    run = browser.path()
    browser.open("/scenarios")
    claim(not browser.all(".scenarios button:enabled"), "while one plays there is a button that can be pressed")
    claim(browser.all(f".notice a[href='{run}']"), "the scenarios do not lead to the run that plays")
    browser.look_at("scenarios-playing")
    # As from a page that is older than the run.
    browser.run("document.querySelector(\"form[action='/scenarios/now'] button\").disabled = false")
    browser.find("form[action='/scenarios/now'] button").click()
    browser.until("the refusal", lambda: browser.all(f".empty a[href='{run}']"))
    browser.look_at("scenarios-refused")
    browser.find(f".empty a[href='{run}']").click()
    browser.until("the run", lambda: browser.all(f"form[action='{run}/stop'] button"))[0].click()
    ends(browser, "stopped")
    browser.look_at("run-stopped")


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

    browser.open("/")
    shows(browser, "compliant")
    turns_red_within_a_poll(browser)
    browser.look_at("fleet-red")
    browser.open(f"/sites/{SITE}")
    why = browser.until("why it is not healed", lambda: browser.text(".notice.unsure"))
    claim("Why not now" in why and "window" in why, f"the site's page tells why it is not healed: {why}")
    card = browser.text("#check-services")
    claim("imaging.service" in card and "active" in card, f"the card tells what is expected and what is: {card}")
    browser.look_at("site-red")

    start(browser, "now")
    ends(browser, "as-expected")
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
    stopped(browser)
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
