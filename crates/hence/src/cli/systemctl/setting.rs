//! `set-property`: settings of a unit while it is up, written as on the command line and sent as the bus has
//! them; systemd.resource-control(5).

use super::{Args, Failed, exit_status, full_name};
use crate::control::Control;
use hence_bus::front::setting_value;
use hence_bus::wire::Value;

/// Changes settings of a unit, until the next boot with `--runtime`.
pub fn set_property(control: &mut Control, args: &Args) -> Result<u8, Failed> {
    let [unit, assignments @ ..] = args.units.as_slice() else {
        return Err(Failed(exit_status::FAILURE, "Too few arguments.".into()));
    };
    let unit = full_name(unit)?;
    let mut rows = Vec::new();
    for assignment in assignments {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(Failed(exit_status::FAILURE, format!("Not an assignment: {assignment}")));
        };
        let (name, value) = setting(name, value)?;
        rows.push(Value::Struct(vec![name.into(), Value::variant(value)]));
    }
    if rows.is_empty() {
        return Err(Failed(exit_status::FAILURE, "Too few arguments.".into()));
    }
    let body = vec![unit.clone().into(), Value::Bool(args.runtime), Value::array("(sv)", rows)];
    control.ask("SetUnitProperties", body).map_err(|error| {
        Failed(exit_status::FAILURE, format!("Failed to set unit properties on {unit}: {error}"))
    })?;
    Ok(0)
}

/// A setting as the bus has it.
fn setting(name: &str, value: &str) -> Result<(String, Value), Failed> {
    let bad = || Failed(exit_status::FAILURE, format!("Failed to parse {name}={value}: Invalid argument"));
    let percent = || value.strip_suffix('%').and_then(|number| number.parse::<u64>().ok());
    let scale = |percent: u64| Value::Uint32(u32::try_from((percent << 32) / 100).unwrap_or(u32::MAX));
    match name {
        "Description" => Ok((name.to_owned(), value.to_owned().into())),
        _ if name.ends_with("Accounting") => match value {
            "1" | "yes" | "y" | "true" | "t" | "on" => Ok((name.to_owned(), Value::Bool(true))),
            "0" | "no" | "n" | "false" | "f" | "off" => Ok((name.to_owned(), Value::Bool(false))),
            _ => Err(bad()),
        },
        "CPUWeight" | "StartupCPUWeight" | "IOWeight" | "StartupIOWeight" => {
            let weight = match value {
                "" => u64::MAX,
                "idle" if name.ends_with("CPUWeight") => 0,
                value => value.parse().ok().filter(|weight| (1..=10_000).contains(weight)).ok_or_else(bad)?,
            };
            Ok((name.to_owned(), Value::Uint64(weight)))
        }
        "CPUQuota" => {
            let us =
                if value.is_empty() { u64::MAX } else { percent().ok_or_else(bad)?.saturating_mul(10_000) };
            Ok(("CPUQuotaPerSecUSec".to_owned(), Value::Uint64(us)))
        }
        "DefaultMemoryMin" | "DefaultMemoryLow" | "MemoryMin" | "MemoryLow" | "MemoryHigh" | "MemoryMax"
        | "MemorySwapMax" | "TasksMax" => {
            match percent() {
                Some(percent) if percent <= 100 => return Ok((format!("{name}Scale"), scale(percent))),
                Some(_) => return Err(bad()),
                None => {}
            }
            let amount = match value {
                "" | "infinity" => u64::MAX,
                value => hence_unit::value::size(value).ok_or_else(bad)?,
            };
            Ok((name.to_owned(), Value::Uint64(amount)))
        }
        "Delegate" if hence_unit::value::boolean(value).is_none() => {
            let names = value.split_whitespace().map(str::to_owned);
            Ok(("DelegateControllers".to_owned(), Value::strings(names)))
        }
        "ManagedOOMMemoryPressureLimit" => {
            let percent = percent().filter(|percent| *percent <= 100).ok_or_else(bad)?;
            Ok((name.to_owned(), scale(percent)))
        }
        "ManagedOOMSwap" | "ManagedOOMMemoryPressure" | "ManagedOOMPreference" | "DevicePolicy" => {
            let known: &[&str] = match name {
                "ManagedOOMPreference" => &["none", "avoid", "omit"],
                "DevicePolicy" => &["auto", "closed", "strict"],
                _ => &["auto", "kill"],
            };
            if !known.contains(&value) {
                return Err(bad());
            }
            Ok((name.to_owned(), value.to_owned().into()))
        }
        _ => {
            let property = match name.strip_suffix("Sec") {
                Some(stem) if ["CPUQuotaPeriod", "IODeviceLatencyTarget"].contains(&stem) => {
                    format!("{stem}USec")
                }
                _ => name.to_owned(),
            };
            match setting_value(&property, value) {
                Some(Some(value)) => Ok((property, value)),
                Some(None) => Err(bad()),
                None => Err(Failed(exit_status::FAILURE, format!("Unknown assignment: {name}={value}"))),
            }
        }
    }
}
