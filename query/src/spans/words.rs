//! The words of spans and what these say of their other ends, by number: one vocabulary that readers share, each with a
//! memory of its own in front, so that they seldom meet. Forgets no word while the request lasts.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Semantics;
use super::semantics::Packed;

/// A string by number; 0 is "none".
pub type Symbol = u32;

/// Words that one reader remembers by itself at most; then it begins anew.
const MAX_OWN: usize = 1 << 16;
/// Values of a column that a [`Memo`] has room for; a power of two.
const MEMO_SLOTS: usize = 256;

/// Strings by number, each once.
#[derive(Clone, Debug)]
pub struct Symbols {
    numbers: HashMap<Arc<str>, Symbol>,
    texts: Vec<Arc<str>>,
}

impl Default for Symbols {
    fn default() -> Self {
        let none: Arc<str> = "".into();
        Self { numbers: [(none.clone(), 0)].into_iter().collect(), texts: vec![none] }
    }
}

impl Symbols {
    /// The number of a string; the empty one is 0.
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer than 2^32 distinct strings");
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// How many there are, the empty one included.
    #[expect(clippy::len_without_is_empty, reason = "the empty string is always there")]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
    }
}

/// What spans say of their other ends by number, each once; 0 is "nothing".
#[derive(Debug)]
pub struct Meanings {
    all: Vec<Semantics>,
    numbers: HashMap<Semantics, u32>,
}

impl Default for Meanings {
    fn default() -> Self {
        let nothing = Semantics::default();
        Self { all: vec![nothing], numbers: [(nothing, 0)].into_iter().collect() }
    }
}

impl Meanings {
    #[inline]
    pub fn get(&self, number: u32) -> &Semantics {
        &self.all[number as usize]
    }

    fn number(&mut self, semantics: Semantics) -> u32 {
        let all = &mut self.all;
        *self.numbers.entry(semantics).or_insert_with_key(|s| {
            all.push(*s);
            u32::try_from(all.len() - 1).expect("fewer than 2^32 spans")
        })
    }
}

/// All that spans are written in.
#[derive(Debug, Default)]
pub struct Vocabulary {
    pub symbols: Symbols,
    pub meanings: Meanings,
}

impl Vocabulary {
    /// Takes in what another one has more, which has all that this one has.
    pub fn catch_up(&mut self, with: &Self) {
        for text in &with.symbols.texts[self.symbols.texts.len()..] {
            let number = u32::try_from(self.symbols.texts.len()).expect("fewer than 2^32 distinct strings");
            self.symbols.texts.push(Arc::clone(text));
            self.symbols.numbers.insert(Arc::clone(text), number);
        }
        for meaning in &with.meanings.all[self.meanings.all.len()..] {
            self.meanings.number(*meaning);
        }
    }
}

/// A vocabulary that several readers add to.
pub type SharedVocabulary = Arc<Mutex<Vocabulary>>;

/// The columns of which a reader remembers the latest values, by what is kept of them.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Name,
    Service,
    Namespace,
    DbSystem,
    DbNamespace,
    MessagingSystem,
    Destination,
    PeerService,
    ServerAddress,
    Url,
    PeerAddress,
    Client,
}

const COLUMNS: usize = Column::Client as usize + 1;

/// One reader's words.
pub struct Words {
    known: Known,
    memos: [Memo; COLUMNS],
    /// Service ids by name and namespace.
    services: HashMap<(Symbol, Symbol), Symbol>,
    latest_services: Latest<(Symbol, Symbol)>,
    meanings: HashMap<Semantics, u32>,
    latest_meanings: Latest<Packed>,
}

impl Words {
    pub fn new(shared: SharedVocabulary) -> Self {
        Self {
            known: Known { shared, symbols: HashMap::new() },
            memos: std::array::from_fn(|_| Memo::default()),
            services: HashMap::new(),
            latest_services: Latest::default(),
            meanings: HashMap::new(),
            latest_meanings: Latest::default(),
        }
    }

    /// The number of what is kept of a column's value.
    pub fn symbol(&mut self, column: Column, text: &str, kept: impl FnOnce(&str) -> &str) -> Symbol {
        let Self { known, memos, .. } = self;
        memos[column as usize].get(text, |text| known.symbol(kept(text)))
    }

    /// The service's id: `name`, or `namespace/name`.
    #[inline]
    pub fn service(&mut self, name: Symbol, namespace: Symbol) -> Symbol {
        if namespace == 0 {
            return name;
        }
        let Self { known, services, latest_services, .. } = self;
        latest_services.get((name, namespace), name ^ namespace.rotate_left(16), |key| {
            *services.entry(*key).or_insert_with(|| {
                let text = {
                    let shared = known.shared.lock();
                    format!("{}/{}", shared.symbols.text(namespace), shared.symbols.text(name))
                };
                known.symbol(&text)
            })
        })
    }

