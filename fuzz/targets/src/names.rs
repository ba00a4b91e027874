//! Names from a peer.

use xfer_proto::manifest::{MAX_COMPONENT, MAX_DEPTH, MAX_NAME, Name, NameError, PARTIAL_DIR};

/// A name that passes stays beneath its directory and prints as one line of visible text; one that
/// does not has a reason.
pub fn names(data: &[u8]) {
    let name = match Name::new(data) {
        Ok(name) => name,
        Err(error) => return check_refusal(data, error),
    };
    assert_eq!(name.as_bytes(), data);
    assert!(data.len() <= MAX_NAME && !data.starts_with(b"/"));
    let parts: Vec<_> = name.parts().collect();
    assert!((1..=MAX_DEPTH).contains(&parts.len()));
    assert_ne!(parts[0].to_ascii_lowercase(), PARTIAL_DIR.as_bytes());
    for part in &parts {
        assert!((1..=MAX_COMPONENT).contains(&part.len()));
        assert!(!part.contains(&b'/') && !part.contains(&0));
        assert!(*part != b"." && *part != b"..");
    }
    assert_eq!(parts.join(&b'/'), data);
    let printed = name.to_string();
    let is_visible = |c: char| c.is_alphanumeric() || (' '..='~').contains(&c);
    assert!(printed.chars().all(is_visible), "{printed:?}");
    assert!(!printed.is_empty());
    assert_eq!(Name::new(data).map(|again| again.to_string()), Ok(printed));
}

fn check_refusal(data: &[u8], error: NameError) {
    let parts = || data.split(|&byte| byte == b'/');
    let reason = match error {
        NameError::Empty => parts().any(<[u8]>::is_empty),
        NameError::Dots => parts().any(|part| part == b"." || part == b".."),
        NameError::Control => data.iter().any(u8::is_ascii_control),
        NameError::TooLong => {
            let depth = parts().count();
            data.len() > MAX_NAME
                || depth > MAX_DEPTH
                || parts().any(|part| part.len() > MAX_COMPONENT)
        }
        NameError::Reserved => parts()
            .next()
            .is_some_and(|part| part.eq_ignore_ascii_case(PARTIAL_DIR.as_bytes())),
    };
    assert!(reason, "refused for a reason that it has not: {error}");
}
