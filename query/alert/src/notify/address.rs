//! Where a notification may go: names are resolved here, and each address is checked before it is connected to, so that a
//! name that resolves to another address the next time changes nothing. Never follows anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::SendError;

/// How long one address may take to accept the connection; a name may have several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 8;

/// Which addresses a notifier may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Addresses of the public Internet only.
    Public,
    /// Those of this machine and of private networks too.
    Private,
    /// This machine only.
    Loopback,
}

impl Reach {
    /// Why an address is not allowed.
    pub fn refuses(self, ip: IpAddr) -> Option<String> {
        match self {
            Self::Public if is_private(ip) => {
                Some(format!("{ip} is not an address of the public Internet; set allow_private = true if it is meant"))
            }
            Self::Loopback if !ip.to_canonical().is_loopback() => Some(format!(
                "{ip} is another machine, which is reached with TLS only; set tls = \"starttls\" or \"implicit\""
            )),
            _ => None,
        }
    }

    /// The addresses of a host that may be connected to; an error where there is none.
    pub async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
        let found: Vec<SocketAddr> = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| SendError::wait(format!("resolve {host}: {error}")))?
                .collect(),
        };
        let mut refused = None;
        let allowed: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| match self.refuses(address.ip()) {
                Some(reason) => {
                    refused = Some(reason);
                    false
                }
                None => true,
            })
            .take(MAX_ADDRESSES)
            .collect();
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(reason)) => Err(SendError::change(format!("refusing to connect to {host}: {reason}"))),
            (true, None) => Err(SendError::wait(format!("resolve {host}: it has no address"))),
        }
    }

    /// Connects to the first address that answers.
    pub async fn connect(self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let mut last = String::new();
        for address in self.resolve(host, port).await? {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            }
        }
        Err(SendError::wait(format!("connect to {host}:{port}: {last}")))
    }
}

/// Whether an address is not one of the public Internet: this machine, a private network, a link, a group, or reserved.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => private_v4(ip),
        IpAddr::V6(ip) => private_v6(ip),
    }
}

fn private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    a == 0
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || (a, b & 0xc0) == (100, 64) // shared by a carrier's customers, RFC 6598
        || (a, b, c) == (192, 0, 0) // protocol assignments, RFC 6890
        || (a, b, c) == (192, 88, 99) // 6to4 relays, RFC 7526
        || (a, b & 0xfe) == (198, 18) // benchmarks, RFC 2544
        || a >= 240 // reserved, and broadcast
}

fn private_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // NAT64 reaches the IPv4 address in its last bits, 6to4 the one after its prefix.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Documentation, and prefixes that hide another address: Teredo, ORCHID, local NAT64.
        [0x2001, 0xdb8, ..] | [0x3fff, ..] | [0x64, 0xff9b, 1, ..] => true,
        [0x2001, second, ..] => second < 0x200,
        // Only 2000::/3 is handed out to the public Internet.
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Remedy;
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_disguise() {
        for private in [
            "127.0.0.1",
            "127.255.0.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.5",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001:db8::1",
            "2001::1",
            "::7f00:1",
            "4000::1",
        ] {
            assert!(is_private(private.parse().expect(private)), "{private}");
        }
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "172.15.0.1",
            "100.128.0.1",
            "100.63.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(!is_private(public.parse().expect(public)), "{public}");
        }
    }

    #[tokio::test]
    async fn the_resolved_address_decides_and_not_the_name() {
        for host in ["127.0.0.1", "localhost", "[::1]", "::ffff:127.0.0.1"] {
            let error = Reach::Public.resolve(host, 80).await.expect_err(host);
            assert_eq!(error.remedy, Remedy::Change, "{host}");
            assert!(error.message.contains("allow_private"), "{}", error.message);
            assert!(Reach::Private.resolve(host, 80).await.is_ok(), "{host}");
            assert!(Reach::Loopback.resolve(host, 80).await.is_ok(), "{host}");
        }
        let error = Reach::Loopback.resolve("10.1.1.1", 25).await.expect_err("another machine");
        assert!(error.message.contains("TLS only"), "{}", error.message);
        assert!(Reach::Public.resolve("8.8.8.8", 53).await.is_ok());
        let error = Reach::Public.resolve("no-such-host.invalid", 80).await.expect_err("no such name");
        assert!(matches!(error.remedy, Remedy::Wait(_)));
    }
}
