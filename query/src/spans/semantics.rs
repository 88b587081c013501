//! What a span's attributes say of its other end: the database, the queue, the peer. Reads the semantic conventions'
//! names and the older ones; never decides what the span counts as.

use super::words::{Column, Symbol, Words};

/// What a messaging span does (`messaging.operation.type`, before `messaging.operation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operation {
    #[default]
    None,
    Create,
    /// `send` or `publish`.
    Send,
    Receive,
    /// `process` or `deliver`.
    Process,
    /// An acknowledgement: it moves no message.
    Settle,
    Other,
}

impl Operation {
    const ALL: [Self; 7] =
        [Self::None, Self::Create, Self::Send, Self::Receive, Self::Process, Self::Settle, Self::Other];

    /// The inverse of `as u32`.
    pub fn of(number: u32) -> Self {
        Self::ALL[number as usize]
    }

    pub fn from_word(word: &str) -> Self {
        match word {
            "" => Self::None,
            "create" => Self::Create,
            "send" | "publish" => Self::Send,
            "receive" => Self::Receive,
            "process" | "deliver" => Self::Process,
            "settle" => Self::Settle,
            _ => Self::Other,
        }
    }
}

/// The attributes of one span that say where it goes. Symbols; 0 is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Semantics {
    pub db_system: Symbol,
    pub db_namespace: Symbol,
    /// Whether any attribute speaks of a database.
    pub is_database: bool,
    pub messaging_system: Symbol,
    pub destination: Symbol,
    pub operation: Operation,
    pub peer_service: Symbol,
    /// `server.address`: of a CLIENT its peer's, of a SERVER its own.
    pub server_address: Symbol,
    pub url_host: Symbol,
    /// `network.peer.address`, mostly a bare IP.
    pub peer_address: Symbol,
    /// `client.address` where it is a name.
    pub client: Symbol,
}

/// All of [`Semantics`] in few words, compared at once.
#[derive(Clone, Copy, Debug, Default, Eq)]
pub struct Packed([u64; 6]);

impl PartialEq for Packed {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |unlike, (a, b)| unlike | (a ^ b)) == 0
    }
}

impl Semantics {
    #[inline]
    pub fn packed(&self) -> Packed {
        let Self {
            db_system,
            db_namespace,
            is_database,
            messaging_system,
            destination,
            operation,
            peer_service,
            server_address,
            url_host,
            peer_address,
            client,
        } = *self;
        let two = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
        Packed([
            two(db_system, db_namespace),
            two(u32::from(is_database), operation as u32),
            two(messaging_system, destination),
            two(peer_service, server_address),
            two(url_host, peer_address),
            u64::from(client),
        ])
    }

    /// Bits of what most of them differ in, for a place in a small table.
    #[inline]
    pub fn mixed(&self) -> u32 {
        let host = self.server_address ^ self.url_host ^ self.peer_address ^ self.client;
        let place = self.db_namespace ^ self.destination ^ self.peer_service;
        host ^ place.rotate_left(10) ^ (self.db_system ^ self.operation as u32).rotate_left(20)
    }
}

/// What the columns say, as far as words are known by number; what is only a last resort is text.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawSemantics<'a> {
    pub db_system: Symbol,
    pub db_namespace: Symbol,
    /// Any other `db.*` attribute.
    pub db_other: bool,
    pub messaging_system: Symbol,
    pub destination: Symbol,
    pub operation: Operation,
    pub peer_service: Symbol,
    pub server_address: Symbol,
    pub url: Option<&'a str>,
    pub peer_address: Option<&'a str>,
    pub client_address: Option<&'a str>,
}

impl RawSemantics<'_> {
    /// The number of what they say.
    pub fn number(&self, words: &mut Words) -> u32 {
        let mut found = Semantics {
            db_system: self.db_system,
            db_namespace: self.db_namespace,
            is_database: self.db_other || self.db_system != 0 || self.db_namespace != 0,
            messaging_system: self.messaging_system,
            destination: self.destination,
            operation: self.operation,
            peer_service: self.peer_service,
            server_address: self.server_address,
            url_host: 0,
            peer_address: 0,
            client: self.client_address.map_or(0, |address| client_symbol(address, words)),
        };
        // What is only a last resort is left out where something better is there, so that few distinct values remain.
        if found.server_address == 0 {
            if let Some(url) = self.url {
                found.url_host = words.symbol(Column::Url, url, |url| url_host(url).unwrap_or_default().trim());
            }
            if let Some(address) = self.peer_address.filter(|_| found.url_host == 0) {
                found.peer_address = words.symbol(Column::PeerAddress, address, named_host);
            }
        }
        words.meaning(found)
    }
}

/// An address as it names a host: without its port.
pub fn named_host(address: &str) -> &str {
    without_port(address).trim()
}

/// What is kept of a caller's address.
pub fn client_symbol(address: &str, words: &mut Words) -> Symbol {
    words.symbol(Column::Client, address, client_name)
}

/// A caller's address where it is a name, else nothing.
fn client_name(address: &str) -> &str {
    if is_ip(address) || is_loopback(address) { "" } else { address.trim() }
}

/// The host of a URL, without user, port and path.
pub fn url_host(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(without_port(host)).filter(|h| !h.is_empty())
}

/// `host:80` and `[::1]:80` without the port; a bare IPv6 address stays whole.
pub fn without_port(address: &str) -> &str {
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match address.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => address,
    }
}

pub fn is_ip(address: &str) -> bool {
    without_port(address).parse::<std::net::IpAddr>().is_ok()
}

/// An address that every machine calls its own, and so says nothing about who is meant.
pub fn is_loopback(address: &str) -> bool {
    let address = without_port(address);
    address.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_from_urls_and_addresses() {
        let urls = [
            ("https://api.stripe.com/v1/charges?x=1", Some("api.stripe.com")),
            ("http://user:pw@pay:8080/x", Some("pay")),
            ("http://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://cart", Some("cart")),
            ("/relative", None),
            ("http:///x", None),
        ];
        for (url, host) in urls {
            assert_eq!(url_host(url), host, "{url}");
        }
        for (address, host) in [("a:80", "a"), ("a", "a"), ("::1", "::1"), ("[::1]:5", "::1"), ("1.2.3.4:5", "1.2.3.4")]
        {
            assert_eq!(without_port(address), host);
        }
        assert!(is_loopback("127.0.0.1:80") && is_loopback("LocalHost") && is_loopback("::1") && !is_loopback("cart"));
    }
}
