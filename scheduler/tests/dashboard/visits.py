"""What people do with the dashboard, one visit each. `c` is a cluster whose workers are at work."""

import os
import re

import checks
from browser import URL, Visitor
from playwright.sync_api import Browser, Page, expect

# A machine may be busy with other tests.
expect.set_options(timeout=30_000)

ADMIN, OPERATOR, VIEWER = (os.environ[f"RINGVAULT_{name}"] for name in ("ADMIN", "OPERATOR", "VIEWER"))
# On another host than the scheduler, as a browser sees it.
PROVIDER = os.environ["RINGVAULT_PROVIDER"]
SCREENS = {
    "/ui/fleet": "Fleet",
    "/ui/clusters/c": "c",
    "/ui/clusters/orders-prod": "orders-prod",
    "/ui/jobs": "Jobs",
    "/ui/restore?cluster=orders-prod": "Restore",
    "/ui/storage": "Storage",
    "/ui/storage?cluster=orders-prod": "Storage of orders-prod",
    "/ui/evidence": "Evidence",
}


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def state(page: Page, word: str) -> None:
    """The job's state, in the facts at its top."""
    expect(page.locator("dl.facts").first.locator("dd").first).to_contain_text(word, timeout=60_000)


def signing_in_keeps_the_token_nowhere(browser: Browser) -> None:
    visitor = Visitor(browser)
    page = visitor.page
    page.goto("/")
    expect(page).to_have_url(f"{URL}/ui/fleet")
    token = page.get_by_label("Access token")
    expect(token).to_be_focused()
    token.fill("rv_wrong")
    press(page, "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
    token.fill(OPERATOR)
    token.press("Enter")
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
    expect(page.locator(".who")).to_contain_text("sre operator")
    (cookie,) = visitor.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    for secret in (OPERATOR, cookie["value"]):
        assert secret not in page.content()
    press(page, "Sign out")
    expect(page.get_by_label("Access token")).to_be_visible()
    assert not visitor.context.cookies()
    page.goto("/ui/jobs")
    expect(page.get_by_label("Access token")).to_be_visible()
    visitor.close()


def signing_in_at_the_provider_and_back(browser: Browser) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    for person, options in (("anna", {}), ("ben", {**phone, "color_scheme": "dark"})):
        visitor = Visitor(browser, **options)
        page = visitor.page
        page.goto("/ui/jobs?state=failed")
        way = page.get_by_role("link", name="Sign in with Example")
        expect(way).to_be_visible()
        _looks_well(page)
        # By keyboard: it comes after the token and its button.
        expect(page.get_by_label("Access token")).to_be_focused()
        for _ in range(2):
            page.keyboard.press("Tab")
        expect(way).to_be_focused()
        page.keyboard.press("Enter")
        _log_in(page, person)
        expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
        expect(page).to_have_url(f"{URL}/ui/jobs?state=failed")
        name, role = {"anna": ("anna@example.com", "operator"), "ben": ("ben", "viewer")}[person]
        expect(page.locator(".who")).to_contain_text(f"{name} {role}")
        (cookie,) = (cookie for cookie in visitor.context.cookies(URL))
        assert cookie["name"] == "ringvault_session" and cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
        assert page.evaluate("document.cookie") == ""
        _at_home(visitor)
        press(page, "Sign out")
        expect(way).to_be_visible()
        visitor.close()


def who_may_do_nothing_is_told_so(browser: Browser) -> None:
    for options in ({}, {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}):
        visitor = Visitor(browser, **options)
        page = visitor.page
        page.goto("/ui/fleet")
        page.get_by_role("link", name="Sign in with Example").click()
        _log_in(page, "carl")
        expect(page.get_by_role("heading", name="You are not signed in", level=1)).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("carl@example.com is in no group that may do anything here")
        _looks_well(page)
        assert not visitor.context.cookies(URL)
        page.get_by_role("link", name="Back to signing in").click()
        expect(page.get_by_label("Access token")).to_be_visible()
        _at_home(visitor)
        visitor.close()


def _log_in(page: Page, person: str) -> None:
    """At the provider."""
    page.locator('input[name="login"]').fill(person)
    page.locator('input[name="password"]').fill("any")
    page.get_by_role("button", name="Sign-in").click()


def _looks_well(page: Page) -> None:
    wrong = page.evaluate(checks.NAMES) + page.evaluate(checks.CONTRAST)
    assert not wrong, f"{page.url}: {wrong}"
    wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{page.url} is {wide} px too wide"


def _at_home(visitor: Visitor) -> None:
    """What Chromium thinks of the provider's pages is the provider's."""
    visitor.complaints = [line for line in visitor.complaints if not line.startswith(PROVIDER)]


def every_screen_says_its_age_and_its_command(browser: Browser) -> None:
    visitor = Visitor(browser, VIEWER)
    page = visitor.page
    for path, heading in SCREENS.items():
        visitor.go(path, heading)
        expect(page.locator(".fresh .age")).to_have_text(re.compile(r"Read \d\d:\d\d:\d\d UTC, \d+s ago · "))
        expect(page.locator(".fresh code")).to_contain_text(re.compile("^ringvault "))
        expect(page).to_have_title(f"{heading} · Ringvault")
    visitor.close()


def the_fleet_shows_the_worst_first(browser: Browser) -> None:
    visitor = Visitor(browser, VIEWER)
    page = visitor.page
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(101)
    expect(rows.first).to_contain_text("unprotected")
    expect(page.locator(".servers")).to_contain_text("PostgreSQL")
    page.get_by_role("link", name=re.compile("cannot be restored")).click()
    expect(page).to_have_url(re.compile("show=unprotected"))
    expect(page.locator("a.tile[aria-current]")).to_contain_text("cannot be restored")
    expect(rows).not_to_have_count(101)
    for row in rows.all():
        expect(row).to_contain_text("never")
    page.get_by_role("link", name=re.compile("clusters$")).click()
    page.get_by_label("Cluster").fill("orders-pro")
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="orders-prod", exact=True).click()
    expect(page.get_by_role("heading", name="orders-prod", level=1)).to_be_visible()
    visitor.close()


