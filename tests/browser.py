"""Headless Chromium, for tests of pages and for their pictures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


def dom(page: Path, width: int = 1200, dark: bool = False) -> str:
    """The page as it is after its scripts ran."""
    return _run(page, width, 900, dark, "--dump-dom")


def probe(page: Path, script: str, width: int = 1200, dark: bool = False) -> dict[str, Any]:
    """What a script says of the page: it runs behind the page's own, may `await`, and sets fields of `said`.

    `said.errors` are the errors of all scripts, and what they wrote to the console as such.
    """
    with _scripted(page, script) as probed:
        found = re.search(r'data-said="([^"]*)"', _run(probed, width, 900, dark, "--dump-dom"))
    assert found is not None, "the script did not come to its end"
    said: dict[str, Any] = json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
    return said


def screenshot(
    page: Path, picture: Path, width: int = 1200, height: int = 900, dark: bool = False, script: str = ""
) -> None:
    """Write a picture of the top of the page, as the script leaves it."""
    with _scripted(page, script) as prepared:
        _run(prepared, width, height, dark, f"--screenshot={picture}")


def quantize(picture: Path) -> None:
    """Make a picture small: text on plain ground needs few colours, and a repository keeps pictures for ever."""
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)


@contextmanager
def _scripted(page: Path, script: str) -> Iterator[Path]:
    """The page with a script behind its own."""
    listening = """<script>
        window.said = { errors: [] };
        addEventListener("error", (event) => said.errors.push(event.message));
        addEventListener("unhandledrejection", (event) => said.errors.push(String(event.reason)));
        console.error = (...words) => said.errors.push(words.join(" "));
    </script>"""
    saying = f"""<script>
        const run = async () => {{ {script} }};
        run().catch((error) => said.errors.push(error.stack)).finally(() => {{
            document.documentElement.dataset.said = JSON.stringify(said);
        }});
    </script>"""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        scripted = Path(folder) / page.name
        text = text.replace("<head>", f"<head>{listening}", 1).replace("</body>", f"{saying}</body>")
        scripted.write_text(text, encoding="utf-8")
        yield scripted


def _run(page: Path, width: int, height: int, dark: bool, action: str) -> str:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "--force-device-scale-factor=1"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *(action, "--virtual-time-budget=5000", page.absolute().as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    return done.stdout
