//! Looks up names in `/etc/hosts`. In a Pod the kubelet writes it, with the `hostAliases` of whoever runs the operator.
//!
//! The system's resolver compares its lines with a name as given, so it never finds a name that ends in a dot. An absolute
//! look-up therefore looks here first, as `nsswitch.conf` orders nearly everywhere.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;

/// Bytes read. A kubelet writes some hundred; block lists, which people put there, have some megabytes.
const FILE_MAX: u64 = 8 << 20;
/// Addresses read for one name, since no more are dialled.
const ADDRESSES_MAX: usize = 8;

/// Returns the addresses of a name there; none if the name or the file is absent.
pub(super) fn look_up(name: &str) -> Vec<IpAddr> {
    // A missing file counts as empty.
    File::open("/etc/hosts").map(|file| of(BufReader::new(file.take(FILE_MAX)), name)).unwrap_or_default()
}

/// Returns the addresses of a name in such a list, in its order.
fn of(list: impl BufRead, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in list.split(b'\n').map_while(Result::ok) {
        // A line that is not text names no host, but later lines may.
        let line = String::from_utf8_lossy(&line);
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
            if found.len() == ADDRESSES_MAX {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_any_of_its_words_and_by_whole_words_alone() {
        let list = b"127.0.0.1 localhost\n# 10.9.9.9 service4.ultipro.com\n10.0.0.1\tother Service4.UltiPro.com # 10.9.9.9\n\
            \xff\xfe what\n::1 service4.ultipro.com\nfe80::1%eth0 service4.ultipro.com\n10.0.0.1 service4.ultipro.com\n\
            10.0.0.2 service4.ultipro.com.svc xservice4.ultipro.com";
        let found = |name| of(&list[..], name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("service4.ultipro.com"), ["10.0.0.1", "::1"]);
        assert_eq!(found("other"), ["10.0.0.1"]);
        assert_eq!(found("service4.ultipro.com.svc"), ["10.0.0.2"], "the last line may lack its end");
        assert_eq!(found("ultipro.com"), [""; 0]);
        assert_eq!(found("10.0.0.1"), [""; 0], "an address is no name");
    }

    #[test]
    fn of_very_many_addresses_no_more_are_kept_than_are_dialled() {
        let list: String = (0..100).map(|n| format!("10.0.0.{n} many\n")).collect();
        assert_eq!(of(list.as_bytes(), "many").len(), ADDRESSES_MAX);
    }
}
