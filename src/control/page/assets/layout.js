// Lays a document out for reading. Only blanks between its parts are added: what it says stays as it is.

const DEEPEST = 200;

function xml(text) {
  const parts = text.match(/<!\[CDATA\[[\s\S]*?\]\]>|<!--[\s\S]*?-->|<[^>]*>|[^<]+|</g) ?? [];
  const lines = [];
  let depth = 0;
  let line = "";
  const close = () => {
    if (line) lines.push("  ".repeat(Math.min(DEEPEST, Math.max(0, depth))) + line);
    line = "";
  };
  parts.forEach((part, at) => {
    if (part.startsWith("</")) {
      // An element without elements in it stays on one line.
      const isLeaf = line.startsWith("<") && !line.startsWith("</");
      if (isLeaf) {
        line += part;
        close();
        return;
      }
      close();
      depth -= 1;
      line = part;
      close();
    } else if (/^<[^!?]/.test(part) && !part.endsWith("/>")) {
      close();
      line = part;
      const next = parts[at + 1] ?? "";
      if (/^<[^/!]/.test(next) || (/^\s*$/.test(next) && /^<[^/!]/.test(parts[at + 2] ?? ""))) {
        close();
        depth += 1;
      }
    } else if (/^<[^!]/.test(part)) {
      close();
      line = part;
      close();
    } else if (part.trim()) {
      line += part;
    }
  });
  close();
  return lines.join("\n");
}

function json(text) {
  let out = "";
  let depth = 0;
  let quoted = false;
  const feed = () => {
    out += `\n${"  ".repeat(Math.min(DEEPEST, depth))}`;
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      out += letter;
      if (letter === "\\") {
        at += 1;
        out += text[at] ?? "";
      } else if (letter === '"') quoted = false;
    } else if (letter === '"') {
      quoted = true;
      out += letter;
    } else if (letter === "{" || letter === "[") {
      out += letter;
      if (/^\s*[}\]]/.test(text.slice(at + 1, at + 50))) continue;
      depth += 1;
      feed();
    } else if (letter === "}" || letter === "]") {
      if (!/[{[]\s*$/.test(out.slice(-50))) {
        depth = Math.max(0, depth - 1);
        feed();
      }
      out += letter;
    } else if (letter === ",") {
      out += letter;
      feed();
    } else if (letter === ":") out += ": ";
    else if (!/\s/.test(letter)) out += letter;
  }
  return out;
}

/** The document with a line for each of its parts, where it is one of XML or JSON on few lines. */
export function laidOut(text) {
  if (text.length > 2_000_000 || text.split("\n", 6).length > 5) return text;
  const start = text.trimStart()[0];
  if (start === "<") return xml(text);
  return start === "{" || start === "[" ? json(text) : text;
}
