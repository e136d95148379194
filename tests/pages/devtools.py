"""A page in Chromium, with real keys, clicks, wheels and fingers, through the pipe of the DevTools protocol."""

import base64
import json
import os
import select
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.pages.browser import CHROMIUM

KEYS = {
    " ": ("Space", 32),
    "ArrowLeft": ("ArrowLeft", 37),
    "ArrowUp": ("ArrowUp", 38),
    "ArrowRight": ("ArrowRight", 39),
    "ArrowDown": ("ArrowDown", 40),
    "Tab": ("Tab", 9),
    "Enter": ("Enter", 13),
}


class Tab:
    """One page, opened and loaded.

    Attributes:
        console: what the page, or the browser about it, wrote to the console.
        requests: the addresses that it asked for, but for those that contain their own data.
    """

    def __init__(self, folder: Path, page: Path, *, width: int = 1280, height: int = 900, touch: bool = False):
        self.console: list[str] = []
        self.requests: list[str] = []
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        ours, theirs = os.pipe(), os.pipe()
        assert CHROMIUM is not None
        command = [
            CHROMIUM,
            "--headless=new",
            # Chromium has no sandbox for root, as which containers run.
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={folder / 'profile'}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # Chromium reads commands from the third file and writes answers to the fourth.
        script = f"exec {shlex.join(command)} 3<&{ours[0]} 4>&{theirs[1]}"
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._write, self._read = ours[1], theirs[0]
        (target,) = (t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        if touch:
            self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        self.send("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        try:
            self.send("Browser.close")
        finally:
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns the browser's answer to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def evaluate(self, expression: str) -> Any:
        """Returns what an expression of JavaScript gives in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> None:
        """Waits until an expression of JavaScript is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not true after {seconds} s: {expression}"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Presses and releases a key."""
        code, number = KEYS.get(key) or (f"Key{key.upper()}", ord(key.upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        known = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", **known, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **known)

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """Returns a point of an element on the screen, after scrolling to it: (0, 0) is its upper left corner."""
        left, top, width, height = self.evaluate(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              element.scrollIntoView({{block: "center", behavior: "instant"}});
              const box = element.getBoundingClientRect();
              return [box.left, box.top, box.width, box.height];
            }})()"""
        )
        assert width > 0, f"{selector} is not shown"
        assert height > 0, f"{selector} is not shown"
        return left + x * width, top + y * height

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Clicks on a point of an element."""
        at = self.place(selector, x, y)
        self._mouse("mouseMoved", at)
        self._mouse("mousePressed", at, button="left", buttons=1, clickCount=1)
        self._mouse("mouseReleased", at, button="left", clickCount=1)

    def drag(self, selector: str, by: tuple[float, float]) -> None:
        """Moves the mouse from the middle of an element with its button pressed."""
        x, y = self.place(selector)
        self._mouse("mousePressed", (x, y), button="left", buttons=1, clickCount=1)
        self._mouse("mouseMoved", (x + by[0], y + by[1]), button="left", buttons=1)
        self._mouse("mouseReleased", (x + by[0], y + by[1]), button="left", clickCount=1)

    def wheel(self, selector: str, down: float) -> None:
        """Turns the wheel over an element."""
        self._mouse("mouseWheel", self.place(selector), deltaX=0, deltaY=down)

    def swipe(self, selector: str, by: float) -> None:
        """Moves a finger across an element, by px to the right."""
        x, y = self.place(selector)
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x + by, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def _mouse(self, kind: str, at: tuple[float, float], **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **more)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], 60)
            assert ready, "Chromium does not answer"
            read = os.read(self._read, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.console.append(str(said["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(said["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.console.append(str(said["entry"]))
        elif event.get("method") == "Network.requestWillBeSent" and not said["request"]["url"].startswith("data:"):
            self.requests.append(said["request"]["url"])
