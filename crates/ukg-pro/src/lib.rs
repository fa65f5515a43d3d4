//! The UKG Pro client: sends requests to a tenant's web services and interprets the answers.
//!
//! **Role.** Everything specific to UKG: hosts, SOAP and REST messages, the rows of Service Account Administration, and the
//! meaning of an answer.
//!
//! **Invariant.** Nothing here depends on Kubernetes. Only [`client`], [`transport`] and [`dns`] are asynchronous; the other
//! modules are plain functions over plain data.
//!
//! | module | what it answers |
//! |---|---|
//! | [`sensitive`] | how a secret value is held |
//! | [`credentials`] | which values make up a connection |
//! | [`endpoint`] | which host is meant, and what is wrong with how it is written |
//! | [`catalogue`] | which permission rows exist, and which read shows that one is granted |
//! | [`soap`] | how a SOAP 1.2 message is written and read |
//! | [`login`] | what an answer of LoginService means |
//! | [`outcome`] | what an answer to a probe means |
//! | [`transport`], [`dns`] | how requests get there, and at which stage they fail |
//! | [`client`] | one login, one probe |
//! | [`capture`] | what really came, redacted by construction |
//!
//! No recorded answer of LoginService is public. So every reader here can return "cannot tell", and never bases a verdict on one
//! doubtful fact.

#[cfg(test)]
mod answers;
pub mod capture;
pub mod catalogue;
pub mod client;
pub mod credentials;
pub mod dns;
pub mod endpoint;
pub mod fault;
pub mod login;
pub mod outcome;
pub mod sensitive;
pub mod soap;
pub mod transport;
mod unreadable;
pub mod words;
