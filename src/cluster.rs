//! Access to the Kubernetes API: the client, the watches and their caches, and leader election.
//!
//! | file | what is in it |
//! |---|---|
//! | [`client`] | the HTTP client for the API server; picks up rotated certificates and tokens |
//! | [`deadlines`] | how long the API server may take to answer |
//! | [`failure`] | why a request to the API server failed, in words that are safe to log |
//! | [`leader_election`] | which of several replicas acts, decided by a Lease |
//! | [`response_filter`] | drops parts of the API server's responses that nothing reads |
//! | [`watch`] | the watches, and the caches of connections and of Secret versions |

pub mod client;
pub mod deadlines;
pub mod failure;
pub mod leader_election;
pub mod response_filter;
pub mod watch;
