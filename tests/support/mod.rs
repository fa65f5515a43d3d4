//! Support for tests against a real control plane.
//!
//! One control plane serves a whole test binary. Each test has its own [`World`](world::World): a namespace, a simulator, and an
//! operator that watches only that namespace, under a ServiceAccount with only the rights it needs.

pub mod control_plane;
pub mod fast_clock;
pub mod odd;
pub mod operator;
pub mod simulator;
pub mod wire;
pub mod witness;
pub mod world;

pub use world::World;
