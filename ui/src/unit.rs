//! What a value is measured in: how it is written on an axis and in a table, and how the unit that a metric was sent with
//! (UCUM, the Unified Code for Units of Measure) comes to it. Never touches the document.

use crate::format;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub base: Base,
    /// Whether it is so much in a second.
    pub per_second: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Number,
    /// In nanoseconds.
    Duration,
    Bytes,
    /// Of 100.
    Percent,
}

impl Unit {
    pub const NUMBER: Unit = Unit { base: Base::Number, per_second: false };
    pub const DURATION: Unit = Unit { base: Base::Duration, per_second: false };

    pub fn per_second(self) -> Unit {
        Unit { per_second: true, ..self }
    }

    pub fn text(self, value: f64) -> String {
        let amount = match self.base {
            _ if value == 0.0 && self.base != Base::Percent => "0".to_owned(),
            Base::Number => format::number(value),
            Base::Duration => format::duration(value as i64),
            Base::Bytes => format::bytes(value.max(0.0) as u64),
            Base::Percent => format!("{}\u{a0}%", format::number(value)),
        };
        if self.per_second { format!("{amount}/s") } else { amount }
    }
}

/// The unit of a metric, and what its values are multiplied with to be in it. One that is not known is a plain number.
pub fn of_metric(ucum: Option<&str>) -> (Unit, f64) {
    let text = ucum.unwrap_or_default();
    let (text, per_second) = match text.strip_suffix("/s") {
        Some(amount) => (amount, true),
        None => (text, false),
    };
    let (base, factor) = match text {
        "ns" => (Base::Duration, 1.0),
        "us" => (Base::Duration, 1e3),
        "ms" => (Base::Duration, 1e6),
        "s" => (Base::Duration, 1e9),
        "min" => (Base::Duration, 60e9),
        "h" => (Base::Duration, 3_600e9),
        "By" => (Base::Bytes, 1.0),
        "kBy" => (Base::Bytes, 1e3),
        "MBy" => (Base::Bytes, 1e6),
        "GBy" => (Base::Bytes, 1e9),
        "KiBy" => (Base::Bytes, 1024.0),
        "MiBy" => (Base::Bytes, 1024.0 * 1024.0),
        "GiBy" => (Base::Bytes, 1024.0 * 1024.0 * 1024.0),
        "%" => (Base::Percent, 1.0),
        _ => (Base::Number, 1.0),
    };
    (Unit { base, per_second }, factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_the_unit_that_was_sent() {
        for (ucum, value, text) in [
            (Some("s"), 0.25, "250 ms"),
            (Some("ms"), 1_500.0, "1.5 s"),
            (Some("By"), 48_200.0, "48.2 kB"),
            (Some("MiBy"), 512.0, "537 MB"),
            (Some("By/s"), 1_000.0, "1 kB/s"),
            (Some("%"), 12.5, "12.5 %"),
            (Some("%"), 0.0, "0 %"),
            (Some("{item}"), 7.0, "7"),
            (Some("m{cpu}"), 0.0, "0"),
            (None, 1_234.0, "1,234"),
        ] {
            let (unit, factor) = of_metric(ucum);
            assert_eq!(unit.text(value * factor).replace('\u{a0}', " "), text, "{ucum:?} {value}");
        }
        assert_eq!(Unit::NUMBER.per_second().text(12.4), "12.4/s");
        assert_eq!(Unit::DURATION.per_second().text(5e8).replace('\u{a0}', " "), "500 ms/s");
    }
}
