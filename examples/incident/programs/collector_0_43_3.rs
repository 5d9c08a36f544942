//! The collector as it was before the upgrade: it knows `service.telemetry.metrics.address`.
//! All of it is in `collector/`; this file only says which release it is.

mod collector;

fn main() -> std::process::ExitCode {
    collector::run(&collector::Release { version: "v0.43.3", metrics_keys: &["address", "level", "readers"] })
}
