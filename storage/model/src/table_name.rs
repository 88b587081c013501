//! The tables of the lake by their names: those of the three signals, and those that Orrery writes of its own accord. Never
//! says what is in them.

use crate::Signal;

/// A table of the lake. A receiver can name the tables of signals only, since it knows nothing but [`Signal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TableName {
    Spans = 1,
    Logs = 2,
    Metrics = 3,
    /// The changes of state of alerts.
    Alerts = 4,
}

impl TableName {
    /// In the order of their codes.
    pub const ALL: [Self; 4] = [Self::Spans, Self::Logs, Self::Metrics, Self::Alerts];
    pub const COUNT: usize = Self::ALL.len();

    /// In SQL, in the catalog and in the names of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Alerts => "alerts",
        }
    }

    /// The place in arrays that have one element a table.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The code that the write-ahead log stores.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The inverse of [`TableName::code`].
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Spans),
            2 => Some(Self::Logs),
            3 => Some(Self::Metrics),
            4 => Some(Self::Alerts),
            _ => None,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }

    /// The signal whose table it is; `None` for Orrery's own.
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Self::Spans => Some(Signal::Spans),
            Self::Logs => Some(Signal::Logs),
            Self::Metrics => Some(Signal::Metrics),
            Self::Alerts => None,
        }
    }
}

impl From<Signal> for TableName {
    fn from(signal: Signal) -> Self {
        signal.table()
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_names_and_places_lead_back() {
        for (place, table) in TableName::ALL.into_iter().enumerate() {
            assert_eq!(table.index(), place);
            assert_eq!(TableName::from_code(table.code()), Some(table));
            assert_eq!(TableName::from_name(table.as_str()), Some(table));
        }
        assert_eq!(TableName::from_code(0), None);
        assert_eq!(TableName::from_code(5), None);
        for signal in Signal::ALL {
            assert_eq!(TableName::from(signal).signal(), Some(signal));
            assert_eq!(TableName::from(signal).code(), signal as u8);
        }
    }
}
