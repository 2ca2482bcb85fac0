"""Headless Chromium by chromedriver (W3C WebDriver), with the standard library alone; the fixture of tests that use it."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,900",
)
LOGS = {"browser": "ALL", "performance": "ALL"}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, WebDriver section 12
TAB, LEFT, RIGHT = "\ue004", "\ue012", "\ue014"


def missing() -> str:
    """Why there is no browser to test with; empty when there is one."""
    absent = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def is_required() -> bool:
    """Whether a missing browser is an error, as in continuous integration."""
    return bool(os.environ.get("HPCNAS_REQUIRE_BROWSER"))


class Browser:
    """One window. Every method is one WebDriver command."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="hpcnas-chromium-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._url = f"http://127.0.0.1:{self._port()}"
        options = {"args": [*FLAGS, f"--user-data-dir={self._profile.name}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": LOGS}
        try:
            answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self.close()
            raise
        self._url += f"/session/{answer['sessionId']}"

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                return int(found[1])
        raise RuntimeError("chromedriver ended before it listened")

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, page: Path) -> None:
        """Load a file and wait for its load event."""
        self._send("POST", "/url", {"url": page.absolute().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """The value that the JavaScript returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._send("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element that the CSS selector finds."""
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{found[ELEMENT]}/click", {})

    def type(self, selector: str, keys: str) -> None:
        """Focus an element and type into it."""
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{found[ELEMENT]}/value", {"text": keys})

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, in px."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        self._send("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: `browser` is the console, `performance` the network."""
        return list(self._send("POST", "/se/log", {"type": kind}))

    def requests(self) -> list[str]:
        """Addresses that the page asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """The window, or the whole page, as PNG."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))

    def _clip(self, whole: bool) -> dict[str, object]:
        if not whole:
            return {}
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def close(self) -> None:
        """End the browser and its driver."""
        if "/session/" in self._url:
            self._send("DELETE", "")
        self._driver.terminate()
        self._driver.communicate(timeout=20)
        self._profile.cleanup()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A window that the tests of a module share."""
    if reason := missing():
        if is_required():
            pytest.fail(reason)
        pytest.skip(reason)
    found = Browser()
    yield found
    found.close()
