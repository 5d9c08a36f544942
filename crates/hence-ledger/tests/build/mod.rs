//! Records for tests: one of every kind, and sequences as the engine would record them.
#![allow(dead_code)]

pub mod chance;
pub mod every;
pub mod incident;
pub mod scene;
