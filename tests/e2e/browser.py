"""A real browser for pages: Debian's Chromium, driven over WebDriver with the standard library alone."""

import base64
import json
import shutil
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import until
from world.ports import free_ports

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"]


class Browser:
    """One window."""

    def __init__(self, driver: str, profile: str) -> None:
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.driver = driver
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{made['sessionId']}"
        # A new window opens Chromium's own page first; what that asks for is not ours.
        self._ask("POST", f"{self.session}/url", {"url": "about:blank"})
        self.logged("browser"), self.logged("performance")

    def _ask(self, method: str, path: str, body: dict | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.driver + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def tell(self, command: str, **parameters: Any) -> Any:
        """Gives a command of the DevTools protocol."""
        return self._ask("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def show(self, page: Path, scheme: str = "light", width: int = 1280) -> None:
        """Opens a file in a colour scheme, at a width."""
        height = 740 if width < 600 else 900
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self._ask("POST", f"{self.session}/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        """Runs a script in the page and returns what it returns. DevTools runs it, whatever the page itself allows."""
        return self._ask("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def logged(self, kind: str) -> list[dict]:
        """What was logged since it was last asked: `browser` (the console) or `performance` (DevTools events)."""
        return self._ask("POST", f"{self.session}/se/log", {"type": kind})

    def requests(self) -> list[str]:
        """Addresses that the page has asked for since it was last asked."""
        events = [json.loads(each["message"])["message"] for each in self.logged("performance")]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Closes the window."""
        self._ask("DELETE", self.session)


@contextmanager
def browsing():
    """A browser that lives as long as the block, with a profile of its own."""
    (port,) = free_ports(1)
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/status", timeout=5) as answer:
                return json.loads(answer.read())["value"]["ready"]
        except OSError:
            return False

    try:
        until("chromedriver", ready)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(address, profile)
            try:
                yield browser
            finally:
                browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)
