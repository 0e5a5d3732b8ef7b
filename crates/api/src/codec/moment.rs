//! Moments as Kubernetes writes them: RFC 3339 in UTC, whole seconds or microseconds (`metav1.Time`, `metav1.MicroTime`).

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

/// Go's zero time, which Kubernetes writes as null: the first of January of year 1.
pub const GO_ZERO_SECONDS: i64 = -62_135_596_800;
/// The layout that Go's messages name.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// Days since 1970 of a civil date (the proleptic Gregorian calendar).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn stuck<T>(&self, element: &str) -> Result<T, String> {
        Err(format!("parsing time {:?} as {LAYOUT:?}: cannot parse {:?} as {element:?}", self.whole, self.rest))
    }

    fn out_of_range<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("parsing time {:?}: {what} out of range", self.whole))
    }

    fn number(&mut self, digits: usize, element: &str) -> Result<i64, String> {
        match self.rest.get(..digits).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok()) {
            Some(n) => {
                self.rest = self.rest.get(digits..).unwrap_or_default();
                Ok(n)
            }
            None => self.stuck(element),
        }
    }

    fn mark(&mut self, mark: char) -> Result<(), String> {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => self.stuck(&mark.to_string()),
        }
    }

    fn fraction(&mut self) -> u32 {
        let Some(rest) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some(text) = rest.get(..digits.min(9)).filter(|t| !t.is_empty()) else { return 0 };
        self.rest = rest.get(digits..).unwrap_or_default();
        let missing = u32::try_from(9 - text.len()).unwrap_or(0);
        text.parse::<u32>().unwrap_or(0) * 10u32.pow(missing)
    }

    fn offset(&mut self) -> Result<i64, String> {
        const ELEMENT: &str = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let at = self.rest.as_bytes();
        let sign = match (at.first(), at.get(3)) {
            (Some(b'+'), Some(b':')) => 1,
            (Some(b'-'), Some(b':')) => -1,
            _ => return self.stuck(ELEMENT),
        };
        let two = |range: std::ops::Range<usize>| {
            self.rest.get(range).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse::<i64>().ok())
        };
        let (Some(hours), Some(minutes)) = (two(1..3), two(4..6)) else { return self.stuck(ELEMENT) };
        if hours > 24 || minutes > 60 {
            return self.out_of_range(if hours > 24 { "time zone offset hour" } else { "time zone offset minute" });
        }
        self.rest = self.rest.get(6..).unwrap_or_default();
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

impl Moment {
    /// Reads RFC 3339. The error is Go's sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut r = Reader { whole: text, rest: text };
        let year = r.number(4, "2006")?;
        r.mark('-')?;
        let month = r.number(2, "01")?;
        if !(1..=12).contains(&month) {
            return r.out_of_range("month");
        }
        r.mark('-')?;
        let day = r.number(2, "02")?;
        r.mark('T')?;
        let hour = r.number(2, "15")?;
        if hour > 23 {
            return r.out_of_range("hour");
        }
        r.mark(':')?;
        let minute = r.number(2, "04")?;
        if minute > 59 {
            return r.out_of_range("minute");
        }
        r.mark(':')?;
        let second = r.number(2, "05")?;
        if second > 59 {
            return r.out_of_range("second");
        }
        let nanos = r.fraction();
        let offset = r.offset()?;
        if !r.rest.is_empty() {
            return Err(format!("parsing time {text:?}: extra text: {:?}", r.rest));
        }
        if day < 1 || day > days_in(year, month) {
            return r.out_of_range("day");
        }
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Ok(Self { seconds, nanos })
    }

    /// Whether it is Go's zero time.
    pub fn is_go_zero(&self) -> bool {
        self.seconds == GO_ZERO_SECONDS && self.nanos == 0
    }

    /// `2024-05-06T07:08:09Z`.
    pub fn to_seconds_text(&self) -> String {
        let (days, rest) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
    }

    /// `2024-05-06T07:08:09.123456Z`.
    pub fn to_micros_text(&self) -> String {
        let mut text = self.to_seconds_text();
        text.pop();
        text + &format!(".{:06}Z", self.nanos / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_written_in_utc() {
        let m = Moment::parse("2024-02-29T23:59:58.1234567+02:00").expect("valid");
        assert_eq!((m.to_seconds_text().as_str(), m.to_micros_text().as_str()), ("2024-02-29T21:59:58Z", "2024-02-29T21:59:58.123456Z"));
        assert_eq!(Moment::parse("1970-01-01T00:00:00Z"), Ok(Moment { seconds: 0, nanos: 0 }));
        assert!(Moment::parse("0001-01-01T00:00:00Z").is_ok_and(|m| m.is_go_zero()));
    }

    #[test]
    fn bad_moments_are_refused_in_go_words() {
        for (text, want) in [
            ("foo", r#"parsing time "foo" as "2006-01-02T15:04:05Z07:00": cannot parse "foo" as "2006""#),
            ("2024-05-06", r#"parsing time "2024-05-06" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#),
            ("2024-13-06T00:00:00Z", r#"parsing time "2024-13-06T00:00:00Z": month out of range"#),
            ("2023-02-29T00:00:00Z", r#"parsing time "2023-02-29T00:00:00Z": day out of range"#),
            ("2023-02-20T00:00:00", r#"parsing time "2023-02-20T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#),
        ] {
            assert_eq!(Moment::parse(text), Err(want.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn text_and_moment_agree(seconds in -62_135_596_800i64..253_402_300_799, nanos in 0u32..1_000_000_000) {
            let m = Moment { seconds, nanos };
            prop_assert_eq!(Moment::parse(&m.to_micros_text()), Ok(Moment { seconds, nanos: nanos / 1000 * 1000 }));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = Moment::parse(&text);
        }
    }
}
