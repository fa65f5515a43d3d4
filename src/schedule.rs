//! Decides when a connection is checked: the work queue, the rate limits of hosts, and overdue checks.
//!
//! | file | what is in it |
//! |---|---|
//! | [`clock`] | the clock, which tests can make go faster |
//! | [`hosts`] | rate limit, pauses and outages of a host |
//! | [`overdue`] | which connections were not checked in time |
//! | [`wakeups`] | which connections were woken, and by what |
//! | [`work_queue`] | which connection is checked next |

pub mod clock;
pub mod hosts;
pub mod overdue;
pub mod wakeups;
pub mod work_queue;
