//! Signal names and numbers: of images ("SIGQUIT", "QUIT", "3", "RTMIN+3") and of the CRI's enum.

use cri::v1;

const NAMES: &[(&str, i32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];
const RT_MIN: i32 = 34;
const RT_MAX: i32 = 64;

/// The number of a signal given by name or number, in the forms that images use. `None` when there is no such signal.
pub(crate) fn parse(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RT_MAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let (base, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (RT_MIN, rest),
        (_, Some(rest)) => (RT_MAX, rest),
        _ => return None,
    };
    let offset = if rest.is_empty() { 0 } else { rest.replace("PLUS", "+").replace("MINUS", "-").parse::<i32>().ok()? };
    base.checked_add(offset).filter(|n| (RT_MIN..=RT_MAX).contains(n))
}

/// The number of a CRI signal; `None` for the default, which is the image's.
pub(crate) fn from_cri(signal: v1::Signal) -> Option<i32> {
    parse(signal.as_str_name())
}

/// The CRI's value for a signal number.
pub(crate) fn to_cri(number: i32) -> v1::Signal {
    let name = match number {
        n if (RT_MIN + 1..=RT_MIN + 15).contains(&n) => format!("SIGRTMINPLUS{}", n - RT_MIN),
        n if (RT_MAX - 14..RT_MAX).contains(&n) => format!("SIGRTMAXMINUS{}", RT_MAX - n),
        RT_MIN => "SIGRTMIN".to_owned(),
        RT_MAX => "SIGRTMAX".to_owned(),
        n => NAMES.iter().find(|(_, number)| *number == n).map(|(name, _)| format!("SIG{name}")).unwrap_or_default(),
    };
    v1::Signal::from_str_name(&name).unwrap_or(v1::Signal::RuntimeDefault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SIGRTMIN", 34)] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "SIGNOPE", "0", "65", "-1", "RTMIN+99", "RTMINx", "99999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_cri_signal_has_its_number_and_back() {
        assert_eq!(from_cri(v1::Signal::RuntimeDefault), None);
        for value in 1..=65 {
            let signal = v1::Signal::try_from(value).unwrap();
            let number = from_cri(signal).unwrap_or_else(|| panic!("{signal:?} has no number"));
            assert_eq!(from_cri(to_cri(number)), Some(number), "{signal:?}");
        }
    }
}
