"""A real browser without a window, for tests of pages."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium (or google-chrome) and chromedriver on the PATH"
)


@contextmanager
def open_browser() -> Iterator[Chrome]:
    """Yields a browser that keeps what it asks for and complains about."""
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # the browser refuses to sandbox itself as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(300)  # axe, on a busy machine
    try:
        yield driver
    finally:
        driver.quit()


def open_page(browser: Chrome, file: Path, width: int, scheme: str = "light", query: str = "") -> None:
    """Opens a file on a screen of that width, for a reader who prefers `light` or `dark`."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(f"{file.as_uri()}{query}")


def asked(browser: Chrome) -> list[str]:
    """The addresses that pages asked for since the last call, without those that hold a picture themselves."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [address for address in sent if not address.startswith("data:image/svg+xml,")]
