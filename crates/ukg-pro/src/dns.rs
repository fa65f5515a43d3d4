//! Resolves names to allowed addresses.
//!
//! Whoever may write a connection chooses its host, so the operator must not become a way into the network it runs in: the
//! addresses of a name are checked before anything is sent there.
//!
//! **Invariant.** A connection's host is looked up as an absolute name, with a dot at its end. Without the dot the system tries
//! its search domains, in a Pod before the name itself (`ndots:5`). Then a Service `ultipro` in a namespace `com`, or a search
//! domain with a wildcard, could impersonate UKG Pro. Only the resolver sees the dot; TLS and HTTP use the name without it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

mod hosts_file;
mod lookups;

/// The time for a look-up: longer than one try of the usual resolver configuration (5 s each), shorter than the connect deadline,
/// so that a silent name server is not reported as a silent host.
const DEADLINE: Duration = Duration::from_secs(6);

/// Why a name gave no usable address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name does not resolve, or no name server answered in time.
    #[error("the host name does not resolve")]
    NotFound,
    /// It resolves only to addresses that the policy refuses.
    #[error("the host name resolves to addresses that are not allowed")]
    NotAllowed,
}

/// How a name is passed to the system's resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// From the root, without search domains.
    Absolute,
    /// As it is written.
    AsWritten,
}

impl Form {
    fn of(self, name: String) -> String {
        match self {
            Form::Absolute if !name.ends_with('.') => format!("{name}."),
            Form::Absolute | Form::AsWritten => name,
        }
    }
}

/// Resolves names with the system's resolver and drops addresses that the policy refuses.
#[derive(Debug, Clone, Copy)]
pub struct PolicyResolver {
    /// Whether loopback, link-local and private addresses are allowed.
    pub allow_private: bool,
}

impl PolicyResolver {
    /// Returns the allowed addresses of a URL's host; at least one.
    ///
    /// The host may itself be an address, in any form that a URL allows (`127.0.0.1`, `0x7f.0.0.1`, `[::1]`).
    pub async fn addresses(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
        self.look_up(host, port, Form::Absolute).await
    }

    /// The same for a name that may need the search domains, such as a proxy's: `proxy.infra.svc`. Whoever runs the operator
    /// chooses it.
    pub async fn addresses_with_search_domains(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
        self.look_up(host, port, Form::AsWritten).await
    }

    async fn look_up(self, host: &str, port: u16, form: Form) -> Result<Vec<SocketAddr>, NameError> {
        let name = match url::Host::parse(host).map_err(|_| NameError::NotFound)? {
            url::Host::Ipv4(v4) => return self.pass(vec![(v4, port).into()]),
            url::Host::Ipv6(v6) => return self.pass(vec![(v6, port).into()]),
            url::Host::Domain(name) => name,
        };
        // RFC 6761 reserves .localhost for loopback. Whether a connection may name such a host at all is up to the operator's
        // allowed domains.
        let bare = name.strip_suffix('.').unwrap_or(&name);
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let found = lookups::SYSTEM.addresses(&form.of(name), DEADLINE).await.ok_or(NameError::NotFound)?;
        self.pass(found.iter().map(|address| (*address, port).into()).collect())
    }

    /// Checks a host that is itself an address. Names pass.
    pub fn check_literal(self, host: &str) -> Result<(), NameError> {
        match url::Host::parse(host) {
            Ok(url::Host::Ipv4(v4)) => self.pass(vec![(v4, 0).into()]).map(drop),
            Ok(url::Host::Ipv6(v6)) => self.pass(vec![(v6, 0).into()]).map(drop),
            Ok(url::Host::Domain(_)) => Ok(()),
            Err(_) => Err(NameError::NotFound),
        }
    }

