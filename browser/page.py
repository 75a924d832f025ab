"""A headless Chromium that looks at the console: logging in, looking for faults, taking pictures.

Whoever tests pages of the console takes `Browser` from here.
"""

import base64
import contextlib
import importlib.util
import json
import pathlib
import re
import subprocess
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PATIENCE = 30  # seconds

# Faults that a person with a disability would be stopped or hindered by.
SERIOUS = {"serious", "critical"}

# How people look at a page.
LOOKS = [
    ("light", dict(width=1360, height=900, dark=False)),
    ("dark", dict(width=1360, height=900, dark=True)),
    ("narrow", dict(width=390, height=844, dark=False)),
    ("narrow-dark", dict(width=390, height=844, dark=True)),
]

# Runs before every page's own scripts: what the policy refuses is remembered.
WATCH = """
window.refused = [];
addEventListener("securitypolicyviolation", (e) => refused.push(`${e.violatedDirective}: ${e.blockedURI}`));
"""


class Fault(AssertionError):
    """Something is not as it must be."""


def axe_script():
    """The text of axe-core, as its Python package has it."""
    package = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    return (pathlib.Path(package) / "axe.min.js").read_text()


def claim(holds, words):
    """Demands that something holds."""
    if not holds:
        raise Fault(words)


class Browser:
    """One Chromium. Whatever a page did wrong is in `faults`, each with the page's address."""

    def __init__(self, base, pictures=None):
        options = webdriver.ChromeOptions()
        for switch in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService("/usr/bin/chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        self.base = base.rstrip("/")
        self.pictures = pictures and pathlib.Path(pictures)
        self.axe = axe_script()
        self.faults = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def open(self, path):
        self.collect()
        self.driver.get(self.base + path)

    def path(self):
        return self.driver.current_url.removeprefix(self.base)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector="body"):
        return self.find(selector).text

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, what, holds, patience=PATIENCE):
        """Waits until `holds()` is true of the page, which may change meanwhile; returns what it said."""
        end = time.monotonic() + patience
        while True:
            try:
                if said := holds():
                    return said
            except Exception as error:  # The page is just being replaced.
                last = error
            else:
                last = None
            if time.monotonic() > end:
                raise Fault(f"{what}: not within {patience} s at {self.path()}; {last or self.text()[:2000]}")
            time.sleep(0.05)

    def log_in(self, code):
        """Types a code of `compliancectl console` into the login page."""
        self.open("/login")
        self.find("#code").send_keys(code, Keys.ENTER)
        self.until("a session", lambda: self.all("form[action='/logout']"))

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.driver.switch_to.active_element

    @contextlib.contextmanager
    def before_scripts(self, script):
        """Runs a script before those of every page that is opened meanwhile."""
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        yield
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    def live(self):
        """Waits until the page that is open keeps itself up to date."""
        self.until("the page is live", lambda: self.text("#live") == "live")

    def look(self, width=1360, height=900, dark=False):
        """Sets the size of the window and whether the person wants it dark."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        scheme = "dark" if dark else "light"
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def picture(self, name):
        """Takes a picture of the whole page, if there is a folder for it."""
        if not self.pictures:
            return
        self.pictures.mkdir(parents=True, exist_ok=True)
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (self.pictures / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def check_accessibility(self):
        """Asks axe-core; what is serious or critical is a fault."""
        # By the debugging protocol: the page's policy lets nothing of ours in otherwise.
        self.run(self.axe)
        result = self.driver.execute_async_script("""
            const done = arguments[arguments.length - 1];
            axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }).then(done);
        """)
        if not result["passes"]:
            raise Fault(f"axe looked at nothing at {self.path()}")
        for fault in result["violations"]:
            where = "; ".join(node["html"][:160] + " " + node.get("failureSummary", "")[:300] for node in fault["nodes"][:3])
            words = f"axe, {fault['impact']}: {fault['id']}: {fault['help']}: {where}"
            if fault["impact"] in SERIOUS:
                self.faults.append((self.path(), words))
            else:
                print(f"note: {self.path()}: {words}")

    def check_width(self):
        """The page itself is never wider than the window."""
        wide, window = self.run("return [document.documentElement.scrollWidth, innerWidth]")
        if wide > window:
            self.faults.append((self.path(), f"the page is {wide} wide in a window of {window}"))

    def collect(self):
        """Adds what the page did wrong to `faults`: refused by its policy, errors, requests to others."""
        where = self.path()
        if not where.startswith("/"):
            return
        for refused in self.run("return window.refused ?? []"):
            self.faults.append((where, f"refused by the policy: {refused}"))
        for entry in self.driver.get_log("browser"):
            # A status is an answer, which the tests ask about themselves.
            if entry["level"] == "SEVERE" and "the server responded with a status" not in entry["message"]:
                self.faults.append((where, f"console: {entry['message']}"))
        for entry in self.driver.get_log("performance"):
            if '"Network.requestWillBeSent"' not in entry["message"]:
                continue
            url = json.loads(entry["message"])["message"]["params"]["request"]["url"]
            if not url.startswith((self.base + "/", "data:", "about:")):
                self.faults.append((where, f"a request to another host: {url}"))

    def no_faults(self):
        self.collect()
        if self.faults:
            raise Fault("\n".join(f"{where}: {what}" for where, what in self.faults))

    def look_at(self, name):
        """Every look of the page that is open: no fault in any, and a picture of each."""
        for look, how in LOOKS:
            self.look(**how)
            self.check_width()
            self.check_accessibility()
            self.picture(f"{name}-{look}")
        self.look()
        self.no_faults()
        print(f"looked at {name} in {len(LOOKS)} ways", flush=True)

    def fetch(self, url):
        """Asks for something with the session that the browser has."""
        cookie = self.driver.get_cookie("compliance_console")["value"]
        request = urllib.request.Request(url, headers={"Cookie": f"compliance_console={cookie}"})
        return urllib.request.urlopen(request)

    def verify_with_openssl(self, folder):
        """Runs the line of the bundle's page that is open on what the page offers to download."""
        for link in self.all(".files a"):
            url = link.get_attribute("href")
            with self.fetch(url) as answer:
                (folder / url.rsplit("/", 1)[1]).write_bytes(answer.read())
        line = self.text("#openssl")
        claim(re.fullmatch(r"openssl pkeyutl [-\w. ]+", line), f"a plain command: {line}")
        said = subprocess.run(line.split(), cwd=folder, capture_output=True, text=True)
        claim(said.returncode == 0 and "Verified Successfully" in said.stdout, f"openssl said {said}")
        bundle = next(path for path in folder.glob("*.json") if not path.name.endswith(".dsse.json"))
        bundle.write_bytes(bundle.read_bytes().replace(b'"duration_ms":', b'"duration_ms":1', 1))
        said = subprocess.run(line.split(), cwd=folder, capture_output=True, text=True)
        claim(said.returncode == 1, f"openssl takes a bundle that was changed: {said}")
