"""A headless Chromium, driven by chromedriver in the protocol that all browsers share (W3C WebDriver)."""

import base64
import shutil

import httpx

from .process import Process, clean_environment, free_port, short_directory, wait_until

AVAILABLE = bool(shutil.which("chromedriver") and shutil.which("chromium"))


class Browser:
    def __init__(self, width=1280, height=1500):
        self.directory = short_directory()
        port = free_port()
        # Chromium wants a home of its own for its profile.
        self.process = Process("chromedriver", ["chromedriver", f"--port={port}"], self.directory / "chromedriver.log",
                               clean_environment(HOME=self.directory))
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
        wait_until(self._is_ready, "chromedriver")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
                     f"--user-data-dir={self.directory}/profile", f"--window-size={width},{height}"]
        capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": arguments},
                                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}
        self.session = "/session/" + self._ask("POST", "/session", capabilities=capabilities)["sessionId"]

    def _is_ready(self):
        try:
            return self.http.get("/status").json()["value"]["ready"]
        except httpx.HTTPError:
            return False

    def _ask(self, method, path, **body):
        answer = self.http.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url):
        self._ask("POST", self.session + "/url", url=url)

    def run(self, script):
        return self._ask("POST", self.session + "/execute/sync", script=script, args=[])

    def text(self):
        return self.run("return document.body.innerText")

    def theme(self, name):
        """What the system asks for: "light" or "dark"."""
        self._ask("POST", self.session + "/goog/cdp/execute", cmd="Emulation.setEmulatedMedia",
                  params={"features": [{"name": "prefers-color-scheme", "value": name}]})

    def picture(self, path=None):
        picture = base64.b64decode(self._ask("GET", self.session + "/screenshot"))
        if path:
            path.write_bytes(picture)
        return picture

    def complaints(self):
        """What the page wrote to the console: errors and broken rules."""
        return self._ask("POST", self.session + "/se/log", type="browser")

    def requests(self):
        """The URLs that the browser asked for."""
        import json

        urls = []
        for entry in self._ask("POST", self.session + "/se/log", type="performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return urls

    def stop(self):
        try:
            self._ask("DELETE", self.session)
        finally:
            self.http.close()
            self.process.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
