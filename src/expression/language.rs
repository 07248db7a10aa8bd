//! The language of conditions: which names it knows, and what `text`, `each` and `has` become.
//!
//! The parsed expression is checked and rewritten in one walk, so that what runs later needs no more looking up:
//!
//! * `text("A/B")` becomes `@text(event, "A/B")`;
//! * `each(a.b)` becomes `@each(a, ["b"])` and `has(a.b)` becomes `@present(a, ["b"])`: they take the path apart, so that
//!   an element missing at any level is no error;
//! * what a comprehension runs over becomes `@elements(…)`, which counts it against the evaluation's allowance.
//!
//! Names that begin with `@` cannot be written by an author.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use cel::common::types::CelString;

use crate::event::opennebula::vocabulary::nearest;

/// The variable that holds what is left of an evaluation's allowance.
pub(super) const ALLOWANCE: &str = "@allowance";
/// `@text(tree, path)`.
pub(super) const TEXT: &str = "@text";
/// `@each(base, steps)`.
pub(super) const EACH: &str = "@each";
/// `@present(base, steps)`.
pub(super) const PRESENT: &str = "@present";
/// `@elements(range, allowance)`.
pub(super) const ELEMENTS: &str = "@elements";

/// The names of `meta`'s fields.
pub(super) const META_FIELDS: [&str; 61] = [
    "seq",
    "source",
    "kind",
    "key",
    "subject",
    "received",
    "ambiguous",
    "synthesised",
    "resource",
    "id",
    "state",
    "lcm_state",
    "previous_state",
    "previous_lcm_state",
    "host",
    "call",
    "result",
    "endpoint",
    "method",
    "form",
    "delivery",
    "sender",
    "headers",
    "via",
    "event",
    "status",
    "status_code",
    "status_message",
    "tenant",
    "deployment",
    "vm_group",
    "vm",
    "vm_name",
    "host_id",
    "host_name",
    "new_vm",
    "new_vm_name",
    "new_host_id",
    "new_host_name",
    "transaction",
    "time",
    "type",
    "notification_uuid",
    "generated_time",
    "previous_status",
    "host_status",
    "cluster_status",
    "process_name",
    "instance_uuid",
    "vir_domain_event",
    "topic",
    "partition",
    "offset",
    "event_type",
    "origin",
    "cm_handle",
    "alternate_id",
    "old_state",
    "data_sync",
    "properties",
    "old_properties",
];

/// Functions called as `name(x)`; all take one argument.
const FUNCTIONS: [&str; 11] = [
    "size", "string", "int", "uint", "double", "bool", "bytes", "dyn", "type", "text", "each",
];

/// Functions called as `x.name(…)`, with the number of arguments.
const METHODS: [(&str, usize); 4] = [("size", 0), ("contains", 1), ("startsWith", 1), ("endsWith", 1)];

/// Functions that the parser expands, with how they are written.
const MACROS: [(&str, &str); 6] = [
    ("has", "has(event.VM.NAME)"),
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("map", "list.map(x, value)"),
    ("filter", "list.filter(x, condition)"),
];

/// Names of types, as in `type(x) == string`.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// A part of the expression that is looked up in the event.
#[derive(Debug)]
pub(super) struct Lookup {
    /// As the author would write it.
    pub(super) text: String,
    /// What to work out: a path, or a call of [`TEXT`].
    pub(super) expression: IdedExpr,
}

/// What is wrong with an expression that the parser took.
#[derive(Debug)]
pub(super) struct Fault {
    /// For the author.
    pub(super) message: String,
    /// The expression node it is about.
    pub(super) node: u64,
}

/// What became known about an expression while it was made ready.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The parts that it looks up.
    pub(super) lookups: Vec<Lookup>,
    /// What is allowed and is probably not meant.
    pub(super) doubts: Vec<Fault>,
}

