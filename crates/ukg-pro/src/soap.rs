//! SOAP 1.2 messages: [`write`](mod@write) makes requests, [`read`] makes sense of answers.
//!
//! Both work on namespaces and local names, never on prefixes, and on whole messages in memory, which the transport bounds.

pub mod read;
pub mod write;

/// `http://www.w3.org/2003/05/soap-envelope`: SOAP 1.2.
pub const ENVELOPE: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing 1.0, of which UKG Pro needs only `Action`.
pub const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// Requests and results that several services share.
pub const CONTRACTS: &str = "http://www.ultipro.com/contracts";
/// Every service's own namespace begins with this, then its name in lower case.
pub const SERVICES: &str = "http://www.ultipro.com/services/";
