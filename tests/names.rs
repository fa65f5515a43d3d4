//! DNS: whose answer is taken for the address of UKG Pro.
//!
//! The real binary asks a name server that is played here, in a network and mount
//! namespace of its own (`unshare` of util-linux, `ip` of iproute2; needs root or unprivileged user namespaces).

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The search domain, whose wildcard answers to every name; a namespace `com` with a Service `ultipro` is the same thing by hand.
const SEARCH: &str = "svc.cluster.test";
/// What the wildcard answers: an address of loopback that nobody else gives.
const STAND_IN: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);
const HOST: &str = "service4.ultipro.test";
const INSIDE: &str = "NAMES_INSIDE";

const MANIFESTS: &str = "
apiVersion: ukgpro.dev/v1alpha1
kind: UkgProConnection
metadata: {name: acme}
spec: {secretRef: {name: acme}, domain: 'ultipro.test:1', subdomain: service4, permissions: [{name: EmployeePersonDetails}], timeout: 10s}
---
apiVersion: v1
kind: Secret
metadata: {name: acme}
stringData: {username: svc-acme, password: not-to-be-sent, customerApiKey: ACME1, userApiKey: ABCDE12345FG}
";

/// This test program again, where `/etc/resolv.conf` and `/etc/hosts` are as in a Pod, and nothing is reached but itself.
fn again_inside(test: &str, hosts: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let resolv = file("resolv.conf", &format!("nameserver 127.0.0.1\nsearch {SEARCH}\noptions ndots:5 timeout:1 attempts:1\n"));
    let hosts = file("hosts", hosts);
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net"]).args(if root { &[][..] } else { &["--user", "--map-root-user"] });
    let script = "ip link set lo up && mount --bind \"$RESOLV\" /etc/resolv.conf && mount --bind \"$HOSTS\" /etc/hosts && exec \"$0\" \"$@\"";
    command.args(["sh", "-c", script]).arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture"]).env("RESOLV", resolv).env("HOSTS", hosts).env(INSIDE, "1");
    assert!(command.status().expect("unshare runs").success(), "{test}, in namespaces of its own");
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A name server that has the host, and a wildcard in the search domain. Gives the names it is asked for, each ending in a dot.
fn name_server() -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("the name server's port");
    let heard = asked.clone();
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            let (name, end) = name_in(&message[..length]);
            let by_v4 = message[end..length].starts_with(&[0, 1]);
            let address = match name.as_str() {
                _ if !by_v4 => None,
                name if name.ends_with(&format!(".{SEARCH}.")) => Some(STAND_IN),
                name if name == format!("{HOST}.") => Some(Ipv4Addr::LOCALHOST),
                _ => None,
            };
            heard.lock().expect("no panic").push(name);
            let mut answer = message[..end + 4].to_vec();
            // A recursive answer without an error, of one question and no or one record.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
            if let Some(address) = address {
                // The name asked for, an address of the internet, for a minute, of four bytes.
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address.octets());
            }
            socket.send_to(&answer, from).expect("sent");
        }
    });
    asked
}

/// The name a question is about, and where in the message it ends.
fn name_in(message: &[u8]) -> (String, usize) {
    let (mut name, mut at) = (String::new(), 12);
    while message[at] > 0 {
        let end = at + 1 + usize::from(message[at]);
        name += &format!("{}.", String::from_utf8_lossy(&message[at + 1..end]));
        at = end;
    }
    (name, at + 1)
}

/// Takes connections and says nothing; who has been there is seen afterwards.
fn listener(address: (Ipv4Addr, u16)) -> TcpListener {
    let listener = TcpListener::bind(address).expect("a port");
    listener.set_nonblocking(true).expect("set");
    listener
}

/// What a check says.
fn check() -> String {
    check_of(MANIFESTS)
}

/// The same of other manifests, with what it says besides.
fn check_of(manifests: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukgpro-operator"));
    command.args(["check", "--allowed-domains", "ultipro.test:*", "--allow-private-addresses", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = command.spawn().expect("the binary starts");
    check.stdin.take().expect("piped").write_all(manifests.as_bytes()).expect("read");
    let output = check.wait_with_output().expect("it ends");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat()
}

#[test]
fn a_search_domain_whose_wildcard_answers_does_not_stand_in_for_the_host() {
    if !is_inside() {
        return again_inside("a_search_domain_whose_wildcard_answers_does_not_stand_in_for_the_host", "127.0.0.1 localhost\n");
    }
    let asked = name_server();
    // Whoever stands in would be there, and the real host is not.
    let stand_in = listener((STAND_IN, 1));
    let told = check();
    let asked = asked.lock().expect("no panic").clone();
    assert!(asked.contains(&format!("{HOST}.")), "{asked:?}");
    assert!(asked.iter().all(|name| *name == format!("{HOST}.")), "no other name is asked for: {asked:?}");
    assert!(stand_in.accept().is_err(), "nobody went to who stands in");
    assert!(told.contains("ConnectRefused"), "{told}");
}

#[test]
fn a_name_in_the_machines_own_list_is_found_there_and_not_asked_for() {
    if !is_inside() {
        return again_inside(
            "a_name_in_the_machines_own_list_is_found_there_and_not_asked_for",
            &format!("127.0.0.1 localhost\n127.7.7.7 {HOST}\n"),
        );
    }
    let asked = name_server();
    let listed = listener((Ipv4Addr::new(127, 7, 7, 7), 1));
    let told = check();
    assert!(listed.accept().is_ok(), "{told}");
    assert!(asked.lock().expect("no panic").is_empty());
}

#[test]
fn nothing_that_a_secret_gives_for_the_hosts_name_is_asked_for_or_told_unless_it_is_a_known_host() {
    if !is_inside() {
        return again_inside(
            "nothing_that_a_secret_gives_for_the_hosts_name_is_asked_for_or_told_unless_it_is_a_known_host",
            "127.0.0.1 localhost\n",
        );
    }
    const CANARY: &str = "zq-canary-7";
    let asked = name_server();
    // Each key that there is, mapped onto each part of the host; the other part stands in the spec.
    let keys = ["username", "password", "customerApiKey", "userApiKey", "token", "subdomain", "domain"];
    for (part, other) in [("subdomain", "domain: 'ultipro.test:1'"), ("domain", "subdomain: service4")] {
        for key in keys {
            let values: String = keys.map(|key| format!("{key}: {CANARY}, ")).concat();
            let mapped = if key == part { String::new() } else { format!("{part}: {key}") };
            let manifests = format!(
                "apiVersion: ukgpro.dev/v1alpha1\nkind: UkgProConnection\nmetadata: {{name: acme}}\nspec: {{secretRef: {{name: acme, keys: \
                 {{{mapped}}}}}, {other}, timeout: 10s}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: acme}}\nstringData: {{{values}}}\n"
            );
            let told = check_of(&manifests);
            assert!(!told.contains(CANARY), "{part} from {key}: {told}");
            let says = ["EndpointInvalid", "DomainNotAllowed", "credential's key", "same key"];
            assert!(says.iter().any(|says| told.contains(says)), "{part} from {key}: {told}");
        }
    }
    let asked = asked.lock().expect("no panic").clone();
    assert!(asked.is_empty(), "{asked:?}");
}
