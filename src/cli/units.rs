//! Numbers with units, read from the command line and printed for people.

use std::time::Duration;
use xfer::MIN_RATE;

/// Longest `--timeout`: a day. More is a mistake, and keeps deadlines far from overflow.
const MAX_SECONDS: f64 = 86_400.0;

const DECIMAL: [(&str, u64); 4] = [
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];
const BINARY: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A rate in bits a second: `64K`, `100M`, `2.5G`. Not less than a session needs.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    match parse(text, &[&DECIMAL]) {
        Some(rate) if rate < MIN_RATE => Err("the least is 64K, 64000 bits a second".into()),
        Some(rate) => Ok(rate),
        None => Err("expected bits a second, such as 64K, 100M or 2.5G".into()),
    }
}

/// A size in bytes: `1000`, `500M` (decimal), `2GiB` (binary).
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    parse(text, &[&DECIMAL, &BINARY])
        .ok_or_else(|| "expected bytes, such as 1000, 500M or 2GiB".into())
}

/// Seconds above zero, with or without a fraction.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("expected seconds, above 0 and up to {MAX_SECONDS}")),
    }
}

fn parse(text: &str, systems: &[&[(&str, u64)]]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = if unit.is_empty() {
        1
    } else {
        let mut units = systems.iter().flat_map(|system| system.iter());
        units
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|&(_, factor)| factor)?
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // A fraction of a unit in integers: nine places are more than anyone types, and the sum cannot
    // lose bits.
    let places = fraction.len().min(9);
    let scale = 10_u64.pow(places as u32);
    let part = u128::from(fraction[..places].parse::<u64>().ok()?) * u128::from(factor);
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bytes over seconds in bits a second; 0 where no time passed.
pub(super) fn bits_per_second(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        bytes as f64 * 8.0 / seconds
    } else {
        0.0
    }
}

/// A rate with three significant digits, such as `941 Mbit/s`.
pub(super) fn show_rate(bits_per_second: f64) -> String {
    let steps = [
        (1e9, "Gbit/s"),
        (1e6, "Mbit/s"),
        (1e3, "kbit/s"),
        (1.0, "bit/s"),
    ];
    let (factor, unit) = steps
        .into_iter()
        .find(|(factor, _)| bits_per_second >= *factor)
        .unwrap_or((1.0, "bit/s"));
    let value = bits_per_second / factor;
    let places = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.places$} {unit}")
}

/// A share in per cent of a whole, such as `4.2 %`.
pub(super) fn show_share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.0 %".into();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_decimal_bits() {
        assert_eq!(parse_rate("100M"), Ok(100_000_000));
        assert_eq!(parse_rate("2.5g"), Ok(2_500_000_000));
        assert_eq!(parse_rate("64000"), Ok(64_000));
        for bad in [
            "",
            "0",
            "63999",
            "M",
            "-1",
            "1.",
            ".5M",
            "1e9",
            "1MiB",
            "1 M",
            "99999999999T",
        ] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("500M"), Ok(500_000_000));
        assert_eq!(parse_bytes("1.5KiB"), Ok(1_536));
        assert_eq!(parse_bytes("18446744073709551615"), Ok(u64::MAX));
        assert!(parse_bytes("18446744073709551616").is_err());
        assert!(parse_bytes("16777216TiB").is_err());
    }

    #[test]
    fn timeouts_are_bounded() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "nan", "inf", "86401", "x"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(show_rate(941_200_000.0), "941 Mbit/s");
        assert_eq!(show_rate(1_234.0), "1.23 kbit/s");
        assert_eq!(show_rate(0.0), "0.00 bit/s");
        assert_eq!(show_share(1, 3), "33.3 %");
        assert_eq!(show_share(0, 0), "0.0 %");
        assert_eq!(bits_per_second(125, 1.0), 1_000.0);
        assert_eq!(bits_per_second(125, 0.0), 0.0);
    }
}
