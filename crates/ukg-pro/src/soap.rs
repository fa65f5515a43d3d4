//! SOAP 1.2 messages: [`write`](mod@write) makes requests, [`read`] parses answers.
//!
//! Both use namespaces and local names, never prefixes. Both hold whole messages in memory; the transport limits their size.

pub mod read;
pub mod write;

/// `http://www.w3.org/2003/05/soap-envelope`: SOAP 1.2.
pub const ENVELOPE: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing 1.0. UKG Pro needs only `Action` of it.
pub const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// Namespace of requests and results that services share.
pub const CONTRACTS: &str = "http://www.ultipro.com/contracts";
/// The prefix of every service's namespace. The service's name in lower case follows.
pub const SERVICES: &str = "http://www.ultipro.com/services/";
