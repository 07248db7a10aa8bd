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
            '\r' => out.push_str("&#13;"),
            '"' if attribute => out.push_str("&quot;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            c if c.is_ascii() => out.push(c),
            // Writing into a String cannot fail.
            c => drop(write!(out, "&#x{:X};", u32::from(c))),
        }
    }
}
