//! Numbers with units, as they are typed on the command line.

use std::time::Duration;

/// Splits `text` into its number and what follows it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number
        .parse()
        .map_err(|_| format!("`{text}` does not start with a number"))?;
    Ok((number, unit.trim()))
}

/// A rate in bits a second: `100M`, `1.5G`, `64k`, `9600`. The prefixes are decimal.
pub fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit.trim_end_matches("bit/s").trim_end_matches("bps") {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        other => {
            return Err(format!(
                "`{other}` is not a unit of rate; use k, M or G (bit/s)"
            ));
        }
    };
    let rate = (number * scale) as u64;
    if rate == 0 {
        Err("a rate must be above zero".into())
    } else {
        Ok(rate)
    }
}

/// A rate, or `none` for a link that is not limited.
pub fn rate_or_none(text: &str) -> Result<RateChange, String> {
    if text == "none" {
        Ok(RateChange(None))
    } else {
        rate(text).map(|rate| RateChange(Some(rate)))
    }
}

/// A rate in bits a second, or no limit. A type of its own, since clap reads meaning into `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateChange(pub Option<u64>);

/// A size in bytes: `64KiB`, `16MiB`, `1GiB`, `1500`. `k`, `M` and `G` alone are binary too.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        other => {
            return Err(format!(
                "`{other}` is not a unit of size; use KiB, MiB or GiB"
            ));
        }
    };
    Ok((number * f64::from(1u32 << scale)) as u64)
}

/// A time: `50ms`, `100us`, `2s`.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "" if number == 0.0 => 1.0,
        other => return Err(format!("`{other}` is not a unit of time; use us, ms or s")),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

/// A share in parts per million: `1%`, `0.5%`, `0.01`.
pub fn share(text: &str) -> Result<u32, String> {
    let (number, unit) = split(text)?;
    let share = match unit {
        "%" => number / 100.0,
        "" => number,
        other => return Err(format!("`{other}` is not a share; write 1% or 0.01")),
    };
    if share > 1.0 {
        return Err(format!("`{text}` is more than the whole"));
    }
    Ok((share * 1e6).round() as u32)
}

/// `bytes` as people say it.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 && b % (1 << 30) == 0 => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// `bits` a second as people say it.
pub fn show_rate(bits: u64) -> String {
    match bits as f64 {
        b if b >= 1e9 => format!("{} Gbit/s", trim(b / 1e9)),
        b if b >= 1e6 => format!("{} Mbit/s", trim(b / 1e6)),
        b => format!("{} kbit/s", trim(b / 1e3)),
    }
}

/// Two decimals at most, and none that say nothing.
pub fn trim(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(rate("100M"), Ok(100_000_000));
        assert_eq!(rate("1.5G"), Ok(1_500_000_000));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1500"), Ok(1500));
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(share("1%"), Ok(10_000));
        assert_eq!(share("0.005"), Ok(5_000));
        assert_eq!(rate_or_none("none"), Ok(RateChange(None)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(rate("fast").is_err());
        assert!(rate("0").is_err());
        assert!(rate("10X").is_err());
        assert!(share("101%").is_err());
        assert!(time("5").is_err());
        assert!(size("1TB").is_err());
    }

    #[test]
    fn units_are_shown() {
        assert_eq!(show_size(16 << 20), "16 MiB");
        assert_eq!(show_size(1500), "1500 B");
        assert_eq!(show_rate(100_000_000), "100 Mbit/s");
        assert_eq!(show_rate(2_500_000_000), "2.5 Gbit/s");
    }
}
