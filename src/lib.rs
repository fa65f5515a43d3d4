//! ukgpro-operator
pub mod api;
pub mod conditions;
pub mod controller;
pub mod ledger;
pub mod ukg;
pub mod watch;
pub mod wording;
