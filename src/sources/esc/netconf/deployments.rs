//! The deployments that an ESC has now, out of its operational data.

use super::hello::{child, local};
use crate::event::document::{self, Element};

/// What there is of all deployments.
pub(super) const SUBTREE: &str = "<esc_datamodel xmlns=\"http://www.cisco.com/esc/esc\"><opdata><tenants><tenant/></tenants></opdata></esc_datamodel>";

/// More are counted and not named.
const SHOWN: usize = 200;

/// Longer lines are cut.
const LONGEST: usize = 200;

/// One line a deployment, `tenant/deployment STATE`, in the order of the answer.
///
/// # Errors
/// The answer cannot be read; why, as a sentence for the operator.
pub(super) fn read(answer: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "it is no UTF-8".to_owned())?;
    let root = document::parse(text).map_err(|fault| fault.to_string())?;
    let tenants = ["data", "esc_datamodel", "opdata", "tenants"]
        .iter()
        .try_fold(&root, |element, name| child(element, name));
    let mut lines = Vec::new();
    let mut more = 0_usize;
    for tenant in tenants.into_iter().flat_map(|tenants| named(tenants, "tenant")) {
        let owner = text_of(tenant, &["name"]).unwrap_or_default();
        // Of each there is one element `deployments`; some releases put elements `deployment` into a single one.
        let deployments = named(tenant, "deployments").flat_map(|deployments| {
            let inner: Vec<&Element> = named(deployments, "deployment").collect();
            if inner.is_empty() {
                vec![deployments]
            } else {
                inner
            }
        });
        for deployment in deployments {
            let Some(name) = text_of(deployment, &["deployment_name", "name"]) else {
                continue;
            };
            if lines.len() == SHOWN {
                more += 1;
                continue;
            }
            let state = child(deployment, "state_machine").and_then(|machine| text_of(machine, &["state"]));
            let state = state.or_else(|| text_of(deployment, &["service_state_machine_state", "state"]));
            let mut line = match state {
                Some(state) => format!("{owner}/{name} {state}"),
                None => format!("{owner}/{name}"),
            };
            line.truncate(line.floor_char_boundary(LONGEST));
            lines.push(line);
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Ok(lines)
}

fn named<'a>(element: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    element.elements().filter(move |child| local(&child.name) == name)
}

fn text_of(element: &Element, names: &[&str]) -> Option<String> {
    let text = names.iter().find_map(|name| child(element, name))?.text();
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(tenants: &str) -> String {
        format!(
            "<rpc-reply><data><e:esc_datamodel xmlns:e='http://www.cisco.com/esc/esc'><e:opdata><e:tenants>{tenants}</e:tenants>\
             </e:opdata></e:esc_datamodel></data></rpc-reply>"
        )
    }

    #[test]
    fn deployments_are_told_with_their_tenants_and_states() {
        let text = answer(
            "<tenant><name>t1</name><deployments><deployment_name>d1</deployment_name><state_machine><state>SERVICE_ACTIVE_STATE\
             </state></state_machine></deployments><deployments><deployment_name>d2</deployment_name></deployments></tenant>\
             <tenant><name>t2</name><deployments><deployment><name>d3</name></deployment></deployments></tenant><tenant/>",
        );
        assert_eq!(
            read(text.as_bytes()),
            Ok(vec![
                "t1/d1 SERVICE_ACTIVE_STATE".to_owned(),
                "t1/d2".to_owned(),
                "t2/d3".to_owned()
            ])
        );
        assert_eq!(read(b"<rpc-reply><data/></rpc-reply>"), Ok(Vec::new()));
        assert!(read(b"<rpc-reply>").is_err());
    }

    #[test]
    fn of_many_the_first_are_named_and_the_rest_are_counted() {
        let many: String = (0..500)
            .map(|n| format!("<deployments><name>{n}{}</name></deployments>", "x".repeat(300)))
            .collect();
        let lines =
            read(answer(&format!("<tenant><name>t</name>{many}</tenant>")).as_bytes()).expect("lines");
        assert_eq!(lines.len(), SHOWN + 1);
        assert_eq!(lines[SHOWN], "and 300 more");
        assert!(lines.iter().all(|line| line.len() <= LONGEST));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "(</?(rpc-reply|data|esc_datamodel|opdata|tenants|tenant|deployments|name)>|x|&|\\PC){0,30}") {
            let _ = read(text.as_bytes());
        }
    }
}
