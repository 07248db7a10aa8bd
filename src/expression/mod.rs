//! CEL over one event: `when:` conditions and `${{ … }}` in arguments.
//!
//! Hides the `cel` crate. An expression sees two variables: `event`, the payload as a tree ([`Payload::tree`]), and
//! `meta`, the event's own fields. Besides CEL's own functions there are `text(path)`, which is empty where there is no
//! such element, and `each(x)`, which is always a list. `has(x)` is false when anything on the way to `x` is missing.
//!
//! What bounds an expression:
//!
//! * its length, its nesting and its depth, before it is parsed, so that no stack overflows;
//! * its variables, functions and their numbers of arguments, when it is compiled;
//! * 10,000 elements per comprehension, and 300,000 values that the comprehensions of one evaluation go through: the
//!   elements with everything in them, nested comprehensions counted each time they run;
//! * a panic inside the crate is caught and becomes an error.
//!
//! Not bounded is what one step costs: a step that compares the whole payload with itself takes as long as the payload
//! is large, and one that joins its texts makes a text as long as the author of the hook wrote it to be.
//!
//! [`Payload::tree`]: crate::event::payload::Payload::tree

mod language;
mod limits;
mod values;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::common::types::CelBool;
use cel::common::value::CowVal;
use cel::{Context, ExecutionError, ParseErrors, Value};

use self::language::Lookup;
use self::values::Allowance;
use crate::event::Event;

/// A compiled expression. Cloning is cheap.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    expression: IdedExpr,
    lookups: Vec<Lookup>,
    warnings: Vec<Warning>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.text).finish()
    }
}

/// Two expressions are the same when they are written the same.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Expression {}

/// An expression that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong, for the author.
    pub message: String,
    /// Where in the expression, in bytes from its start, where known.
    pub offset: Option<usize>,
}

/// Something in an expression that is allowed and is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What, for the author.
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

/// One event, made ready for expressions: its tree is converted once, however many expressions are worked out for it.
pub struct EvaluationContext<'e> {
    variables: Context<'e, 'e>,
    allowance: Allowance,
}

impl<'e> EvaluationContext<'e> {
    /// Makes `event` ready; reads its payload as a tree if nobody has yet.
    pub fn new(event: &'e Event) -> Self {
        let allowance = Allowance::default();
        let mut variables = Context::with_env(Arc::clone(&values::ENVIRONMENT));
        variables.add_variable_as_val("event", values::from_json(event.payload.tree()));
        variables.add_variable_as_val("meta", values::meta(event));
        variables.add_variable_as_val(language::ALLOWANCE, Box::new(allowance.clone()));
        Self { variables, allowance }
    }
}