    fn pass(self, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NameError> {
        if found.is_empty() {
            return Err(NameError::NotFound);
        }
        found.retain(|address| self.allow_private || is_public(address.ip()));
        if found.is_empty() { Err(NameError::NotAllowed) } else { Ok(found) }
    }
}

/// Whether an address is on the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded_v4(v6)) {
            Some(v4) => is_public_v4(v4),
            None => {
                let [first, second, ..] = v6.segments();
                // Only 2000::/3 is assigned. Within it, protocol assignments and Teredo (2001::/23) and documentation
                // (2001:db8::/32, 3fff::/20) lead nowhere public.
                (first & 0xe000) == 0x2000
                    && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
                    && !(first == 0x3fff && second < 0x1000)
            }
        },
    }
}

/// Returns the IPv4 address inside a NAT64 (64:ff9b::/96) or 6to4 (2002::/16) address, which could hide an internal host.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if s[0] == 0x64 && s[1] == 0xff9b && s[2..6] == [0; 4] {
        Some(v4(s[6], s[7]))
    } else if s[0] == 0x2002 {
        Some(v4(s[1], s[2]))
    } else {
        None
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a == 0
        // Carrier-grade NAT (100.64.0.0/10), benchmarking (198.18.0.0/15), protocol assignments (192.0.0.0/24), reserved (240/4).
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && v4.octets()[2] == 0)
        || a >= 240)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_network_are_told_from_public_ones() {
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "203.0.113.9",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001:0:102:304::1",
            "3fff:fff::1",
            "100::1",
            "5f00::1",
            "::7f00:1",
            "64:ff9b:1::a00:1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            assert!(!is_public(inside.parse().expect("an address")), "{inside}");
        }
        for public in [
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00:1450:4001::8a",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[tokio::test]
    async fn localhost_names_are_loopback_without_a_lookup() {
        let resolver = PolicyResolver { allow_private: false };
        for name in ["localhost", "localhost.", "service4.ultipro.localhost"] {
            let found = resolver.addresses(name, 8443).await.expect("loopback");
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8443));
        }
    }

    #[test]
    fn a_host_is_looked_up_absolute_and_a_proxy_as_it_is_written() {
        for (written, absolute) in [("service4.ultipro.com", "service4.ultipro.com."), ("proxy.infra.svc.", "proxy.infra.svc.")]
        {
            assert_eq!(Form::Absolute.of(written.to_owned()), absolute);
            assert_eq!(Form::AsWritten.of(written.to_owned()), written);
        }
    }

    #[tokio::test]
    async fn a_host_that_is_an_address_passes_the_same_policy() {
        let inside = ["127.0.0.1", "0x7f.0.0.1", "127.1", "2130706433", "10.0.0.1", "[::1]", "[::ffff:a9fe:a9fe]"];
        for host in inside {
            let strict = PolicyResolver { allow_private: false };
            assert_eq!(strict.addresses(host, 443).await, Err(NameError::NotAllowed), "{host}");
            assert_eq!(strict.check_literal(host), Err(NameError::NotAllowed), "{host}");
            let lax = PolicyResolver { allow_private: true };
            assert_eq!(lax.addresses(host, 443).await.map(|found| found.len()), Ok(1), "{host}");
            assert_eq!(lax.check_literal(host), Ok(()), "{host}");
        }
        let strict = PolicyResolver { allow_private: false };
        assert_eq!(strict.addresses("8.8.8.8", 443).await, Ok(vec![([8, 8, 8, 8], 443).into()]));
        assert_eq!(strict.check_literal("service4.ultipro.com"), Ok(()));
    }

    #[test]
    fn of_several_addresses_the_public_ones_stay() {
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 443);
        let mixed = vec![address("10.0.0.1"), address("8.8.8.8"), address("::1")];
        let strict = PolicyResolver { allow_private: false };
        assert_eq!(strict.pass(mixed.clone()), Ok(vec![address("8.8.8.8")]));
        assert_eq!(strict.pass(vec![address("10.0.0.1")]), Err(NameError::NotAllowed));
        assert_eq!(strict.pass(Vec::new()), Err(NameError::NotFound));
        assert_eq!(PolicyResolver { allow_private: true }.pass(mixed.clone()), Ok(mixed));
    }
}
