//! Lines of files of sums.

use xfer::sum::{format_line, parse_line};

/// A line that is understood prints as a line that means the same, and that prints as itself.
pub fn sum_line(data: &[u8]) {
    let Ok((digest, path)) = parse_line(data) else {
        return;
    };
    let line = format_line(digest, &path);
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r') && !line.contains(&0));
    let again = parse_line(&line).expect("a line that was printed is refused");
    assert_eq!(again, (digest, path.clone()));
    assert_eq!(format_line(again.0, &again.1), line);
}