def the_cluster_shows_what_can_be_restored_to_when(browser: Browser) -> None:
    visitor = Visitor(browser, VIEWER)
    page = visitor.page
    visitor.go("/ui/clusters/orders-prod", "orders-prod")
    days = page.locator(".calendar a.day")
    assert days.count() >= 90
    assert page.locator(".calendar a.day.ok").count() > 30
    last = page.locator('.calendar a.day[tabindex="0"]')
    last.focus()
    day = last.get_attribute("data-day")
    page.keyboard.press("ArrowLeft")
    focused = page.evaluate("document.activeElement.dataset.day")
    assert focused < day, (focused, day)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Backups of {focused}")).to_be_visible()
    expect(page.locator("#coverage tbody tr")).to_have_count(6)
    expect(page.locator("#policies")).to_contain_text("nightly-orders-prod")
    page.locator("#day tbody a").first.click()
    expect(page.get_by_role("heading", name="Nodes")).to_be_visible()
    visitor.close()


def a_backup_a_restore_and_a_cancel_by_mouse(browser: Browser) -> None:
    visitor = Visitor(browser, OPERATOR)
    page = visitor.page
    visitor.go("/ui/clusters/c", "c")
    press(page, "Back up now…")
    press(page, "Back up")
    expect(page.get_by_role("heading", name="Backup of c")).to_be_visible()
    expect(page.locator(".fresh .age")).to_contain_text("live")
    expect(page.locator(".stages li.open")).to_contain_text("upload")
    expect(page.locator("#now tbody tr")).to_have_count(3)
    state(page, "succeeded")
    expect(page.locator("#outcome")).to_contain_text("complete")
    name = page.locator("dl.facts").first.get_by_role("link", name=re.compile("^c-")).inner_text()

    page.get_by_role("link", name="Restore", exact=True).click()
    page.get_by_label("Cluster that was backed up").select_option("c")
    expect(page.get_by_role("combobox", name="Backup", exact=True)).to_have_value(name)
    page.get_by_label("Under other names").fill("k.t=k.t_old")
    beside = f"ringvault restore plan --from {name} --to c --table k.t --rename k.t=k.t_old"
    expect(page.locator(".same-plan code")).to_have_text(beside)
    page.get_by_label("Under other names").fill("")
    page.get_by_label("Empty the target’s tables first").check()
    expect(page.locator(".same-plan code")).to_have_text(f"ringvault restore plan --from {name} --to c --truncate")
    press(page, "Plan")
    expect(page.get_by_role("heading", name="Restore plan: c to c")).to_be_visible()
    state(page, "succeeded")
    expect(page.locator("#plan")).to_contain_text("is sealed")
    press(page, "Run this restore…")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("only go on, not back")
    run = dialog.get_by_role("button", name="Restore", exact=True)
    expect(run).to_be_disabled()
    dialog.get_by_label(re.compile("^Type c to confirm")).fill("c")
    run.click()
    expect(page.get_by_role("heading", name="Restore: c to c")).to_be_visible()
    expect(page.locator(".stages")).to_contain_text("truncate")
    state(page, "succeeded")
    expect(page.get_by_role("heading", name="Did it match?")).to_be_visible()
    expect(page.locator("#outcome")).to_contain_text("yes")
    assert "/ui/restore/" in page.url

    visitor.go("/ui/clusters/c", "c")
    press(page, "Back up now…")
    press(page, "Back up")
    expect(page.locator(".stages li.open")).to_contain_text("upload")
    press(page, "Limit…")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("code")).to_contain_text("ringvault job limit ")
    dialog.get_by_label("MiB a second").fill("20")
    dialog.get_by_label("Requests a second").fill("150")
    press(page, "Set")
    said = page.locator("dl.facts").first
    expect(said).to_contain_text(re.compile(r"at most 20(\.0)? MiB a second, at most 150 requests a second"))
    press(page, "Limit…")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Requests a second")).to_have_value("150")
    dialog.get_by_label("MiB a second").fill("")
    press(page, "Set")
    expect(said).to_contain_text("at most 150 requests a second, no limit of bytes")
    press(page, "Cancel…")
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("ringvault job cancel ")
    press(page, "Cancel")
    state(page, "cancelled")

    page.get_by_role("link", name="Evidence").click()
    rows = page.locator("#log tbody tr")
    expect(rows.nth(0)).to_contain_text("told to cancel")
    expect(rows.nth(0)).to_contain_text("token sre")
    expect(rows.nth(1)).to_contain_text("restored")
    expect(rows.nth(1)).to_contain_text("read back")
    page.get_by_role("link", name="restored", exact=True).click()
    expect(page).to_have_url(re.compile("kind=restored"))
    expect(rows.first).to_contain_text(name)
    visitor.close()