impl fmt::Debug for EvaluationContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvaluationContext").finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Syntax errors, unknown functions and variables, and expressions beyond the limits.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        limits::check(text)?;
        if text.trim().is_empty() {
            return Err(CompileError {
                message: "the expression is empty".to_owned(),
                offset: None,
            });
        }
        catch_unwind(|| {
            let (mut expression, source) = values::ENVIRONMENT
                .parser()
                .parse_with_source_info(text)
                .map_err(|errors| syntax_error(text, &errors))?;
            let prepared = language::prepare(&mut expression).map_err(|fault| CompileError {
                message: fault.message,
                offset: offset_of(&source, text, fault.node),
            })?;
            let warnings = prepared
                .doubts
                .into_iter()
                .map(|doubt| Warning {
                    offset: offset_of(&source, text, doubt.node),
                    message: doubt.message,
                })
                .collect();
            Ok(Self(Arc::new(Compiled {
                text: text.into(),
                expression,
                lookups: prepared.lookups,
                warnings,
            })))
        })
        .unwrap_or_else(|_| {
            Err(CompileError {
                message: "the expression cannot be read".to_owned(),
                offset: None,
            })
        })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What is allowed and is probably not meant, for `hem check`.
    pub fn warnings(&self) -> &[Warning] {
        &self.0.warnings
    }

    /// Works the expression out as a condition.
    ///
    /// # Errors
    /// [`EvaluationError::Absent`] where the event has no such element, [`EvaluationError::Failed`] for anything else, a
    /// value that is neither true nor false included.
    pub fn holds(&self, event: &Event) -> Result<bool, EvaluationError> {
        self.holds_in(&EvaluationContext::new(event))
    }

    /// As [`holds`](Self::holds), for an event that several expressions are worked out for.
    ///
    /// # Errors
    /// As there.
    pub fn holds_in(&self, context: &EvaluationContext<'_>) -> Result<bool, EvaluationError> {
        self.evaluate(context, |value| match value.downcast_ref::<CelBool>() {
            Some(truth) => Ok(*truth.inner()),
            None => Err(EvaluationError::Failed(format!(
                "the condition gave {}, not true or false",
                values::kind_of(value.as_ref())
            ))),
        })
    }

    /// Works the expression out as text, for an argument: strings as they are, numbers and booleans as CEL prints them.
    ///
    /// # Errors
    /// [`EvaluationError::Absent`] where the event has no such element, [`EvaluationError::Failed`] for anything else, a
    /// list or an element with children included.
    pub fn text_for(&self, event: &Event) -> Result<String, EvaluationError> {
        self.text_in(&EvaluationContext::new(event))
    }

    /// As [`text_for`](Self::text_for), for an event that several expressions are worked out for.
    ///
    /// # Errors
    /// As there.
    pub fn text_in(&self, context: &EvaluationContext<'_>) -> Result<String, EvaluationError> {
        self.evaluate(context, |value| {
            values::plain_text(value.as_ref()).ok_or_else(|| {
                EvaluationError::Failed(format!(
                    "the expression gave {}, which cannot be an argument",
                    values::kind_of(value.as_ref())
                ))
            })
        })
    }

    /// The parts of the expression that were looked up in the event, each with the value found, for `hem match`.
    ///
    /// Paths that begin with the variable of a comprehension are not among them: they have a value per element.
    pub fn lookups(&self, event: &Event) -> Vec<(String, String)> {
        self.lookups_in(&EvaluationContext::new(event))
    }

    /// As [`lookups`](Self::lookups), for an event that several expressions are worked out for.
    pub fn lookups_in(&self, context: &EvaluationContext<'_>) -> Vec<(String, String)> {
        let found = |lookup: &Lookup| {
            let value = resolve(&lookup.expression, context, |value| {
                Ok(values::shown(value.as_ref()))
            });
            match value {
                Ok(value) => value,
                Err(Trouble::Crate(error)) if is_absence(&error) => "(absent)".to_owned(),
                Err(trouble) => format!("({})", trouble.sentence()),
            }
        };
        self.0
            .lookups
            .iter()
            .map(|lookup| (lookup.text.clone(), found(lookup)))
            .collect()
    }

    fn evaluate<T>(
        &self,
        context: &EvaluationContext<'_>,
        read: impl FnOnce(CowVal<'_, '_>) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        resolve(&self.0.expression, context, read).map_err(|trouble| match trouble {
            Trouble::Crate(error) if is_absence(&error) => EvaluationError::Absent {
                path: self.absent_path(context, &error),
            },
            Trouble::Own(error) => error,
            trouble => EvaluationError::Failed(trouble.sentence()),
        })
    }

    /// The crate names only the last step of what is absent; the whole path is the one that ends in it and is absent.
    fn absent_path(&self, context: &EvaluationContext<'_>, error: &ExecutionError) -> String {
        let key = match error {
            ExecutionError::NoSuchKey(key) => key.as_str(),
            _ => "",
        };
        let is_absent_here = |lookup: &&Lookup| {
            let value = resolve(&lookup.expression, context, |_| Ok(()));
            matches!(value, Err(Trouble::Crate(error)) if is_absence(&error))
        };
        let mut absent = self.0.lookups.iter().filter(is_absent_here);
        let fitting = absent
            .clone()
            .find(|lookup| lookup.text.contains(key))
            .or_else(|| absent.next());
        match fitting {
            Some(lookup) => lookup.text.clone(),
            None => key.to_owned(),
        }
    }
}

/// Why an expression has no value.
enum Trouble {
    Crate(ExecutionError),
    Own(EvaluationError),
    Panicked,
}

impl Trouble {
    fn sentence(&self) -> String {
        match self {
            Self::Crate(error) => sentence(error),
            Self::Own(error) => error.to_string(),
            Self::Panicked => "the expression could not be worked out".to_owned(),
        }
    }
}

fn resolve<T>(
    expression: &IdedExpr,
    context: &EvaluationContext<'_>,
    read: impl FnOnce(CowVal<'_, '_>) -> Result<T, EvaluationError>,
) -> Result<T, Trouble> {
    context.allowance.renew();
    catch_unwind(AssertUnwindSafe(|| {
        let value = Value::resolve_val(expression, &context.variables).map_err(Trouble::Crate)?;
        read(value).map_err(Trouble::Own)
    }))
    .unwrap_or(Err(Trouble::Panicked))
}

