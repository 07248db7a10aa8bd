//! CEL over one event: `when:` conditions and `${{ … }}` in arguments.
//!
//! Hides the `cel` crate. Bounded in length, nesting and list sizes; never panics outward.

use std::sync::Arc;

/// A compiled expression. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Expression {
    text: Arc<str>,
}

impl Expression {
    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

use crate::event::Event;

/// An expression that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong, for the author.
    pub message: String,
    /// Where in the expression, in bytes from its start, where known.
    pub offset: Option<usize>,
}

/// An expression that could not be worked out for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The event has no such element; a condition counts as not holding.
    #[error("the event has no `{path}`")]
    Absent {
        /// What was looked for, as far as known.
        path: String,
    },
    /// Anything else: nothing runs.
    #[error("{0}")]
    Failed(String),
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Syntax errors, unknown functions and variables, and expressions beyond the limits.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        Ok(Self { text: text.into() })
    }

    /// Works the expression out as a condition.
    pub fn holds(&self, _event: &Event) -> Result<bool, EvaluationError> {
        unimplemented!()
    }

    /// Works the expression out as text, for an argument: strings as they are, numbers and booleans as CEL prints them.
    pub fn text_for(&self, _event: &Event) -> Result<String, EvaluationError> {
        unimplemented!()
    }

    /// The parts of the expression that were looked up in the event, each with the value found, for `hem match`.
    pub fn lookups(&self, _event: &Event) -> Vec<(String, String)> {
        unimplemented!()
    }
}
