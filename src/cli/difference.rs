//! The lines in which two texts differ.

/// The difference of two texts line by line, ` ` for common lines, `-` and `+` for the others; none when they are equal.
pub(super) fn difference(old: &str, new: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    // common[i][j]: the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        let (mark, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            (' ', old[i - 1])
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', old[i - 1])
        } else {
            j += 1;
            ('+', new[j - 1])
        };
        text.push(mark);
        text.push(' ');
        text.push_str(line);
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changed_lines_are_marked() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            difference(
                "name: x\ntimeout: 5s\nretry: 1\n",
                "name: x\ntimeout: 9s\nretry: 1\nenv: {}\n"
            )
            .as_deref(),
            Some("  name: x\n- timeout: 5s\n+ timeout: 9s\n  retry: 1\n+ env: {}\n")
        );
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_back(old in "[abc\n]{0,40}", new in "[abc\n]{0,40}") {
            let Some(text) = difference(&old, &new) else { return Ok(()) };
            let side = |mark: char| -> Vec<&str> {
                text.lines()
                    .filter(|line| line.starts_with(mark) || line.starts_with(' '))
                    .map(|line| &line[2..])
                    .collect()
            };
            prop_assert_eq!(side('-'), old.lines().collect::<Vec<_>>());
            prop_assert_eq!(side('+'), new.lines().collect::<Vec<_>>());
        }
    }
}