/// Whether the event simply has no such element: a name or an index that is not there, or something asked of a text,
/// for an element without children reads as one.
fn is_absence(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => true,
        ExecutionError::NoSuchOverload(overload) => {
            is_selection(overload)
                && overload
                    .argument_types()
                    .first()
                    .is_some_and(|kind| matches!(kind.as_str(), "string" | "null_type" | "null"))
        }
        _ => false,
    }
}

fn is_selection(overload: &cel::OverloadError) -> bool {
    matches!(overload.function(), "_._" | "_[_]")
}

/// What went wrong, for the author of the hook.
fn sentence(error: &ExecutionError) -> String {
    let kind = |value: &Value| values::kind_named(&value.type_of().to_string());
    match error {
        ExecutionError::ValuesNotComparable(left, right) => format!(
            "{} cannot be compared with {}; an element's text is a string, `int(…)` makes it a number",
            kind(left),
            kind(right)
        ),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => format!(
            "`{operator}` does not work on {} and {}; an element's text is a string, `int(…)` makes it a number",
            kind(left),
            kind(right)
        ),
        ExecutionError::NoSuchOverload(overload) => {
            let kinds: Vec<_> = overload
                .argument_types()
                .iter()
                .map(|name| values::kind_named(name))
                .collect();
            if is_selection(overload) && overload.argument_types().first().is_some_and(|t| t == "list") {
                return "an element that occurs more than once is a list; choose one with `[0]`, or go through them with `each(…)`".to_owned();
            }
            format!(
                "`{}` does not work on {}; an element's text is a string, `int(…)` makes it a number",
                overload.function().trim_matches('_'),
                kinds.join(" and ")
            )
        }
        ExecutionError::FunctionError { function, message } if function.starts_with('@') => message.clone(),
        ExecutionError::FunctionError { function, message } => cut(format!("{function}(…): {message}")),
        ExecutionError::UnsupportedKeyType(key) => {
            format!("{} cannot be a key", kind(key))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the number is too large".to_owned(),
        ExecutionError::UnexpectedType { got, want } => cut(format!(
            "{} stands where {} is needed",
            values::kind_named(got),
            values::kind_named(want)
        )),
        other => cut(other.to_string()),
    }
}

/// The crate prints whole values into its messages.
fn cut(mut message: String) -> String {
    const LONGEST: usize = 300;
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
        message.push('…');
    }
    message
}

fn syntax_error(text: &str, errors: &ParseErrors) -> CompileError {
    match errors.errors.first() {
        Some(first) => CompileError {
            message: cut(plain_syntax_message(&first.msg)),
            offset: offset_at(text, first.pos),
        },
        None => CompileError {
            message: "syntax error".to_owned(),
            offset: None,
        },
    }
}

/// The parser's message without the list of all that could stand there instead.
fn plain_syntax_message(message: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ");
    let found = [
        "extraneous input ",
        "mismatched input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ]
    .into_iter()
    .find_map(|beginning| message.strip_prefix(beginning));
    match found {
        Some(found) => {
            let found = found.split(" expecting ").next().unwrap_or(found);
            match found.trim_matches('\'') {
                "<EOF>" => "the expression ends too early".to_owned(),
                "and" => "unexpected `and`; write `&&`".to_owned(),
                "or" => "unexpected `or`; write `||`".to_owned(),
                found => format!("unexpected `{found}`"),
            }
        }
        None => format!("syntax error: {message}"),
    }
}

/// The byte at a line and a column, both counted from 1, columns in characters.
fn offset_at(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line_index = usize::try_from(line).ok()?.checked_sub(1)?;
    let column_index = usize::try_from(column).ok()?.saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line_index).map(str::len).sum();
    let rest = text.get(before..)?;
    let within = rest
        .char_indices()
        .nth(column_index)
        .map_or(rest.len(), |(at, _)| at);
    Some(before + within)
}

/// Where a node begins. The parser places a call at its bracket; an author looks for the function's name.
fn offset_of(source: &SourceInfo, text: &str, node: u64) -> Option<usize> {
    let (start, _) = source.offset_for(node)?;
    let start = usize::try_from(start).ok()?;
    let (before, rest) = text.split_at_checked(start)?;
    if !rest.starts_with('(') {
        return Some(start);
    }
    let name = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    Some(name.len())
}

#[cfg(test)]
mod tests;
