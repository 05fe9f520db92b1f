"""Headless Chromium, for tests of pages and for their pictures."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def dom(page: Path, width: int = 1200, dark: bool = False) -> str:
    """The page as it is after its scripts ran."""
    return _run(page, width, 900, dark, "--dump-dom")


def screenshot(page: Path, picture: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
    """Write a picture of the top of the page."""
    _run(page, width, height, dark, f"--screenshot={picture}")


def _run(page: Path, width: int, height: int, dark: bool, action: str) -> str:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "--force-device-scale-factor=1"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *(action, page.absolute().as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    return done.stdout
