//! Text of guests and of uploads in what the platform says: it stays on its line, and shows itself.

/// Writes out what would not be seen, or would move what is seen: control characters, ends of lines, and what turns the
/// direction of text. So a name cannot look like another line of a log.
#[must_use]
pub fn on_one_line(text: String) -> String {
    if !text.contains(moves) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if moves(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Whether a terminal acts on it, or it moves the text around it: C0, C1 and DEL; the separators of lines and paragraphs;
/// the marks, embeddings and isolates of UAX 9.
#[must_use]
pub fn moves(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_text_is_written_out() {
        let text = "a\nb\rc\td\u{1b}[2Je\u{9b}f\u{7f}g\u{2028}h\u{202e}i\u{2067}j\u{200f}";
        let shown = on_one_line(text.to_owned());
        assert_eq!(shown, "a\\nb\\rc\\td\\u{1b}[2Je\\u{9b}f\\u{7f}g\\u{2028}h\\u{202e}i\\u{2067}j\\u{200f}");
        assert_eq!(on_one_line("Grüße, 世界 👋".to_owned()), "Grüße, 世界 👋");
    }
}
