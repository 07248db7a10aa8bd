//! Whether the page can be read and used by everybody: by keyboard alone, in light and dark, in a narrow window; and how documents and
//! times are shown.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser::Page;
use crate::{OPERATOR, Site, VIEWER, visit};

/// What has the focus is seen to have it.
async fn assert_focus_is_seen(page: &Page) {
    let outline = page
        .value("(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()")
        .await;
    assert_eq!(outline, json!(true), "{}", page.focused().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_done_with_the_keyboard_alone() {
    let mut site = Site::open().await;
    site.touch("broken");
    for _ in 0..3 {
        site.publish("vm-running.xml").await;
    }
    site.until_in_state("failed", 3).await;
    std::fs::remove_file(site.house.path("broken")).expect("it was there");
    let page = site.browser.page().await;
    page.go(&site.origin()).await;
    page.until(
        "the field has the focus",
        "document.activeElement.name === 'token'",
    )
    .await;
    page.write(OPERATOR).await;
    page.press("Enter").await;
    page.until_in("#link", "live").await;
    page.until(
        "the heading has the focus",
        "document.activeElement.tagName === 'H1'",
    )
    .await;

    page.reload().await;
    page.until_in("h1", "Now").await;
    page.value("document.activeElement.blur()").await;
    page.tab_to("Skip to the content").await;
    assert_focus_is_seen(&page).await;
    page.press("Enter").await;
    assert_eq!(page.value("document.activeElement.id").await, "main");

    page.press("2").await;
    page.until_in("h1", "Executions").await;
    page.until_in(".list tbody tr", "3.register").await;
    page.press("/").await;
    assert_eq!(page.focused().await, "status");
    page.tab_to("3.register").await;
    assert_focus_is_seen(&page).await;
    for (key, row) in [
        ("j", "2.register"),
        ("ArrowDown", "1.register"),
        ("k", "2.register"),
        ("Home", "3.register"),
        ("End", "1.register"),
    ] {
        page.press(key).await;
        assert_eq!(page.focused().await, row, "after {key}");
    }
    // What comes meanwhile takes nobody's place.
    site.publish("vm-running.xml").await;
    page.until_in(".list tbody tr", "4.register").await;
    page.until_in(".list tbody tr", "succeeded").await;
    assert_eq!(page.focused().await, "1.register");
    page.press("Enter").await;
    page.until_in("h1", "1.register").await;
    page.tab_to("Retry").await;
    assert_focus_is_seen(&page).await;
    page.press("Enter").await;
    page.until("it is asked", "document.querySelector('dialog[open]')")
        .await;
    page.press("Escape").await;
    page.until("it is called off", "!document.querySelector('dialog')")
        .await;
    assert_eq!(page.focused().await, "Retry", "the focus is where it was");
    page.press("Enter").await;
    page.until("it is asked", "document.querySelector('dialog[open]')")
        .await;
    page.until(
        "the question has the focus",
        "document.activeElement.closest('dialog')",
    )
    .await;
    page.tab_to("Retry").await;
    page.press("Enter").await;
    page.until_in(".verdict", "succeeded").await;
    page.press_shifted("?").await;
    page.until_in("dialog h2", "Keys").await;
    page.press("Escape").await;
    page.press("4").await;
    page.until_in("h1", "Hooks").await;
    site.assert_in_order(&page);
}

/// Texts that cannot be read well: what they say, and the contrast they have.
const FAINT: &str = "(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = rgb(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return rgb('255 255 255');
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest('.unseen, title')) continue;
    const style = getComputedStyle(element);
    const text = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [dim, bright] = [light(text), light(ground(element))].sort((one, other) => one - other);
    const contrast = (bright + 0.05) / (dim + 0.05);
    if (contrast < 4.5) faint.push(`${element.tagName}.${element.getAttribute('class')} ${element.textContent.trim().slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return faint;
})()";

/// Where the pictures go: `HEM_PAGE_PICTURES`, or among what the tests leave behind.
fn pictures() -> PathBuf {
    let folder = std::env::var_os("HEM_PAGE_PICTURES").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("page"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_is_readable_in_light_and_dark_and_in_a_narrow_window() {
    let mut site = Site::open().await;
    site.touch("broken");
    for name in ["vm-running.xml", "vm-running-large.xml", "vm-done.xml"] {
        site.publish(name).await;
    }
    site.until_in_state("failed", 3).await;
    std::fs::remove_file(site.house.path("broken")).expect("it was there");
    site.publish("vm-running.xml").await;
    site.publish("vm-poweroff.xml").await;
    site.until_in_state("running", 1).await;
    let page = site.page(OPERATOR).await;
    visit(&page, "hooks", "Hooks").await;
    page.click("button[aria-label='Mute reserve']", "Mute").await;
    page.fill("reason", "the store is being moved").await;
    page.press("Enter").await;
    page.until_in(".card tbody tr", "the store is being moved").await;
    page.click("#said button", "").await;

    let folder = pictures();
    let mut grounds = Vec::new();
    for (look, width, is_dark) in [
        ("light", 1280, false),
        ("dark", 1280, true),
        ("narrow", 375, false),
        ("narrow-dark", 375, true),
    ] {
        page.look(width, 900, is_dark).await;
        for (view, heading, name) in [
            ("now", "Now", "now"),
            ("executions", "Executions", "executions"),
            ("execution/1.register", "1.register", "execution"),
            ("execution/5.backup", "5.backup", "running"),
            ("events", "Events", "events"),
            ("event/1", "Event 1", "event"),
            ("hooks", "Hooks", "hooks"),
            ("hook/reserve", "reserve", "hook"),
        ] {
            visit(&page, view, heading).await;
            let wide = page.value("document.documentElement.scrollWidth").await;
            assert!(
                wide.as_u64() <= Some(u64::from(width)),
                "{view} is {wide} wide in {width}"
            );
            assert_eq!(page.value(FAINT).await, json!([]), "{view}, {look}");
            page.picture(&folder.join(format!("{name}-{look}.png"))).await;
        }
        grounds.push(
            page.value("getComputedStyle(document.body).backgroundColor")
                .await,
        );
        page.press_shifted("?").await;
        page.until_in("dialog h2", "Keys").await;
        assert_eq!(page.value(FAINT).await, json!([]), "the keys, {look}");
        page.press("Escape").await;
    }
    assert_ne!(grounds[0], grounds[1], "light and dark");
    page.click(".who button", "Sign out").await;
    page.until("the sign-in is there", "document.querySelector('[name=token]')")
        .await;
    assert_eq!(page.value(FAINT).await, json!([]), "the sign-in");
    page.picture(&folder.join("sign-in.png")).await;
    assert_eq!(
        page.value("fetch('/v1/status').then((answer) => answer.status)")
            .await,
        401
    );
    assert_eq!(page.faults(), Vec::<String>::new());
}

/// Lays out ten thousand documents of random parts. Gives those that lost or won more than blanks, or that took an exception.
const LAID_OUT: &str = r#"(async () => {
  const { laidOut } = await import('/assets/layout.js');
  const parts = ['<a>', '</a>', '<b x="1>2">', '<c/>', '<', '>', '&lt;', '<![CDATA[', ']]>', '<!--', '-->', '<?x?>', '{', '}', '[', ']', '"', '\\', ':', ',', '1e5', 'ü', ' ', '\n', '\t', 'text'];
  let seed = 20261122;
  const draw = (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const bare = (text) => text.replaceAll(/\s/g, '');
  const wrong = [];
  for (let round = 0; round < 10000; round += 1) {
    const document = '<{[ '[draw(4)] + Array.from({ length: draw(24) }, () => parts[draw(parts.length)]).join('');
    try {
      if (bare(laidOut(document)) !== bare(document)) wrong.push(document);
    } catch (error) {
      wrong.push(`${document}: ${error}`);
    }
  }
  return wrong.slice(0, 5);
})()"#;

/// Points in time as they are written, from a fixed one, in minutes; none where it is none.
const WRITTEN: &str = r#"(async () => {
  const { instant } = await import('/assets/words.js');
  const now = new Date(2026, 10, 22, 12, 30);
  const midnight = (12 * 60 + 30);
  const asked = { '15m': 15, '2h': 120, '3d ago': 4320, 'today': midnight, '02:00': 630, '2026-11-22': midnight, '2026-11-22 12:00': 30, 'soon': null, '': null, '99:99:99': null, '2026-13-45': null };
  return Object.entries(asked).filter(([text, minutes]) => {
    const found = instant(text, now);
    return (found === undefined ? null : (now - found) / 60000) !== minutes;
  });
})()"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_laid_out_and_times_read_whatever_they_are() {
    let site = Site::open().await;
    let page = site.page(VIEWER).await;
    assert_eq!(page.value(LAID_OUT).await, json!([]));
    let laid_out = page
        .value(r#"import('/assets/layout.js').then(({ laidOut }) => [laidOut('<a><b>1</b><c x="y"/></a>'), laidOut('{"a":[1,{}],"b":"}"}')])"#)
        .await;
    assert_eq!(
        laid_out,
        json!([
            "<a>\n  <b>1</b>\n  <c x=\"y\"/>\n</a>",
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"}\"\n}"
        ])
    );
    assert_eq!(page.value(WRITTEN).await, json!([]));
    site.assert_in_order(&page);
}
