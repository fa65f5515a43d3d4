//! What the tests against a real control plane stand on.
//!
//! One control plane serves a whole test binary. Each test has a [`World`](world::World) of its own: a namespace, a simulator, and
//! an operator that watches that namespace only, under a ServiceAccount with only the rights it needs.

pub mod control_plane;
pub mod in_a_hurry;
pub mod odd;
pub mod operator;
pub mod simulator;
pub mod wire;
pub mod witness;
pub mod world;

pub use world::World;
