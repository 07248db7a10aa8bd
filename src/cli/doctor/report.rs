//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::output::{self, Style, Tint, count};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better or is about to break.
    Warn,
    /// It does not work.
    Fail,
    /// It was not looked at, and the finding says why.
    Skipped,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }

    const fn tint(self) -> Tint {
        match self {
            Self::Ok => Tint::Good,
            Self::Warn => Tint::Busy,
            Self::Fail => Tint::Bad,
            Self::Skipped => Tint::Faint,
        }
    }
}

/// One line of the page.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    verdict: Verdict,
    /// What was found.
    message: String,
    /// What to do.
    advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            message: message.into(),
            advice: None,
        }
    }

    pub(super) fn warn(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    pub(super) fn fail(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    /// `message` also says why.
    pub(super) fn skipped(message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skipped,
            message: message.into(),
            advice: None,
        }
    }
}

/// What belongs together.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) findings: Vec<Finding>,
}

/// The page.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) sections: Vec<Section>,
    /// Names the set of hooks; none where it could not be read.
    pub(super) digest: Option<String>,
}

/// The page for programs.
#[derive(Debug, Serialize)]
pub(super) struct ReportView<'a> {
    /// Whether nothing fails.
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    checks: Vec<CheckView<'a>>,
}

/// A line of the page for programs.
#[derive(Debug, Serialize)]
struct CheckView<'a> {
    section: &'static str,
    verdict: Verdict,
    /// What was found.
    message: &'a str,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
}

impl Report {
    /// Whether something does not work.
    pub(super) fn has_failed(&self) -> bool {
        self.number_of(Verdict::Fail) > 0
    }

    fn number_of(&self, verdict: Verdict) -> usize {
        let findings = self.sections.iter().flat_map(|section| &section.findings);
        findings.filter(|finding| finding.verdict == verdict).count()
    }

    pub(super) fn view(&self) -> ReportView<'_> {
        ReportView {
            passed: !self.has_failed(),
            digest: self.digest.as_deref(),
            checks: self
                .sections
                .iter()
                .flat_map(|section| {
                    section.findings.iter().map(|finding| CheckView {
                        section: section.name,
                        verdict: finding.verdict,
                        message: &finding.message,
                        advice: finding.advice.as_deref(),
                    })
                })
                .collect(),
        }
    }

    pub(super) fn render(&self, style: &Style) -> String {
        let mut text = String::new();
        for section in &self.sections {
            text.push_str(&style.paint(Tint::Strong, section.name));
            text.push('\n');
            for finding in &section.findings {
                text.push_str(&line_of(finding, style));
            }
            text.push('\n');
        }
        let number = |verdict| count(self.number_of(verdict) as u64);
        let warnings = self.number_of(Verdict::Warn);
        let sums = format!(
            "{} ok, {} warning{}, {} failed, {} skipped",
            number(Verdict::Ok),
            count(warnings as u64),
            if warnings == 1 { "" } else { "s" },
            number(Verdict::Fail),
            number(Verdict::Skipped),
        );
        let tint = match (self.has_failed(), warnings) {
            (true, _) => Tint::Bad,
            (false, 0) => Tint::Good,
            (false, _) => Tint::Busy,
        };
        text.push_str(&style.paint(tint, &sums));
        text.push('\n');
        text
    }
}

fn line_of(finding: &Finding, style: &Style) -> String {
    let Finding {
        verdict,
        message,
        advice,
    } = finding;
    // Seven letters are the longest; colours must not count.
    let word = style.paint(verdict.tint(), &format!("{:<7}", verdict.word()));
    let mut text = format!("  {word}  {}\n", output::safe_line(message));
    if let Some(advice) = advice {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "           -> {}", output::safe_line(advice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::fixed;

    fn report() -> Report {
        Report {
            sections: vec![
                Section {
                    name: "oned",
                    findings: vec![
                        Finding::ok("it answers"),
                        Finding::warn("it follows", "write `leader_only: true`"),
                    ],
                },
                Section {
                    name: "hooks",
                    findings: vec![
                        Finding::fail("there is no `a\x1b[2J`", "install it"),
                        Finding::skipped("no host was asked"),
                    ],
                },
            ],
            digest: Some("ab12".to_owned()),
        }
    }

    #[test]
    fn the_page_says_of_each_thing_how_it_stands_and_what_to_do() {
        assert_eq!(
            report().render(&fixed()),
            "oned\n  ok       it answers\n  warn     it follows\n           -> write `leader_only: true`\n\n\
             hooks\n  fail     there is no `a\\x1b[2J`\n           -> install it\n  skipped  no host was asked\n\n\
             1 ok, 1 warning, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn programs_get_the_same() {
        let view = serde_json::to_value(report().view()).expect("JSON");
        assert_eq!(view["passed"], false);
        assert_eq!(view["digest"], "ab12");
        assert_eq!(
            view["checks"][1],
            serde_json::json!({
                "section": "oned",
                "verdict": "warn",
                "message": "it follows",
                "advice": "write `leader_only: true`"
            })
        );
        assert!(report().has_failed());
    }
}
