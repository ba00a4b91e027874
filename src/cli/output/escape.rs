//! Makes text that came from elsewhere harmless to a terminal.

/// The text with everything escaped that could steer a terminal or mislead a reader: control
/// characters, marks that change the direction of writing, invisible characters. The rule is that
/// of `Name`'s `Display`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || (c.is_ascii() && !c.is_ascii_control()) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_default());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(escape("plain `é` (os error 2)"), "plain `é` (os error 2)");
        assert_eq!(escape("a\x1b[2J\n\u{202e}b"), "a\\u{1b}[2J\\n\\u{202e}b");
    }
}