/// Checks the names in `expression` and rewrites it for evaluation.
pub(super) fn prepare(expression: &mut IdedExpr) -> Result<Prepared, Fault> {
    let mut walk = Walk {
        scope: Vec::new(),
        lookups: Vec::new(),
        doubts: Vec::new(),
        in_path: false,
    };
    walk.expression(expression)?;
    Ok(Prepared {
        lookups: walk.lookups,
        doubts: walk.doubts,
    })
}

struct Walk {
    /// Variables of the comprehensions around the present node.
    scope: Vec<String>,
    lookups: Vec<Lookup>,
    doubts: Vec<Fault>,
    /// The present node is part of a path that was noted as a whole.
    in_path: bool,
}

impl Walk {
    fn expression(&mut self, node: &mut IdedExpr) -> Result<(), Fault> {
        match path_lookup(node) {
            Some(lookup) if !self.in_path => {
                self.note(lookup);
                self.in_path = true;
                let checked = self.node(node);
                self.in_path = false;
                checked
            }
            _ => self.node(node),
        }
    }

    fn node(&mut self, node: &mut IdedExpr) -> Result<(), Fault> {
        let id = node.id;
        let fault = |message: String| Err(Fault { message, node: id });
        match &mut node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.identifier(name, id),
            Expr::Select(select) => {
                check_meta_field(&select.operand, &select.field, id)?;
                self.expression(&mut select.operand)?;
                if select.test {
                    select.test = false;
                    node.expr = call(PRESENT, taken_apart(std::mem::take(node)));
                    node.id = id;
                }
                Ok(())
            }
            Expr::Call(function) => {
                if let Some(target) = &mut function.target {
                    check_method(&function.func_name, function.args.len(), id)?;
                    self.expression(target)?;
                    return self.all(&mut function.args);
                }
                if function.func_name == operators::INDEX {
                    if let [operand, index] = function.args.as_slice()
                        && let Some(field) = literal_string(index)
                    {
                        check_meta_field(operand, field, id)?;
                    }
                    return self.all(&mut function.args);
                }
                if is_operator(&function.func_name) {
                    self.doubt_comparison(&function.func_name, &function.args, id);
                    return self.all(&mut function.args);
                }
                check_function(&function.func_name, function.args.len(), id)?;
                match function.func_name.as_str() {
                    "text" => {
                        self.all(&mut function.args)?;
                        TEXT.clone_into(&mut function.func_name);
                        let event = IdedExpr {
                            id,
                            expr: Expr::Ident("event".to_owned()),
                        };
                        function.args.insert(0, event);
                        if let Some(path) = function.args.get(1).and_then(literal_string) {
                            let text = format!("text(\"{path}\")");
                            let expression = node.clone();
                            self.note(Lookup { text, expression });
                        }
                        Ok(())
                    }
                    "each" => {
                        self.all(&mut function.args)?;
                        if let Some(path) = function.args.pop() {
                            node.expr = call(EACH, taken_apart(path));
                        }
                        Ok(())
                    }
                    _ => self.all(&mut function.args),
                }
            }
            Expr::List(list) => self.all(&mut list.elements),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.expression(&mut entry.key)?;
                        self.expression(&mut entry.value)?;
                    }
                }
                Ok(())
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, id),
            Expr::Struct(object) => fault(format!(
                "there is no type `{}` to make objects of",
                object.type_name
            )),
            Expr::Unspecified => fault("the expression is incomplete".to_owned()),
        }
    }

    fn all(&mut self, nodes: &mut [IdedExpr]) -> Result<(), Fault> {
        nodes.iter_mut().try_for_each(|node| self.expression(node))
    }

    /// A text is never equal to a number, and the language does not say so when it compares them.
    fn doubt_comparison(&mut self, operator: &str, args: &[IdedExpr], node: u64) {
        let [left, right] = args else {
            return;
        };
        if ![operators::EQUALS, operators::NOT_EQUALS].contains(&operator) {
            return;
        }
        let number = match (literal_number(left), literal_number(right)) {
            (Some(number), None) => Some((right, number)),
            (None, Some(number)) => Some((left, number)),
            _ => None,
        };
        if let Some((read, number)) = number
            && let Some(lookup) = path_lookup(read)
            && lookup.text.starts_with("event")
        {
            let path = lookup.text;
            self.doubts.push(Fault {
                message: format!(
                    "an element of an XML document is a text and never equals a number; write `{path} == \"{number}\"` or `int({path}) == {number}`"
                ),
                node,
            });
        }
    }

    fn note(&mut self, lookup: Lookup) {
        if self.lookups.iter().all(|known| known.text != lookup.text) {
            self.lookups.push(lookup);
        }
    }

    fn identifier(&self, name: &str, node: u64) -> Result<(), Fault> {
        let known = name.starts_with('@')
            || ["event", "meta"].contains(&name)
            || TYPES.contains(&name)
            || self.scope.iter().any(|variable| variable == name);
        if known {
            return Ok(());
        }
        let mut candidates: Vec<&str> = vec!["event", "meta"];
        candidates.extend(self.scope.iter().map(String::as_str));
        let hint = match nearest(name, candidates.iter().copied()) {
            Some(meant) => format!("; did you mean `{meant}`?"),
            None if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
                format!("; an element is `event.{name}`, a text is in quotes")
            }
            None => "; there are `event`, the payload, and `meta`, the event's own fields".to_owned(),
        };
        Err(Fault {
            message: format!("unknown variable `{name}`{hint}"),
            node,
        })
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr, node: u64) -> Result<(), Fault> {
        self.expression(&mut comprehension.iter_range)?;
        self.expression(&mut comprehension.accu_init)?;

        let variables = [
            Some(comprehension.iter_var.clone()),
            comprehension.iter_var2.clone(),
        ];
        let outside = self.scope.len();
        for variable in variables.into_iter().flatten() {
            if ["event", "meta"].contains(&variable.as_str()) {
                return Err(Fault {
                    message: format!(
                        "`{variable}` cannot name an element of a list here, it names the event's own"
                    ),
                    node,
                });
            }
            self.scope.push(variable);
        }
        self.expression(&mut comprehension.loop_cond)?;
        self.expression(&mut comprehension.loop_step)?;
        self.expression(&mut comprehension.result)?;
        self.scope.truncate(outside);

        let range = std::mem::take(&mut comprehension.iter_range);
        let allowance = IdedExpr {
            id: node,
            expr: Expr::Ident(ALLOWANCE.to_owned()),
        };
        comprehension.iter_range = IdedExpr {
            id: range.id,
            expr: call(ELEMENTS, vec![range, allowance]),
        };
        Ok(())
    }
}

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    })
}

