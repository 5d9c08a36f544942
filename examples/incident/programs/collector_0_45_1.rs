//! The collector after the upgrade: `service.telemetry.metrics.address` is gone, `readers` took its place.
//! All of it is in `collector/`; this file only says which release it is.

mod collector;

fn main() -> std::process::ExitCode {
    collector::run(&collector::Release { version: "v0.45.1", metrics_keys: &["level", "readers"] })
}
