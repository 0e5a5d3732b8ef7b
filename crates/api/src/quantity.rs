//! Resource quantities (`apimachinery/pkg/api/resource`): `500m`, `1.5Gi`, `12e6`.
//!
//! A quantity is held exactly as a whole number of nano-units, which is the finest step Kubernetes knows. Never a float.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Nano-units in one unit.
const NANO: i128 = 1_000_000_000;
/// Kubernetes caps binary quantities at the largest `int64`.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;
/// Kubernetes' fast path holds at most this many digits; it decides whether a spelling is kept.
const FAST_DIGITS: usize = 18;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `1`, `500m`, `12M`.
    #[default]
    DecimalSi,
    /// `1Gi`.
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

/// An exact amount of a resource. Equality and order look at the amount, not at the format.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
    /// The user's spelling, where Kubernetes keeps it because it counts as canonical.
    spelling: Option<Box<str>>,
}

/// Why a text is no quantity; the wording is Kubernetes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text has another form.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

struct Parts<'a> {
    negative: bool,
    num: &'a str,
    denom: &'a str,
    suffix: &'a str,
}

impl Quantity {
    /// A whole number of units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Self { nano: i128::from(units) * NANO, format, spelling: None }
    }

    /// A number of thousandths, as for CPU.
    pub fn from_milli(milli: i64) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi, spelling: None }
    }

    /// The exact amount in nano-units (saturated at the ends of `i128`).
    pub fn nano(&self) -> i128 {
        self.nano
    }

    /// Whole units, rounded away from zero and capped to `i64`, as Go's `Value()`.
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// Thousandths, rounded away from zero and capped to `i64`, as Go's `MilliValue()`.
    pub fn milli(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, step: i128) -> i64 {
        i64::try_from(div_away(self.nano, step)).unwrap_or(if self.nano < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whether the amount is nought.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match self.nano.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// How it is printed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds `other`, keeping this one's format unless it is zero. Saturates.
    pub fn add(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.nano = self.nano.saturating_add(other.nano);
        self.spelling = None;
    }

    /// Takes `other` away, keeping this one's format unless it is zero. Saturates.
    pub fn sub(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.nano = self.nano.saturating_sub(other.nano);
        self.spelling = None;
    }

    /// Reads a quantity. Amounts finer than a nano-unit are rounded away from zero.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let parts = split(text)?;
        let (scale, shift, format) = suffix(parts.suffix)?;
        let digits: String = [parts.num, parts.denom].concat();
        let fraction = i64::try_from(parts.denom.len()).unwrap_or(i64::MAX);
        let nano = match magnitude(&digits, scale.saturating_sub(fraction), shift) {
            n if format == Format::BinarySi && n > MAX_BINARY => MAX_BINARY,
            n => n,
        };
        let keeps = match format {
            Format::BinarySi => shift > 0 && parts.denom.is_empty() && odd_enough(parts.num, shift),
            _ => {
                let scale = scale.saturating_sub(fraction);
                digits.len() <= FAST_DIGITS && scale >= -9 && scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
            }
        };
        // A binary fraction below one is shown in decimals, as it has no binary spelling.
        let format = if format == Format::BinarySi && nano > 0 && nano < NANO { Format::DecimalSi } else { format };
        let spelling = (keeps || text == "0").then(|| text.into());
        Ok(Self { nano: if parts.negative { -nano } else { nano }, format, spelling })
    }
}

/// Whether Kubernetes' fast path takes a binary number and finds no factor of eight in it, so that it keeps the text.
fn odd_enough(num: &str, shift: u32) -> bool {
    // The estimate of decimal digits is Kubernetes' own: three for each factor of 1024.
    let room = 15i64 - i64::try_from(num.len()).unwrap_or(i64::MAX) - i64::from(shift * 3 / 10) - 1;
    room >= 0 && num.parse::<i64>().is_ok_and(|v| v & 7 != 0 && v.checked_mul(1i64 << shift.min(62)).is_some())
}

fn split(text: &str) -> Result<Parts<'_>, ParseError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let rest = rest.trim_start_matches('0');
    let take = |s: &str, ok: fn(char) -> bool| s.find(|c| !ok(c)).unwrap_or(s.len());
    let digit: fn(char) -> bool = |c| c.is_ascii_digit();
    let (num, rest) = rest.split_at(take(rest, digit));
    let (denom, rest) = match rest.strip_prefix('.') {
        Some(r) => r.split_at(take(r, digit)),
        None => ("", rest),
    };
    let letters = take(rest, |c| "eEinumkKMGTP".contains(c));
    let tail = rest.get(letters..).unwrap_or_default();
    let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    if !tail.chars().all(digit) {
        return Err(ParseError::Format);
    }
    Ok(Parts { negative, num: if num.is_empty() { "0" } else { num }, denom, suffix: rest })
}

/// Decimal exponent, binary shift and format of a suffix.
fn suffix(text: &str) -> Result<(i64, u32, Format), ParseError> {
    if let Some((_, e)) = DECIMAL.iter().find(|(s, _)| *s == text) {
        return Ok((i64::from(*e), 0, Format::DecimalSi));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(s, _)| *s == text) {
        return Ok((0, *shift, Format::BinarySi));
    }
    let exponent = text.strip_prefix(['e', 'E']).and_then(|t| t.parse::<i64>().ok());
    exponent.map(|e| (e, 0, Format::DecimalExponent)).ok_or(ParseError::Suffix)
}

