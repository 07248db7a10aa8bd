//! The `hem` profile: each template makes one argument, and no shell sees any of them.

use std::cell::OnceCell;
use std::ffi::OsString;

use super::{CommandLine, bad_argument};
use crate::event::opennebula::Layout;
use crate::event::{Event, Facts};
use crate::expression::EvaluationContext;
use crate::hooks::invocation::standard_input;
use crate::hooks::{Action, Hook, Piece, Template};
use crate::runner::StartFailure;

pub(super) fn command_line(hook: &Hook, values: Vec<String>) -> CommandLine {
    let action = &hook.action;
    let to_stdin = action.arguments_stdin.then(|| values.join(" "));
    let on_line = if action.arguments_stdin {
        Vec::new()
    } else {
        values
    };
    let own_words: Vec<OsString> = if action.shell {
        // After the script's text comes its name, `$0`, which the shell puts before its error messages.
        vec![
            "-c".into(),
            action.command.clone().into(),
            hook.name.as_str().into(),
        ]
    } else {
        Vec::new()
    };
    CommandLine {
        program: if action.shell {
            "/bin/sh".into()
        } else {
            action.program.clone()
        },
        arguments: own_words
            .into_iter()
            .chain(on_line.into_iter().map(OsString::from))
            .collect(),
        stdin: to_stdin,
    }
}

/// One value for each argument. A RETRY message brings them along, in one line separated by blanks.
pub(super) fn values(action: &Action, event: &Event) -> Result<Vec<String>, StartFailure> {
    // Made when the first expression asks for it: most hooks have none.
    let context = OnceCell::new();
    let values: Vec<String> = if let Facts::Retry(retry) = &event.facts {
        let values = retry.arguments.split_ascii_whitespace();
        values.map(str::to_owned).collect()
    } else {
        action
            .arguments
            .iter()
            .enumerate()
            .map(|(index, template)| {
                render(template, event, &context).map_err(|reason| {
                    bad_argument(format!(
                        "argument {} cannot be made from the event: {reason}",
                        index + 1
                    ))
                })
            })
            .collect::<Result<_, _>>()?
    };
    match values.iter().position(|value| value.contains('\0')) {
        Some(index) => Err(bad_argument(format!(
            "argument {} holds a NUL byte, which no argument can carry",
            index + 1
        ))),
        None => Ok(values),
    }
}

fn render<'e>(
    template: &Template,
    event: &'e Event,
    context: &OnceCell<EvaluationContext<'e>>,
) -> Result<String, String> {
    match template {
        Template::ResourceElement => Ok(standard_input::resource_element(event, Layout::AsReceived)),
        Template::CallInfo => Ok(standard_input::call_info(event, Layout::AsReceived)),
        Template::Text(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Ok(text.clone()),
                Piece::Value(expression) => expression
                    .text_in(context.get_or_init(|| EvaluationContext::new(event)))
                    .map_err(|error| format!("`{}`: {error}", expression.text())),
            })
            .collect(),
    }
}
