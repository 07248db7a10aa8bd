//! Writes elements the way libxml2 does, because hooks grep what `onehem-server` hands them line by line.
//!
//! libxml2's rules, as its `xmlsave.c` follows them for a document without a declared encoding: two blanks a level, unless
//! an element holds text or CDATA directly, which leaves all below it on one line; `<X/>` for an empty element; CDATA
//! sections as they are; other text escaped, characters beyond ASCII as `&#xE9;`.

use std::fmt::Write as _;

use crate::event::document::{Element, Node};

/// The element as libxml2 writes it, without a line break at the end.
pub(super) fn libxml2(element: &Element) -> String {
    let mut out = String::new();
    write_element(&mut out, element, 0, true);
    out
}

/// The element on one line, for documents that had to be put together.
pub(super) fn plain(element: &Element) -> String {
    let mut out = String::new();
    write_element(&mut out, element, 0, false);
    out
}

fn write_element(out: &mut String, element: &Element, level: usize, laid_out: bool) {
    out.push('<');
    out.push_str(&element.name);
    for (name, value) in &element.attributes {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
    }
    if element.children.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    let laid_out = laid_out
        && !element
            .children
            .iter()
            .any(|node| matches!(node, Node::Text(_) | Node::CData(_)));
    for node in &element.children {
        if laid_out {
            new_line(out, level + 1);
        }
        write_node(out, node, level + 1, laid_out);
    }
    if laid_out {
        new_line(out, level);
    }
    out.push_str("</");
    out.push_str(&element.name);
    out.push('>');
}

fn write_node(out: &mut String, node: &Node, level: usize, laid_out: bool) {
    match node {
        // Depth is bounded where documents are read.
        Node::Element(element) => write_element(out, element, level, laid_out),
        Node::Text(text) => escape(out, text, false),
        Node::CData(data) => {
            out.push_str("<![CDATA[");
            out.push_str(data);
            out.push_str("]]>");
        }
        Node::Comment(comment) => {
            out.push_str("<!--");
            out.push_str(comment);
            out.push_str("-->");
        }
        Node::Instruction(instruction) => {
            out.push_str("<?");
            out.push_str(instruction);
            out.push_str("?>");
        }
    }
}

fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn escape(out: &mut String, text: &str, attribute: bool) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str(if attribute { "&#13;" } else { "&#xD;" }),
            '"' if attribute => out.push_str("&quot;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            c if c.is_ascii() => out.push(c),
            // Writing into a String cannot fail.
            c => drop(write!(out, "&#x{:X};", u32::from(c))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::document;

    /// What libxml2 2.9.14 wrote for these elements, asked through Nokogiri as `onehem-server` does.
    #[test]
    fn elements_are_written_as_libxml2_writes_them() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/libxml2.json")).expect("JSON");
        let cases = cases.as_array().expect("a list");
        assert!(cases.len() > 10);
        for case in cases {
            let element =
                document::parse_element(case["element"].as_str().expect("text")).expect("an element");
            assert_eq!(
                libxml2(&element),
                case["written"].as_str().expect("text"),
                "{}",
                case["name"]
            );
        }
    }

    fn text() -> impl Strategy<Value = String> {
        "[ -~\t\n\ré日😀]{1,8}"
    }

    fn attributes() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::btree_map("[a-z]{1,4}", text(), 0..3).prop_map(|map| map.into_iter().collect())
    }

    /// Elements without comments and instructions, whose text a reader gives back as it is.
    fn element() -> impl Strategy<Value = Element> {
        let leaf = ("[A-Z_]{1,6}", attributes()).prop_map(|(name, attributes)| Element {
            name,
            attributes,
            children: Vec::new(),
        });
        leaf.prop_recursive(5, 40, 5, |inner| {
            let node = prop_oneof![
                3 => inner.prop_map(Node::Element),
                1 => text().prop_map(Node::Text),
                1 => "[ -\\\\^-~\né日]{0,8}".prop_map(Node::CData),
            ];
            ("[A-Z_]{1,6}", attributes(), proptest::collection::vec(node, 0..5)).prop_map(
                |(name, attributes, mut children)| {
                    // Two texts in a row are one when read again.
                    children.dedup_by(|a, b| matches!((a, b), (Node::Text(_), Node::Text(_))));
                    Element {
                        name,
                        attributes,
                        children,
                    }
                },
            )
        })
    }

    /// The element without the blanks that layout puts between elements.
    fn without_layout(element: &Element) -> Element {
        let holds_text = element.children.iter().any(|node| match node {
            Node::Text(text) => !text.trim().is_empty(),
            Node::CData(_) => true,
            _ => false,
        });
        Element {
            name: element.name.clone(),
            attributes: element.attributes.clone(),
            children: element
                .children
                .iter()
                .filter(|node| holds_text || !matches!(node, Node::Text(_)))
                .map(|node| match node {
                    Node::Element(inner) => Node::Element(without_layout(inner)),
                    other => other.clone(),
                })
                .collect(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(element in element()) {
            let written = plain(&element);
            prop_assert_eq!(&document::parse(&written).expect("well-formed"), &element);
            let written = libxml2(&element);
            let read = document::parse(&written).expect("well-formed");
            prop_assert_eq!(without_layout(&read), without_layout(&element));
            // Laying out once more changes nothing but blanks that became text.
            prop_assert_eq!(document::measure(&written), Ok(written.len()));
        }
    }
}
