//! Static bearer tokens: who a request comes from, and whether that one may. Knows only hashes; never logs or keeps a
//! token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use orrery_model::{Identity, Role, TenantId};
use sha2::{Digest, Sha256};

use crate::config::{Token, TokenRole};

/// The longest `Authorization` header that is looked at, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 4096;

/// The tokens that were configured; with none, everyone is the admin of `main`.
pub struct Tokens {
    known: Vec<Known>,
}

struct Known {
    sha256: [u8; 32],
    identity: Identity,
}

/// What a door asks of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Ingest,
    Read,
    Admin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential, or one that is not known.
    Unauthenticated,
    /// A known credential whose role does not allow this.
    Forbidden,
}

impl Denied {
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unauthenticated => "a valid bearer token is required",
            Self::Forbidden => "this token's role does not allow that",
        }
    }
}

impl Tokens {
    /// # Errors
    /// Names the token whose hash or tenant is malformed.
    pub fn new(tokens: &[Token]) -> anyhow::Result<Self> {
        let mut known = Vec::with_capacity(tokens.len());
        for token in tokens {
            let sha256 = unhex(&token.sha256).ok_or_else(|| anyhow::anyhow!("token {:?}: bad sha256", token.name))?;
            let role = match token.role {
                TokenRole::Ingest => Role::Ingest,
                TokenRole::Read => Role::Read,
                TokenRole::Admin => Role::Admin,
            };
            known.push(Known { sha256, identity: Identity { tenant: TenantId::new(&token.tenant)?, role } });
        }
        Ok(Self { known })
    }

    /// Who this is. Every token is compared, each in constant time, so that the time says nothing about any.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        if self.known.is_empty() {
            return Ok(Identity::default());
        }
        let token = credential(headers).ok_or(Denied::Unauthenticated)?;
        let sha256: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for known in &self.known {
            if equal(&known.sha256, &sha256) {
                found = Some(&known.identity);
            }
        }
        found.cloned().ok_or(Denied::Unauthenticated)
    }

    /// Who this is, where that one may do this.
    pub fn allow(&self, headers: &HeaderMap, need: Need) -> Result<Identity, Denied> {
        let identity = self.identify(headers)?;
        let allowed = match need {
            Need::Ingest => matches!(identity.role, Role::Ingest | Role::Admin),
            Need::Read => matches!(identity.role, Role::Read | Role::Admin),
            Need::Admin => identity.role == Role::Admin,
        };
        if allowed { Ok(identity) } else { Err(Denied::Forbidden) }
    }
}

/// The hex SHA-256 of a token, as the config file holds it.
pub fn hash(token: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(token.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes any text");
        hex
    })
}

/// The token of `Authorization: Bearer …`, or the password of `Basic …`, which is what a browser sends after asking.
fn credential(headers: &HeaderMap) -> Option<String> {
    use base64::Engine;
    let value = headers.get(AUTHORIZATION)?.to_str().ok().filter(|value| value.len() <= MAX_CREDENTIAL_BYTES)?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        return text.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// In a time that depends on nothing but the length.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |sum, (x, y)| std::hint::black_box(sum | (x ^ y)));
    std::hint::black_box(difference) == 0
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let token = |name: &str, role| Token {
            name: name.to_owned(),
            sha256: hash(name),
            role,
            tenant: if name == "other" { "shop" } else { "main" }.to_owned(),
        };
        Tokens::new(&[
            token("send", TokenRole::Ingest),
            token("look", TokenRole::Read),
            token("all", TokenRole::Admin),
            token("other", TokenRole::Read),
        ])
        .expect("well formed")
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn roles_open_their_own_doors_only() {
        use Denied::{Forbidden, Unauthenticated};
        let cases = [
            ("", Need::Read, Err(Unauthenticated)),
            ("Bearer wrong", Need::Read, Err(Unauthenticated)),
            ("Bearer", Need::Read, Err(Unauthenticated)),
            ("Digest send", Need::Ingest, Err(Unauthenticated)),
            ("Bearer send", Need::Ingest, Ok("main")),
            ("bearer send", Need::Ingest, Ok("main")),
            ("Bearer send", Need::Read, Err(Forbidden)),
            ("Bearer look", Need::Ingest, Err(Forbidden)),
            ("Bearer look", Need::Read, Ok("main")),
            ("Bearer look", Need::Admin, Err(Forbidden)),
            ("Bearer all", Need::Admin, Ok("main")),
            ("Bearer all", Need::Ingest, Ok("main")),
            ("Bearer other", Need::Read, Ok("shop")),
            ("Basic YW55b25lOmxvb2s=", Need::Read, Ok("main")),
            ("Basic !!!", Need::Read, Err(Unauthenticated)),
        ];
        for (value, need, expected) in cases {
            let got = tokens().allow(&headers(value), need).map(|identity| identity.tenant.as_str().to_owned());
            assert_eq!(got.as_deref().map_err(|denied| *denied), expected, "{value:?} for {need:?}");
        }
    }

    #[test]
    fn without_tokens_everyone_is_the_admin() {
        let open = Tokens::new(&[]).expect("nothing to be wrong");
        assert_eq!(open.allow(&headers(""), Need::Admin), Ok(Identity::default()));
    }
}
