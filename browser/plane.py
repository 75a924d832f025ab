"""A control plane with a made-up fleet, as a process of its own."""

import json
import pathlib
import ssl
import subprocess
import time
import urllib.request


class Plane:
    """`target` is cargo's folder, with the binaries and the example `fleet` in `debug`."""

    def __init__(self, target, folder):
        self.bin = pathlib.Path(target).resolve() / "debug"
        self.folder = pathlib.Path(folder) / "plane"
        subprocess.run([self.bin / "examples/fleet", self.folder], check=True)
        config = self.folder / "mcp.toml"
        self.log = open(pathlib.Path(folder) / "mcp.log", "w")
        self.server = subprocess.Popen(
            [self.bin / "compliance-mcp", "serve", "--config", config], stdin=subprocess.DEVNULL, stderr=self.log)
        try:
            self.listening = self.wait()
        except BaseException:
            self.server.kill()
            raise
        operator = self.listening["operator"]
        (self.folder / "compliancectl.toml").write_text(
            f'mcp = "https://{operator}"\nca = "offline/ca.pem"\n'
            'cert = "offline/operator-admin.pem"\nkey = "offline/operator-admin.key"\n')

    def wait(self):
        file = self.folder / "data/listening.json"
        for _ in range(600):
            if file.exists():
                return json.loads(file.read_text())
            if self.server.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the control plane did not start: see its log")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait(40)

    @property
    def console(self):
        return f"http://{self.listening['console']}"

    def ctl(self, *arguments):
        """Runs compliancectl and returns what it says."""
        command = [self.bin / "compliancectl", "--config", self.folder / "compliancectl.toml", "--json", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True)
        return json.loads(done.stdout)

    def as_live(self, path, body=None):
        """What the control plane answers the site `clinic-live`."""
        live = self.folder / "live"
        trust = ssl.create_default_context(cafile=self.folder / "offline/ca.pem")
        trust.load_cert_chain(live / "tls.pem", live / "tls.key")
        request = urllib.request.Request(
            f"https://{self.listening['appliance']}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=trust) as answer:
            return json.load(answer)

    def upload(self, name):
        """Uploads what the site `clinic-live` has to say: `drifted` or `healed`."""
        results = self.as_live("/api/v1/evidence?log=0", (self.folder / f"live/{name}.json").read_bytes())["results"]
        if [result["status"] for result in results] != ["stored"]:
            raise RuntimeError(f"the upload was not stored: {results}")

    def poll(self):
        """The site `clinic-live` asks for orders."""
        self.as_live(f"/api/v1/orders?after=0&nonce={'00' * 16}&log=0&pending=2")

    def register(self):
        """Registers the site `clinic-new`."""
        trust = self.folder / "live/clinic-new.dsse.json"
        command = [self.bin / "compliancectl", "--config", self.folder / "compliancectl.toml",
                   "site", "register", "clinic-new", "--trust", trust]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def code(self):
        return self.ctl("console")["code"]
