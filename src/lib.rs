//! ukgpro-operator

pub mod ukg;