/// `digits × 10^scale × 2^shift` in nano-units, rounded up and saturated.
fn magnitude(digits: &str, scale: i64, shift: u32) -> i128 {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return 0;
    }
    let mut scale = scale.saturating_add(9);
    let trimmed = significant.trim_end_matches('0');
    scale = scale.saturating_add(i64::try_from(significant.len() - trimmed.len()).unwrap_or(0));
    // Digits beyond what the number type holds only decide that something is left to round up.
    let kept = match shift {
        0 if trimmed.get(..39).is_some_and(|t| t.parse::<i128>().is_ok()) => 39,
        0 => 38,
        _ => 30,
    };
    let (head, mut sticky) = match trimmed.get(..kept) {
        Some(head) if trimmed.len() > kept => {
            scale = scale.saturating_add(i64::try_from(trimmed.len() - kept).unwrap_or(0));
            (head, true)
        }
        _ => (trimmed, false),
    };
    let Ok(mut n) = head.parse::<i128>() else { return i128::MAX };
    let Some(shifted) = n.checked_mul(1i128 << shift) else { return i128::MAX };
    n = shifted;
    while scale > 0 {
        let Some(bigger) = n.checked_mul(10) else { return i128::MAX };
        n = bigger;
        scale -= 1;
    }
    while scale < 0 && n > 0 {
        sticky |= n % 10 != 0;
        n /= 10;
        scale += 1;
    }
    if sticky { n.saturating_add(1) } else { n }
}

fn div_away(n: i128, step: i128) -> i128 {
    let q = n / step;
    if n % step == 0 { q } else { q + n.signum() }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.spelling {
            return f.write_str(text);
        }
        if self.nano == 0 {
            return f.write_str("0");
        }
        let whole = self.nano % NANO == 0;
        let small = self.nano.unsigned_abs() < 1024 * NANO.unsigned_abs();
        if self.format == Format::BinarySi && whole && !small {
            let mut n = self.nano / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if n % 1024 != 0 {
                    break;
                }
                n /= 1024;
                suffix = name;
            }
            return write!(f, "{n}{suffix}");
        }
        let (mut n, mut exponent) = (self.nano, -9);
        while n % 1000 == 0 && exponent < 18 {
            n /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (Format::DecimalExponent, 0) => write!(f, "{n}"),
            (Format::DecimalExponent, e) => write!(f, "{n}e{e}"),
            (_, e) => write!(f, "{n}{}", DECIMAL.iter().find(|(_, x)| *x == e).map_or("", |(s, _)| s)),
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_become_canonical_as_in_kubernetes() {
        for (given, want) in [
            ("0", "0"),
            ("0.0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("500m", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("1536Mi", "1536Mi"),
            ("64Mi", "64Mi"),
            ("100k", "100k"),
            ("1000k", "1M"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("-1.5", "-1500m"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1023", "1023"),
            ("512Ki", "512Ki"),
            ("0.1Ki", "102400m"),
            ("1Ki", "1Ki"),
            (".5", "500m"),
            ("1.", "1."),
            ("1.500", "1.500"),
            ("8Ei", "9223372036854775807"),
            ("2500000000", "2500M"),
            ("1Ti", "1Ti"),
            ("100Gi", "100Gi"),
            ("110", "110"),
        ] {
            assert_eq!(Quantity::parse(given).map(|q| q.to_string()), Ok(want.to_owned()), "{given}");
        }
    }

    #[test]
    fn bad_spellings_are_refused_in_kubernetes_words() {
        for (given, want) in [
            ("", ParseError::Format),
            ("abc", ParseError::Format),
            ("1Q", ParseError::Format),
            ("1 Gi", ParseError::Format),
            ("1.2.3", ParseError::Format),
            ("1GiB", ParseError::Format),
            ("1KK", ParseError::Suffix),
            ("1ki", ParseError::Suffix),
        ] {
            assert_eq!(Quantity::parse(given).map(|q| q.to_string()), Err(want), "{given:?}");
        }
    }

    #[test]
    fn amounts_compare_and_add_exactly() {
        let q = |t: &str| Quantity::parse(t).expect(t);
        assert_eq!(q("1Gi"), q("1073741824"));
        assert!(q("1500m") > q("1") && q("-1") < q("0"));
        assert_eq!((q("1500m").value(), q("1500m").milli(), q("-1500m").value()), (2, 1500, -2));
        let mut sum = q("512Mi");
        sum.add(&q("512Mi"));
        assert_eq!(sum.to_string(), "1Gi");
        sum.sub(&q("1Gi"));
        assert_eq!(sum.to_string(), "0");
    }

    #[test]
    fn the_largest_amount_reads_as_itself() {
        let largest = Quantity::parse("999999999999999999999999999999999999999e3").expect("saturates");
        assert_eq!(largest.nano(), i128::MAX);
        assert_eq!(Quantity::parse(&largest.to_string()).expect("its own text").nano(), i128::MAX);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_stable(text in "[-+]?[0-9.]{0,40}[a-zA-Z]{0,3}[-+]?[0-9]{0,25}") {
            if let Ok(q) = Quantity::parse(&text) {
                let again = Quantity::parse(&q.to_string());
                prop_assert_eq!(again.map(|a| a.to_string()), Ok(q.to_string()));
            }
        }
    }
}
