//! Where the kernel is called. The only place of unsafe code.
pub mod store;
