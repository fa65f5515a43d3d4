//! The machine's own list of names, `/etc/hosts`. In a Pod it is the kubelet's, with the `hostAliases` of whoever runs the operator.
//!
//! The system's resolver compares its lines with a name as it is given, so a name that ends in a dot is never found there. What looks
//! names up absolute therefore looks here first, as `nsswitch.conf` has it nearly everywhere.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;

/// A kubelet writes some hundred bytes; lists of names to block, which people put there, have some megabytes.
const FILE_MAX: u64 = 8 << 20;
/// What is of one name beyond these is not looked at, as no more are dialled.
const ADDRESSES_MAX: usize = 8;

/// The addresses of a name there; none where it is not there, or there is no such file.
pub(super) fn look_up(name: &str) -> Vec<IpAddr> {
    // Without the file there is nothing in it.
    File::open("/etc/hosts").map(|file| of(BufReader::new(file.take(FILE_MAX)), name)).unwrap_or_default()
}

/// The addresses of a name in a list of this form, in its order.
fn of(list: impl BufRead, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in list.split(b'\n').map_while(Result::ok) {
        // One that is no text names no host; those after it may.
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
