//! End-to-end tests: a real kube-apiserver, the real operator under its own ServiceAccount, and the simulator in place of UKG
//! Pro.

#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "some of it is for the bench alone")]
mod support;

mod candidate;
mod examples;
mod facts;
mod guard;
mod hosts;
mod kubectl;
mod leadership;
mod lifecycle;
mod modes;
mod operators;
mod reasons;
mod rules;
mod secrets;
mod states;
mod verdicts;
mod waiting;
