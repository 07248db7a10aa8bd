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

const ASSETS: &[Asset] = &[
    Asset {
        path: "/",
        kind: "text/html; charset=utf-8",
        content: include_bytes!("assets/index.html"),
    },
    Asset {
        path: "/assets/app.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("assets/app.js"),
    },
    Asset {
        path: "/assets/style.css",
        kind: "text/css; charset=utf-8",
        content: include_bytes!("assets/style.css"),
    },
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
}
