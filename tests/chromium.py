"""A real browser for tests: headless Chromium, spoken to over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    "--remote-allow-origins=*", "--hide-scrollbars",
)  # fmt: skip


def find_browser() -> str | None:
    """Return the path of a Chromium, or nothing."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of the browser; collects what goes wrong on it and what it asks for."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.errors: list[str] = []
        self.failed: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; note the events that come before it."""
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            text = await self._socket.read_message()
            if text is None:
                raise ConnectionError("the browser closed the connection")
            message = json.loads(text)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._note(message.get("method", ""), message.get("params", {}))

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def open(self, url: str, until: str = "document.readyState === 'complete'", seconds: float = 120.0) -> None:
        """Open an address and wait until a JavaScript condition holds."""
        for domain in ("Runtime", "Log", "Network", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.until(f"document.URL !== 'about:blank' && ({until})", seconds)

    async def until(self, condition: str, seconds: float = 120.0) -> None:
        """Wait until a JavaScript condition holds; raises `TimeoutError` where it never does."""
        async with asyncio.timeout(seconds):
            while not await self.evaluate(condition):
                await asyncio.sleep(0.05)

    async def emulate(self, scheme: str, width: int = 1200, height: int = 900, media: str = "") -> None:
        """Show the page in the light or the dark scheme, in a window of that size, or as it is printed."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features, media=media)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def screenshot(self, path: Path) -> Path:
        """Save a picture of the whole page."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown" or (
            method == "Runtime.consoleAPICalled" and parameters.get("type") in ("error", "warning", "assert")
        ):
            self.errors.append(json.dumps(parameters)[:500])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(json.dumps(parameters["entry"])[:500])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Network.loadingFailed" and not parameters.get("canceled"):
            self.failed.append(json.dumps(parameters)[:500])
        elif method == "Network.responseReceived" and parameters["response"]["status"] >= 400:
            self.failed.append(f"{parameters['response']['status']} {parameters['response']['url']}")


@asynccontextmanager
async def browser_page(binary: str, profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own and give its page; end it, whatever happens."""
    log = (profile.parent / "chromium.log").open("wb")
    arguments = [binary, *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(arguments, stderr=log, stdout=log, start_new_session=True)
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        socket = await websocket_connect(await _target(port), max_message_size=2**28)
        try:
            yield Page(socket)
        finally:
            socket.close()
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        log.close()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    async with asyncio.timeout(120):
        while not (file.exists() and file.read_text().strip()):
            if process.poll() is not None:
                raise RuntimeError(f"the browser ended with status {process.returncode}")
            await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])


async def _target(port: int) -> str:
    from tornado.httpclient import AsyncHTTPClient

    async with asyncio.timeout(120):
        while True:
            answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json")
            pages = [t for t in json.loads(answer.body) if t["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