fn is_operator(function: &str) -> bool {
    // Operators are named with characters that no author's function can have: `_+_`, `!_`, `@in`.
    !function.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn literal_string(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn literal_number(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Literal(LiteralValue::Int(number)) => Some(number.inner().to_string()),
        Expr::Literal(LiteralValue::UInt(number)) => Some(number.inner().to_string()),
        Expr::Literal(LiteralValue::Double(number)) => Some(number.inner().to_string()),
        _ => None,
    }
}

/// A path as its base and the list of the names and indexes below it: `a.b[0]` as `a` and `["b", 0]`.
fn taken_apart(mut path: IdedExpr) -> Vec<IdedExpr> {
    let mut steps = Vec::new();
    let id = path.id;
    let base = loop {
        path = match path.expr {
            Expr::Select(select) if !select.test => {
                let field = LiteralValue::String(CelString::from(select.field));
                steps.push(IdedExpr {
                    id: path.id,
                    expr: Expr::Literal(field),
                });
                *select.operand
            }
            Expr::Call(mut function)
                if function.func_name == operators::INDEX && function.args.len() == 2 =>
            {
                steps.extend(function.args.pop());
                function.args.swap_remove(0)
            }
            _ => break path,
        };
    };
    steps.reverse();
    let steps = IdedExpr {
        id,
        expr: Expr::List(ListExpr::new(steps)),
    };
    vec![base, steps]
}

/// The node as something to look up: a path of names and constant indexes below `event` or `meta`.
fn path_lookup(node: &IdedExpr) -> Option<Lookup> {
    let mut steps = Vec::new();
    let mut present = node;
    let root = loop {
        match &present.expr {
            Expr::Select(select) => {
                steps.push(match is_plain_name(&select.field) {
                    true => format!(".{}", select.field),
                    false => format!("['{}']", select.field),
                });
                present = &select.operand;
            }
            Expr::Call(function) if function.func_name == operators::INDEX => {
                let [operand, index] = function.args.as_slice() else {
                    return None;
                };
                steps.push(match &index.expr {
                    Expr::Literal(LiteralValue::String(text)) => format!("['{}']", text.inner()),
                    Expr::Literal(LiteralValue::Int(number)) => format!("[{}]", number.inner()),
                    _ => return None,
                });
                present = operand;
            }
            Expr::Ident(name) => break name,
            _ => return None,
        }
    };
    if steps.is_empty() || !["event", "meta"].contains(&root.as_str()) {
        return None;
    }
    steps.reverse();
    let mut expression = node.clone();
    if let Expr::Select(select) = &mut expression.expr {
        select.test = false;
    }
    Some(Lookup {
        text: format!("{root}{}", steps.concat()),
        expression,
    })
}

fn is_plain_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_meta_field(operand: &IdedExpr, field: &str, node: u64) -> Result<(), Fault> {
    let is_meta = matches!(&operand.expr, Expr::Ident(name) if name == "meta");
    if !is_meta || META_FIELDS.contains(&field) {
        return Ok(());
    }
    let hint = match nearest(field, META_FIELDS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", META_FIELDS.join(", ")),
    };
    Err(Fault {
        message: format!("`meta` has no field `{field}`; {hint}"),
        node,
    })
}

fn check_function(name: &str, given: usize, node: u64) -> Result<(), Fault> {
    let message = if FUNCTIONS.contains(&name) {
        if given == 1 {
            return Ok(());
        }
        format!("`{name}` takes one argument, not {given}")
    } else if METHODS.iter().any(|(method, _)| *method == name) {
        format!("`{name}` is called on a text: `event.VM.NAME.{name}(\"web\")`")
    } else {
        unknown_function(name)
    };
    Err(Fault { message, node })
}

fn check_method(name: &str, given: usize, node: u64) -> Result<(), Fault> {
    let message = match METHODS.iter().find(|(method, _)| *method == name) {
        Some((_, asked)) if *asked == given => return Ok(()),
        Some((_, 0)) => format!("`{name}` takes no argument here, not {given}"),
        Some((_, asked)) => format!("`{name}` takes {asked} argument, not {given}"),
        None if FUNCTIONS.contains(&name) => {
            format!("`{name}` is called as `{name}(…)`, not on a value")
        }
        None => unknown_function(name),
    };
    Err(Fault { message, node })
}

fn unknown_function(name: &str) -> String {
    if let Some((_, usage)) = MACROS.iter().find(|(known, _)| *known == name) {
        return format!("`{name}` is written `{usage}`");
    }
    if name == "matches" {
        return "there are no regular expressions here; use `contains`, `startsWith` or `endsWith`"
            .to_owned();
    }
    let known = FUNCTIONS
        .into_iter()
        .chain(METHODS.into_iter().map(|(method, _)| method))
        .chain(MACROS.into_iter().map(|(name, _)| name));
    match nearest(name, known) {
        Some(meant) => format!("unknown function `{name}`; did you mean `{meant}`?"),
        None => format!("unknown function `{name}`"),
    }
}