def a_role_is_offered_what_it_may_do(browser: Browser) -> None:
    visitor = Visitor(browser, VIEWER)
    page = visitor.page
    visitor.go("/ui/clusters/orders-prod", "orders-prod")
    expect(page.get_by_role("button", name=re.compile("Back up|Pause"))).to_have_count(0)
    visitor.go("/ui/restore", "Restore")
    expect(page.get_by_text("Ask an operator")).to_be_visible()
    visitor.close()
    visitor = Visitor(browser, OPERATOR)
    visitor.go("/ui/storage?cluster=orders-prod", "Storage of orders-prod")
    expect(visitor.page.get_by_role("button", name=re.compile("Purge"))).to_have_count(0)
    visitor.close()
    visitor = Visitor(browser, ADMIN)
    page = visitor.page
    visitor.go("/ui/storage?cluster=orders-prod", "Storage of orders-prod")
    press(page, "Purge now…")
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Purge", exact=True)
    expect(go).to_be_disabled()
    dialog.get_by_role("textbox").fill("orders-pro")
    expect(go).to_be_disabled()
    dialog.get_by_role("textbox").fill("orders-prod")
    expect(go).to_be_enabled()
    press(page, "Back")
    expect(dialog).to_have_count(0)
    visitor.close()


def refusals_are_said_where_they_happen(browser: Browser) -> None:
    visitor = Visitor(browser, OPERATOR)
    page = visitor.page
    visitor.go("/ui/restore?cluster=orders-prod", "Restore")
    page.get_by_label("Tables", exact=True).fill("no-full-name")
    press(page, "Plan")
    expect(page.get_by_role("alert")).to_contain_text("KEYSPACE.TABLE")
    expect(page.get_by_label("Tables", exact=True)).to_have_value("no-full-name")
    visitor.go("/ui/jobs/00000000", "Job 00000000")
    expect(page.locator(".trouble")).to_contain_text("RV-JOB-UNKNOWN")
    page.goto("/ui/nothing")
    expect(page.get_by_role("heading", name="There is no such screen")).to_be_visible()
    visitor.close()


