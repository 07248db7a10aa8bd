//! The page: files that are part of the program.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::api::ErrorCode;
use super::problem::Failure;

/// A file of the page.
#[derive(Debug)]
struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

/// An asset by its name.
macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            content: include_bytes!(concat!("assets/", $file)),
        }
    };
}

const ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/assets/style.css", STYLE, "style.css"),
    asset!("/assets/icon.svg", DRAWING, "icon.svg"),
    asset!("/assets/api.js", SCRIPT, "api.js"),
    asset!("/assets/app.js", SCRIPT, "app.js"),
    asset!("/assets/chart.js", SCRIPT, "chart.js"),
    asset!("/assets/dialogs.js", SCRIPT, "dialogs.js"),
    asset!("/assets/dom.js", SCRIPT, "dom.js"),
    asset!("/assets/events.js", SCRIPT, "events.js"),
    asset!("/assets/execution.js", SCRIPT, "execution.js"),
    asset!("/assets/executions.js", SCRIPT, "executions.js"),
    asset!("/assets/filters.js", SCRIPT, "filters.js"),
    asset!("/assets/hooks.js", SCRIPT, "hooks.js"),
    asset!("/assets/layout.js", SCRIPT, "layout.js"),
    asset!("/assets/notice.js", SCRIPT, "notice.js"),
    asset!("/assets/now.js", SCRIPT, "now.js"),
    asset!("/assets/words.js", SCRIPT, "words.js"),
];

/// A file of the page. Browsers keep it and ask each time whether it is still the same.
pub(super) async fn asset(request: Request) -> Result<Response, Failure> {
    let path = request.uri().path();
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path == path)
        .ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("the page has no file {path}")))?;
    let tag = tag(asset.content);
    let is_known = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let about = [
        (ETAG, tag),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_TYPE, asset.kind.to_owned()),
    ];
    Ok(if is_known {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, asset.content).into_response()
    })
}

fn tag(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let (head, _) = digest.split_at(16);
    let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_asks_for_is_there_and_each_is_asked_for() {
        let [page, ..] = ASSETS else { panic!("no page") };
        let html = std::str::from_utf8(page.content).expect("text");
        for asset in &ASSETS[1..] {
            assert!(html.contains(&format!("\"{}\"", asset.path)), "{}", asset.path);
        }
        for asked in html.split('"').filter(|text| text.starts_with("/assets/")) {
            assert!(ASSETS.iter().any(|asset| asset.path == asked), "{asked}");
        }
    }

    #[test]
    fn no_module_makes_markup_of_a_text_or_names_another_place() {
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            let text = std::str::from_utf8(asset.content).expect("text");
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "createContextualFragment",
                "setHTML",
                "srcdoc",
                "eval(",
                "new Function",
                "//cdn",
                "https://",
            ] {
                assert!(!text.contains(forbidden), "{} has {forbidden}", asset.path);
            }
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let module = line.rsplit('"').nth(1).expect("a module");
                let path = format!("/assets/{}", module.trim_start_matches("./"));
                assert!(
                    ASSETS.iter().any(|known| known.path == path),
                    "{}: {line}",
                    asset.path
                );
            }
        }
    }
}