    #[inline]
    pub fn meaning(&mut self, semantics: Semantics) -> u32 {
        let Self { known, meanings, latest_meanings, .. } = self;
        latest_meanings.get(semantics.packed(), semantics.mixed(), |_| {
            if meanings.len() >= MAX_OWN {
                meanings.clear();
            }
            let number = |s: &Semantics| known.shared.lock().meanings.number(*s);
            *meanings.entry(semantics).or_insert_with_key(number)
        })
    }
}

/// Some of the latest keys with their numbers; at first the key that is nothing, which is 0.
pub struct Latest<K>(Vec<(K, u32)>);

impl<K: Clone + Default> Default for Latest<K> {
    fn default() -> Self {
        Self(vec![(K::default(), 0); MEMO_SLOTS])
    }
}

impl<K: PartialEq> Latest<K> {
    /// Keys of which the same bits were mixed share a place.
    #[inline]
    pub fn get(&mut self, key: K, mixed: u32, make: impl FnOnce(&K) -> u32) -> u32 {
        let place = mixed.wrapping_mul(0x9e37_79b9) >> (u32::BITS - MEMO_SLOTS.ilog2());
        let (known, number) = &mut self.0[place as usize];
        if *known != key {
            *number = make(&key);
            *known = key;
        }
        *number
    }
}

/// The words that a reader has met.
struct Known {
    shared: SharedVocabulary,
    symbols: HashMap<Arc<str>, Symbol>,
}

impl Known {
    #[inline]
    fn symbol(&mut self, text: &str) -> Symbol {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.symbols.get(text) {
            return number;
        }
        let mut shared = self.shared.lock();
        let number = shared.symbols.intern(text);
        if self.symbols.len() >= MAX_OWN {
            self.symbols.clear();
        }
        self.symbols.insert(Arc::clone(&shared.symbols.texts[number as usize]), number);
        number
    }
}

/// Some of the latest values of a column with their numbers. Most columns have few values, and comparing one is cheaper
/// than hashing it.
struct Memo(Vec<(String, Symbol)>);

impl Default for Memo {
    fn default() -> Self {
        Self(vec![(String::new(), 0); MEMO_SLOTS])
    }
}

impl Memo {
    /// The empty text is 0, whatever is made of others.
    fn get(&mut self, text: &str, make: impl FnOnce(&str) -> Symbol) -> Symbol {
        let (known, number) = &mut self.0[slot(text.as_bytes())];
        if known != text {
            *number = make(text);
            known.clear();
            known.push_str(text);
        }
        *number
    }
}

/// By length, first and last bytes: what values of one column differ in, mostly.
#[inline]
fn slot(text: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (head, tail) = if text.len() < 8 {
        let mut short = [0; 8];
        short[..text.len()].copy_from_slice(text);
        (u64::from_le_bytes(short), 0)
    } else {
        (word(text.first_chunk()), word(text.last_chunk()))
    };
    let mixed = (head ^ tail.rotate_left(29) ^ text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - MEMO_SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_one_vocabulary_give_a_word_one_number_however_many_there_are() {
        let shared = SharedVocabulary::default();
        let mut readers = [Words::new(Arc::clone(&shared)), Words::new(Arc::clone(&shared))];
        let texts: Vec<String> = (0..2_000).map(|i| format!("{}{}", "x".repeat(i % 11), i / 2)).collect();
        let numbers: Vec<Symbol> =
            texts.iter().enumerate().map(|(i, t)| readers[i % 2].symbol(Column::Name, t, |t| t)).collect();
        for (text, number) in texts.iter().zip(&numbers) {
            for reader in &mut readers {
                assert_eq!(reader.symbol(Column::Name, text, |t| t), *number, "{text}");
            }
            assert_eq!(shared.lock().symbols.text(*number), text);
        }
        let [one, other] = &mut readers;
        assert_eq!(one.symbol(Column::Url, "http://a/b", |_| "a"), other.symbol(Column::Name, "a", |t| t));
        assert_eq!(one.symbol(Column::Client, "127.0.0.1", |_| ""), 0);
        assert_eq!(one.symbol(Column::Name, "", |t| t), 0);
        let [cart, eu] = ["cart", "eu"].map(|text| one.symbol(Column::Name, text, |t| t));
        assert_eq!(one.service(cart, eu), other.symbol(Column::Name, "eu/cart", |t| t));
        assert_eq!(one.service(cart, 0), other.symbol(Column::Name, "cart", |t| t));
    }
}
