//! org.freedesktop.systemd1 without I/O: the D-Bus codec, authentication, both ends of a connection, and the
//! front that serves a model of units to stock `systemctl`. Bytes come in and go out; sockets, clocks and the
//! engine are the binary's. No other crate speaks D-Bus.

#![forbid(unsafe_code)]

pub mod auth;
pub mod bus;
pub mod client;
pub mod front;
mod interface;
pub mod observer;
pub mod peer;
mod stream;
pub mod wire;
