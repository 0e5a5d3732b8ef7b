//! Kubernetes quantities (`500m`, `1Gi`, `1e3`) as whole numbers, without floating point.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Digits beyond these cannot matter: the largest value is below 2^63 and the smallest unit is nano.
const MAX_DIGITS: usize = 40;

/// The quantity in whole units, rounded up; `None` when the text is no quantity. Saturates at the ends of `i64`.
pub fn value(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 0)
}

/// The quantity in thousandths, rounded up; `None` when the text is no quantity. Saturates at the ends of `i64`.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 3)
}

/// A quantity of thousandths in canonical form: `250m`, `2`.
pub fn from_milli(milli: i64) -> Quantity {
    if milli % 1000 == 0 { Quantity((milli / 1000).to_string()) } else { Quantity(format!("{milli}m")) }
}

/// A quantity of whole units in canonical binary form: `64Mi`, `1500Ki`, `1000`.
pub fn from_bytes(bytes: i64) -> Quantity {
    let mut rest = bytes;
    let mut unit = "";
    for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
        if rest == 0 || rest % 1024 != 0 {
            break;
        }
        rest /= 1024;
        unit = next;
    }
    Quantity(format!("{rest}{unit}"))
}

/// `text` times 10^`decimals`, rounded up (away from zero for positive numbers).
fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() + fraction.len() > MAX_DIGITS {
        return None;
    }
    let (binary, power) = unit(suffix)?;
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let power = i32::try_from(decimals).ok()? + power - i32::try_from(fraction.len()).ok()?;
    let value = shift(digits.checked_mul(binary).unwrap_or(i128::MAX), power, negative);
    let value = if negative { -value } else { value };
    Some(i64::try_from(value).unwrap_or(if negative { i64::MIN } else { i64::MAX }))
}

/// `digits` times 10^`power`; a cut-off remainder rounds positive numbers up and negative ones towards zero.
fn shift(digits: i128, power: i32, negative: bool) -> i128 {
    if power >= 0 {
        let factor = 10i128.checked_pow(power.unsigned_abs());
        return factor.and_then(|f| digits.checked_mul(f)).unwrap_or(if digits == 0 { 0 } else { i128::MAX });
    }
    match 10i128.checked_pow(power.unsigned_abs()) {
        Some(divisor) => digits / divisor + i128::from(!negative && digits % divisor != 0),
        None => i128::from(!negative && digits != 0),
    }
}

/// The binary factor and the decimal power of a suffix.
fn unit(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1, exponent.clamp(-60, 60))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_become_whole_numbers_rounded_up() {
        let rows = [
            ("1", 1, 1000),
            ("500m", 1, 500),
            ("0.5", 1, 500),
            ("1.5", 2, 1500),
            ("1Ki", 1024, 1_024_000),
            ("64Mi", 67_108_864, 67_108_864_000),
            ("1e3", 1000, 1_000_000),
            ("2E", 2_000_000_000_000_000_000, i64::MAX),
            ("100n", 1, 1),
            (".5Gi", 536_870_912, 536_870_912_000),
            ("0", 0, 0),
            ("-1", -1, -1000),
        ];
        for (text, units, millis) in rows {
            let q = Quantity(text.into());
            assert_eq!((value(&q), milli(&q)), (Some(units), Some(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "x", "1x", "1.2.3", "--1", "Ki", "1e", "é", "."] {
            assert_eq!(value(&Quantity(text.into())), None, "{text}");
        }
    }

    #[test]
    fn canonical_forms_read_back() {
        assert_eq!((from_milli(250).0, from_milli(2000).0), ("250m".into(), "2".into()));
        assert_eq!((from_bytes(64 << 20).0, from_bytes(1000).0, from_bytes(0).0), ("64Mi".into(), "1000".into(), "0".into()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = (value(&Quantity(text.clone())), milli(&Quantity(text)));
        }
    }
}
