//! The bytes of roll-ups: integers of variable length (LEB128, signed ones zigzag), texts behind their length. FORMAT.md
//! has them to the byte. Reading checks everything that it uses, and never panics.

use crate::graph::totals::{Exemplar, Exemplars, Totals, Weight};
use crate::histogram::{Histogram, Parts};
use crate::spans::{Symbol, Symbols};

/// Bytes in the making.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, number: impl Into<u128>) {
        let mut rest: u128 = number.into();
        while rest >= 0x80 {
            self.0.push((rest as u8 & 0x7f) | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub fn signed(&mut self, number: impl Into<i128>) {
        let number: i128 = number.into();
        self.number(((number << 1) ^ (number >> 127)).cast_unsigned());
    }

    pub fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    /// All texts but the empty one, which is number 0.
    pub fn symbols(&mut self, symbols: &Symbols) {
        self.count(symbols.len() - 1);
        for symbol in 1..symbols.len() {
            self.text(symbols.text(symbol as Symbol));
        }
    }

    pub fn totals(&mut self, totals: &Totals) {
        self.number(totals.errors);
        self.number(totals.weight.0);
        self.histogram(&totals.latency);
        self.histogram(&totals.client);
        self.count(totals.exemplars.0.len());
        for exemplar in &totals.exemplars.0 {
            self.byte(u8::from(exemplar.error));
            self.signed(exemplar.duration_ns);
            self.fixed(exemplar.trace.to_le_bytes());
        }
    }

    fn histogram(&mut self, histogram: &Histogram) {
        let Parts { zeros, offset, counts, sum, min, max } = histogram.parts();
        self.number(histogram.count());
        if histogram.count() == 0 {
            return;
        }
        self.number(zeros);
        self.signed(sum);
        self.signed(min);
        self.signed(max);
        self.count(offset);
        self.count(counts.len());
        for count in counts {
            self.number(count);
        }
    }
}

/// Bytes that were read so far. What does not fit is `None`.
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn wide(&mut self) -> Option<u128> {
        let mut number = 0_u128;
        for shift in (0_u32..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if part.leading_zeros() < shift {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        self.wide()?.try_into().ok()
    }

    /// How many things follow, of at least one byte each.
    pub fn count(&mut self) -> Option<usize> {
        self.number().filter(|count| *count <= self.0.len())
    }

    pub fn signed<T: TryFrom<i128>>(&mut self) -> Option<T> {
        let number = self.wide()?;
        let signed = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        signed.try_into().ok()
    }

    pub fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub fn symbols(&mut self) -> Option<Symbols> {
        let mut symbols = Symbols::default();
        for expected in 1..=self.count()? {
            let length = self.count()?;
            let (text, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            if symbols.intern(std::str::from_utf8(text).ok()?) as usize != expected {
                return None;
            }
        }
        Some(symbols)
    }

    pub fn symbol(&mut self, symbols: &Symbols) -> Option<Symbol> {
        self.number().filter(|symbol| (*symbol as usize) < symbols.len())
    }

    pub fn totals(&mut self) -> Option<Totals> {
        let errors = self.number()?;
        let weight = Weight(self.number()?);
        let (latency, client) = (self.histogram()?, self.histogram()?);
        let exemplars = (0..self.count()?)
            .map(|_| {
                Some(Exemplar {
                    error: self.byte()? != 0,
                    duration_ns: self.signed()?,
                    trace: u128::from_le_bytes(self.fixed()?),
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Totals { errors, weight, latency, client, exemplars: Exemplars(exemplars) })
    }

    fn histogram(&mut self) -> Option<Histogram> {
        let total: u64 = self.number()?;
        if total == 0 {
            return Some(Histogram::default());
        }
        let (zeros, sum, min, max) = (self.number()?, self.signed()?, self.signed()?, self.signed()?);
        let offset = self.number()?;
        let counts = (0..self.count()?).map(|_| self.number()).collect::<Option<Vec<u64>>>()?;
        Histogram::from_parts(Parts { zeros, offset, counts, sum, min, max }).filter(|h| h.count() == total)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::totals::Call;

    proptest! {
        #[test]
        fn numbers_and_totals_come_back(numbers in proptest::collection::vec(any::<i128>(), 0..8), calls in 0..40_i64) {
            let mut totals = Totals::default();
            for i in 0..calls {
                totals.add(Call {
                    error: i % 3 == 0,
                    duration_ns: i * i * 1_000 - 5,
                    client_ns: (i % 2 == 0).then_some(i),
                    weight: 1.5,
                    trace: (i % 4) as u128,
                });
            }
            let mut writer = Writer::default();
            numbers.iter().for_each(|n| writer.signed(*n));
            writer.totals(&totals);
            let mut reader = Reader(&writer.0);
            for number in numbers {
                prop_assert_eq!(reader.signed::<i128>(), Some(number));
            }
            prop_assert_eq!(reader.totals(), Some(totals));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader(&bytes).totals();
            let _ = Reader(&bytes).symbols();
        }
    }
}
