"""Chromium with a watch on it: whatever a page complains of is a failure."""

import os
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Route

URL = os.environ["RINGVAULT_URL"]
# For whoever works on the pages: their files from this folder rather than from the program.
ASSETS = os.environ.get("RINGVAULT_ASSETS")

_WATCH = """document.addEventListener('securitypolicyviolation', (event) =>
    console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} ${event.sample}`));"""


def start(playwright: Playwright) -> Browser:
    program = shutil.which("chromium")
    if not program:
        raise SystemExit("there is no chromium. Next: dev/lab tool browser")
    # Its own sandbox cannot be had as root; all it opens is our own.
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])


class Visitor:
    """Somebody with a browser of their own."""

    def __init__(self, browser: Browser, token: str | None = None, **options: Any) -> None:
        self.complaints: list[str] = []
        self.context = browser.new_context(base_url=URL, **{"viewport": {"width": 1366, "height": 900}, **options})
        self.context.set_default_timeout(30_000)
        self.context.add_init_script(_WATCH)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: {error}"))
        if ASSETS:
            self.page.route("**/ui/**", self._from_folder)
        if token:
            self.page.goto("/ui/fleet")
            self.page.get_by_label("Access token").fill(token)
            self.page.get_by_role("button", name="Sign in").click()
            self.page.get_by_role("heading", name="Fleet").wait_for()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        # That nobody is signed in yet is an answer, but Chromium calls it an error; so it does a refusal.
        address = message.location.get("url", "")
        if "Failed to load resource" in message.text and address.startswith(f"{URL}/v1/"):
            return
        self.complaints.append(f"{self.page.url}: {message.text}")

    def _from_folder(self, route: Route) -> None:
        answer = route.fetch()
        name = answer.url.partition("/ui/assets/")[2] or "index.html"
        file = Path(ASSETS or "") / name
        headers = {key: value for key, value in answer.headers.items() if key not in ("content-length", "etag")}
        if name.endswith(".js"):
            headers["content-type"] = "text/javascript"
        elif name.endswith(".css"):
            headers["content-type"] = "text/css"
        route.fulfill(status=200, headers=headers, body=file.read_bytes()) if file.exists() else route.fulfill(
            response=answer
        )

    def go(self, path: str, heading: str) -> None:
        self.page.goto(path)
        self.page.get_by_role("heading", name=heading, level=1).wait_for()
        self.settled()

    def settled(self) -> None:
        """What the screen shows has been read."""
        self.page.get_by_text("Reading…").first.wait_for(state="detached")

    def close(self) -> None:
        self.context.close()
        if self.complaints:
            raise AssertionError("the browser complains: " + "; ".join(self.complaints))
