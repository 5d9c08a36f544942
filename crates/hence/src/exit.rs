//! x
pub const TROUBLE: u8 = 1;
pub const USAGE: u8 = 2;
pub const NO_UNITS: u8 = 4;
pub const LEDGER: u8 = 5;
pub const HOST: u8 = 6;
