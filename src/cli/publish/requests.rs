//! Requests over HTTP, sent as a webhook's sender, ESC and the monitors of Masakari do.

use std::path::Path;
use std::time::Duration;

use super::super::exit::{Exit, Failure};
use super::super::output;
use super::{Arguments, Saved, each};
use crate::config::scalar::HttpUrl;
use crate::event::sending::Request;
use crate::http_client::{Client, Limits, Question};

/// An endpoint may answer only once its hooks have run, which takes ten minutes at most.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    whole: Duration::from_secs(610),
    answer: 1 << 20,
};

/// Of an answer that refuses, this much is shown.
const SHOWN_ANSWER: usize = 500;

pub(super) async fn send(
    arguments: &Arguments,
    url: &HttpUrl,
    saved: &[Saved<Request>],
) -> Result<u64, Failure> {
    let further = headers(&arguments.headers)?;
    let client = Client::new(url, arguments.ca_file.as_deref(), LIMITS)
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    each(arguments, saved, async |Saved { file, event }| {
        // What is asked for here stands in the place of what the file says.
        let own = event
            .headers
            .iter()
            .filter(|(name, _)| !further.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        let headers: Vec<(&str, &str)> = own
            .chain(&further)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let question = Question {
            method: &event.method,
            target: "",
            headers: &headers,
            body: event.body.clone(),
        };
        let answer = client
            .ask(&question)
            .await
            .map_err(|error| Failure::of(Exit::Failed, &error))?;
        if (200..300).contains(&answer.status) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.body);
        let said: String = said.trim().chars().take(SHOWN_ANSWER).collect();
        Err(Failure::new(
            Exit::Failed,
            format!(
                "{} answered `{file}` with {}: {}",
                url.as_str(),
                answer.status,
                output::safe(&said)
            ),
        ))
    })
    .await
}

/// The headers of the command line, those in files included.
fn headers(named: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = Vec::new();
    for one in named {
        match one.strip_prefix('@') {
            None => headers.push(header(one, None)?),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::new(Exit::Failed, format!("cannot read `{file}`: {error}")))?;
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    headers.push(header(line, Some(Path::new(file)))?);
                }
            }
        }
    }
    Ok(headers)
}

/// What is in a file may be a secret, so it is not repeated.
fn header(text: &str, file: Option<&Path>) -> Result<(String, String), Failure> {
    let named = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    let (name, value) = named.ok_or_else(|| {
        let what = match file {
            Some(file) => format!("a line of `{}`", file.display()),
            None => format!("`{text}`"),
        };
        Failure::new(Exit::Usage, format!("{what} is no header")).with_hint("write `NAME: VALUE`")
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_from_words_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("headers");
        std::fs::write(&file, "X-Auth-Token: a:b\n\nX-Two:2\n").expect("a file");
        let named = ["A: 1".to_owned(), format!("@{}", file.display())];
        let expected = [("A", "1"), ("X-Auth-Token", "a:b"), ("X-Two", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&named).ok(), Some(expected.to_vec()));
        std::fs::write(&file, "secret\n").expect("a file");
        assert!(headers(&[format!("@{}", file.display())]).is_err());
        assert!(headers(&["x".to_owned()]).is_err());
        assert!(headers(&["@/nowhere".to_owned()]).is_err());
    }
}
