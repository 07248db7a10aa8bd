//! What is asked of a server, as XML (RFC 6241).

/// The namespace of the protocol's own elements.
pub(super) const BASE_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// The message that asks for an operation.
pub(super) fn request(id: &str, operation: &str) -> String {
    format!("<rpc message-id=\"{id}\" xmlns=\"{BASE_NAMESPACE}\">{operation}</rpc>")
}

/// The operation that asks for what there is of a subtree.
pub(super) fn get(subtree: &str) -> String {
    format!("<get><filter type=\"subtree\">{subtree}</filter></get>")
}

/// Text as it stands in an element.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