def by_keyboard_alone(browser: Browser) -> None:
    visitor = Visitor(browser)
    page = visitor.page
    page.goto("/ui/fleet")
    expect(page.get_by_label("Access token")).to_be_focused()
    page.keyboard.type(OPERATOR)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_focused()
    page.reload()
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Cluster":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    visitor.go("/ui/clusters/c", "c")
    page.get_by_role("button", name="Back up now…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        # Within the dialog, or on the browser's own bars, which a test sees as the body.
        assert page.evaluate("!!document.activeElement.closest('dialog') || document.activeElement === document.body")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Back up now…")).to_be_focused()
    visitor.close()


def on_a_phone_nothing_is_cut_off(browser: Browser) -> None:
    visitor = Visitor(browser, ADMIN, viewport={"width": 360, "height": 740}, has_touch=True)
    for path, heading in SCREENS.items():
        visitor.go(path, heading)
        wide = visitor.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    visitor.close()


def everything_has_a_name_and_can_be_read(browser: Browser) -> None:
    for scheme in ("light", "dark"):
        visitor = Visitor(browser, ADMIN, color_scheme=scheme)
        for path, heading in SCREENS.items():
            visitor.go(path, heading)
            wrong = visitor.page.evaluate(checks.NAMES) + visitor.page.evaluate(checks.CONTRAST)
            assert not wrong, f"{path} in {scheme}: {wrong}"
        back = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(20, 24, 26)") == (scheme == "dark"), back
        visitor.close()


def what_cannot_be_read_again_stays_and_says_so(browser: Browser) -> None:
    visitor = Visitor(browser, VIEWER)
    page = visitor.page
    page.route("**/v1/status", lambda route: route.abort())
    press(page, "Read again")
    expect(page.locator(".trouble")).to_contain_text("the scheduler does not answer")
    expect(page.locator("tbody tr")).to_have_count(101)
    page.unroute("**/v1/status")
    press(page, "Read again")
    expect(page.locator(".trouble")).to_have_count(0)
    visitor.complaints = [line for line in visitor.complaints if "ERR_FAILED" not in line]
    visitor.close()


ALL = [
    signing_in_keeps_the_token_nowhere,
    signing_in_at_the_provider_and_back,
    who_may_do_nothing_is_told_so,
    every_screen_says_its_age_and_its_command,
    the_fleet_shows_the_worst_first,
    the_cluster_shows_what_can_be_restored_to_when,
    a_backup_a_restore_and_a_cancel_by_mouse,
    a_role_is_offered_what_it_may_do,
    refusals_are_said_where_they_happen,
    by_keyboard_alone,
    on_a_phone_nothing_is_cut_off,
    everything_has_a_name_and_can_be_read,
    what_cannot_be_read_again_stays_and_says_so,
]
