//! What a unit's limits are as lines of its group's files, cgroups(7); systemd.resource-control(5). It writes
//! nothing: the groups do.

use hence_unit::{
    config::{INFINITY, Limit, ResourceConfig},
    limits::{self, MoreLimits, StartupLimits},
};
use std::{borrow::Cow, fs, os::unix::fs::MetadataExt, path::Path};

/// What memory a unit has by those above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub min: Option<Limit>,
    pub low: Option<Limit>,
    pub startup_low: Option<Limit>,
}

impl Defaults {
    /// Of what lies in a slice with these limits, which has these itself.
    pub fn below(self, resources: &ResourceConfig) -> Defaults {
        let Some(more) = resources.more.as_deref() else { return self };
        Defaults {
            min: more.default_memory_min.or(self.min),
            low: more.default_memory_low.or(self.low),
            startup_low: more.startup.default_memory_low.or(self.startup_low),
        }
    }
}

/// What is known of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes that there may be.
    pub tasks: u64,
    /// It starts or stops, so that Startup...= holds.
    pub starting: bool,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The directive that says so.
    pub directive: &'static str,
    pub file: &'static str,
    /// What is written; nothing: it isn't set.
    pub value: Option<String>,
    /// What a new group has.
    pub reset: Cow<'static, str>,
    /// It is no loss where there is no such file.
    pub optional: bool,
}

/// Collects lines.
struct Lines(Vec<Line>);

impl Lines {
    fn add(
        &mut self,
        directive: &'static str,
        file: &'static str,
        reset: impl Into<Cow<'static, str>>,
        value: Option<String>,
    ) {
        self.0.push(Line { directive, file, value, reset: reset.into(), optional: false });
    }
}

/// All lines of a unit's limits, but for those of devices that aren't there: these are named.
pub(crate) fn lines(
    resources: &ResourceConfig,
    defaults: Defaults,
    machine: Machine,
) -> (Vec<Line>, Vec<&'static str>) {
    let more = resources.more.as_deref();
    let none = StartupLimits::default();
    let startup = more.filter(|_| machine.starting).map_or(&none, |more| &more.startup);
    let mut lines = Lines(Vec::with_capacity(12));
    let tasks = resources.tasks_max.map(|limit| amount(limit, machine.tasks));
    lines.add("TasksMax", "pids.max", "max", tasks);
    memory(&mut lines, resources, defaults, (startup, machine));
    processors(&mut lines, resources, startup);
    let weight = startup.io_weight.or(resources.io_weight);
    lines.add("IOWeight", "io.weight", "default 100", weight.map(|weight| format!("default {weight}")));
    if let Some(weight) = weight {
        lines.add("IOWeight", "io.bfq.weight", "100", Some(bfq(weight).to_string()));
        lines.0.last_mut().expect("one was added").optional = true;
    }
    let missing = more.map_or_else(Vec::new, |more| of_devices(&mut lines, more));
    (lines.0, missing)
}

fn memory(
    lines: &mut Lines,
    resources: &ResourceConfig,
    defaults: Defaults,
    (startup, machine): (&StartupLimits, Machine),
) {
    let bytes = |limit: Option<Limit>| limit.map(|limit| amount(limit, machine.memory));
    let more = resources.more.as_deref();
    let inherited = defaults.startup_low.filter(|_| machine.starting).or(defaults.low);
    let low = startup.memory_low.or(resources.memory_low).or(inherited);
    let zswap = startup.zswap_max.or(more.and_then(|more| more.zswap_max));
    lines.add("MemoryMax", "memory.max", "max", bytes(startup.memory_max.or(resources.memory_max)));
    lines.add("MemoryHigh", "memory.high", "max", bytes(startup.memory_high.or(resources.memory_high)));
    lines.add("MemoryMin", "memory.min", "0", bytes(resources.memory_min.or(defaults.min)));
    lines.add("MemoryLow", "memory.low", "0", bytes(low));
    let swap = startup.swap_max.or(resources.memory_swap_max);
    lines.add("MemorySwapMax", "memory.swap.max", "max", bytes(swap));
    if zswap.is_some() {
        lines.add("MemoryZSwapMax", "memory.zswap.max", "max", bytes(zswap));
    }
    if let Some(write) = more.and_then(|more| more.zswap_writeback) {
        let value = if write { "1" } else { "0" };
        lines.add("MemoryZSwapWriteback", "memory.zswap.writeback", "1", Some(value.into()));
    }
}

fn processors(lines: &mut Lines, resources: &ResourceConfig, startup: &StartupLimits) {
    let more = resources.more.as_deref();
    let weight = startup.cpu_weight.or(resources.cpu_weight);
    let share = weight.filter(|weight| *weight > 0).map(|weight| weight.to_string());
    // A group that is idle has no weight, and one that no longer is has to be told so first.
    if weight == Some(0) {
        lines.add("CPUWeight", "cpu.idle", "0", Some("1".into()));
    } else {
        lines.add("CPUWeight", "cpu.weight", "100", share);
    }
    let quota = resources.cpu_quota.map(|quota| {
        let period = more.and_then(|more| more.cpu_quota_period);
        quota_and_period(u64::from(quota) * 100, period.unwrap_or(PERIOD_US))
    });
    lines.add("CPUQuota", "cpu.max", "max 100000", quota);
    let Some(more) = more else { return };
    let sets = [
        ("AllowedCPUs", "cpuset.cpus", &startup.cpus, &more.cpus),
        ("AllowedMemoryNodes", "cpuset.mems", &startup.nodes, &more.nodes),
    ];
    for (directive, file, starting, normal) in sets {
        let set = if starting.is_empty() { normal } else { starting };
        let value = (!set.is_empty()).then(|| limits::ranges(set));
        if value.is_some() || more.has_startup() {
            lines.add(directive, file, "\n", value);
        }
    }
    if let Some(kind) = &more.cpu_partition {
        lines.add("CPUSetPartition", "cpuset.cpus.partition", "member", Some(kind.to_string()));
    }
}

/// What devices are limited to; the directives that name devices which aren't there.
fn of_devices(lines: &mut Lines, more: &MoreLimits) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut device = |directive: &'static str, path: &str| {
        let found = block_device(path);
        if found.is_none() && !missing.contains(&directive) {
            missing.push(directive);
        }
        found
    };
    for (path, weight) in &more.io_weights {
        if let Some(device) = device("IODeviceWeight", path) {
            let value = Some(format!("{device} {weight}"));
            lines.add("IODeviceWeight", "io.weight", format!("{device} default"), value);
        }
    }
    for (path, us) in &more.io_latency {
        if let Some(device) = device("IODeviceLatencyTargetSec", path) {
            let target = if *us == INFINITY { "max".into() } else { us.to_string() };
            let value = Some(format!("{device} target={target}"));
            lines.add("IODeviceLatencyTargetSec", "io.latency", format!("{device} target=max"), value);
        }
    }
    const KINDS: [(&str, &str); 4] = [
        ("IOReadBandwidthMax", "rbps"),
        ("IOWriteBandwidthMax", "wbps"),
        ("IOReadIOPSMax", "riops"),
        ("IOWriteIOPSMax", "wiops"),
    ];
    // One line for each device has all four, as different paths may mean the same one.
    let mut devices: Vec<(String, &'static str, [u64; 4])> = Vec::new();
    for (kind, (directive, _)) in KINDS.iter().enumerate() {
        for (path, most) in &more.io_max[kind] {
            let Some(name) = device(directive, path) else { continue };
            match devices.iter_mut().find(|(known, ..)| *known == name) {
                Some((.., all)) => all[kind] = *most,
                None => {
                    let mut all = [INFINITY; 4];
                    all[kind] = *most;
                    devices.push((name, directive, all));
                }
            }
        }
    }
    for (name, directive, all) in devices {
        let line = |all: [u64; 4]| {
            let word = |n: u64| if n == INFINITY { "max".to_owned() } else { n.to_string() };
            let parts = KINDS.iter().zip(all).map(|((_, key), n)| format!(" {key}={}", word(n)));
            format!("{name}{}", parts.collect::<String>())
        };
        lines.add(directive, "io.max", line([INFINITY; 4]), Some(line(all)));
    }
    missing
}

/// Default of CPUQuotaPeriodSec=.
const PERIOD_US: u64 = 100_000;

/// Processor time of a period, and the period: the kernel takes neither below a millisecond, and no period
/// above a second. `quota`: microseconds of a second.
fn quota_and_period(quota: u64, period: u64) -> String {
    const LEAST_US: u64 = 1000;
    const MOST_US: u64 = 1_000_000;
    let period = period.max(LEAST_US).max(LEAST_US * 1_000_000 / quota.max(1)).min(MOST_US);
    let share = (u128::from(quota) * u128::from(period) / 1_000_000).min(u128::from(u64::MAX)) as u64;
    format!("{} {period}", share.max(LEAST_US))
}

/// The weight of the scheduler bfq, which goes from 1 to 1000.
fn bfq(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
}

pub(crate) fn amount(limit: Limit, total: u64) -> String {
    match limit {
        Limit::Absolute(INFINITY) => "max".into(),
        Limit::Absolute(n) => n.to_string(),
        Limit::Share(hundredths) => {
            (u128::from(total) * u128::from(hundredths) / 10_000).min(u128::from(u64::MAX)).to_string()
        }
    }
}

/// `MAJOR:MINOR` of the disk that a device node is of, or that a file lies on; systemd.resource-control(5),
/// IODeviceWeight=.
fn block_device(path: &str) -> Option<String> {
    const TYPE: u32 = libc::S_IFMT;
    /// Layers of devices upon devices.
    const LAYERS: usize = 16;
    let metadata = fs::metadata(path).ok()?;
    let number = if metadata.mode() & TYPE == libc::S_IFBLK { metadata.rdev() } else { metadata.dev() };
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    if major == 0 {
        // A file system without one device.
        return None;
    }
    let mut device = format!("{major}:{minor}");
    for _ in 0..LAYERS {
        let folder = Path::new("/sys/dev/block").join(&device);
        let below: Vec<_> = fs::read_dir(folder.join("slaves")).ok()?.flatten().take(2).collect();
        let [one] = &below[..] else { break };
        let number = fs::read_to_string(one.path().join("dev")).ok()?;
        device = number.trim().to_owned();
    }
    let folder = Path::new("/sys/dev/block").join(&device);
    if folder.join("partition").exists() {
        // Of a disk's folder the partition's is one.
        let whole = fs::read_to_string(fs::canonicalize(&folder).ok()?.parent()?.join("dev")).ok()?;
        device = whole.trim().to_owned();
    }
    Some(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::unit_path::UnitPath;
    use hence_unit::unit_path::{Entry, EntryKind, FileError, Files};
    use hence_unit::{Config, Kind, UnitName, config::Environs};

    /// One file.
    struct One(String);

    impl Files for One {
        fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
            let here = folder == "/units";
            let entry = Entry { name: "a.slice".into(), kind: EntryKind::File };
            here.then(|| vec![entry]).ok_or(FileError::NotFound)
        }
        fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
            (path == "/units/a.slice").then(|| self.0.clone().into_bytes()).ok_or(FileError::NotFound)
        }
        fn link(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn loaded(settings: &str) -> Config {
        let files = One(format!("[Slice]\n{settings}\n"));
        let path = UnitPath::scan(&files, &["/units".to_owned()]);
        let name = UnitName::new("a.slice").expect("a name");
        let config = hence_unit::load(&path, &files, &Environs::default(), &name);
        assert_eq!(config.diagnostics, []);
        config
    }

    /// FILE=VALUE of a slice with these settings.
    fn of(settings: &str, starting: bool, defaults: Defaults) -> Vec<String> {
        let config = loaded(settings);
        let machine = Machine { memory: 1000, tasks: 100, starting };
        let (lines, _) = lines(config.resources().expect("a slice"), defaults, machine);
        lines.iter().filter_map(|l| Some(format!("{}={}", l.file, l.value.as_ref()?))).collect()
    }

    fn plain(settings: &str) -> Vec<String> {
        of(settings, false, Defaults::default())
    }

    #[test]
    fn shares_and_quotas() {
        assert_eq!(amount(Limit::Share(1500), 1000), "150");
        assert_eq!(amount(Limit::Absolute(INFINITY), 1), "max");
        assert_eq!(plain("CPUQuota=20%"), ["cpu.max=20000 100000"]);
        assert_eq!(plain("CPUQuota=150%\nCPUQuotaPeriodSec=10ms"), ["cpu.max=15000 10000"]);
        assert_eq!(plain("CPUQuota=0.5%"), ["cpu.max=1000 200000"], "no less than a millisecond");
        assert_eq!(plain("CPUQuota=10%\nCPUQuotaPeriodSec=1h"), ["cpu.max=100000 1000000"]);
        assert_eq!(plain("CPUWeight=idle"), ["cpu.idle=1"]);
        assert_eq!(plain("AllowedCPUs=0-3 7\nAllowedCPUs=5"), ["cpuset.cpus=0-3,5,7"]);
        assert_eq!(plain("AllowedMemoryNodes=1\nAllowedMemoryNodes="), Vec::<String>::new());
        assert_eq!(plain("IOWeight=200"), ["io.weight=default 200", "io.bfq.weight=109"]);
        assert_eq!(
            plain("MemoryZSwapMax=5M\nMemoryZSwapWriteback=no"),
            ["memory.zswap.max=5242880", "memory.zswap.writeback=0"]
        );
    }

    #[test]
    fn what_holds_while_the_machine_starts() {
        let settings = "CPUWeight=50\nStartupCPUWeight=900\nAllowedCPUs=1\nStartupAllowedCPUs=0-3\n\
                        StartupMemoryLow=7\nStartupIOWeight=10";
        let starting =
            ["memory.low=7", "cpu.weight=900", "cpuset.cpus=0-3", "io.weight=default 10", "io.bfq.weight=10"];
        assert_eq!(of(settings, true, Defaults::default()), starting);
        assert_eq!(plain(settings), ["cpu.weight=50", "cpuset.cpus=1"]);
    }

    #[test]
    fn memory_by_those_above() {
        let above = loaded("DefaultMemoryMin=5\nDefaultMemoryLow=6\nDefaultStartupMemoryLow=9");
        let Kind::Slice(resources) = &above.kind else { panic!("a slice") };
        let below = Defaults::default().below(resources);
        assert_eq!(of("", false, below), ["memory.min=5", "memory.low=6"]);
        assert_eq!(of("", true, below), ["memory.min=5", "memory.low=9"]);
        assert_eq!(of("MemoryLow=0", false, below), ["memory.min=5", "memory.low=0"], "its own counts");
    }

    #[test]
    fn devices_are_looked_up() {
        let config = loaded("IOReadBandwidthMax=/dev/nothing-there 5M\nIODeviceWeight=/proc 5");
        let machine = Machine { memory: 1, tasks: 1, starting: false };
        let (found, missing) = lines(config.resources().expect("a slice"), Defaults::default(), machine);
        assert_eq!(missing, ["IODeviceWeight", "IOReadBandwidthMax"]);
        assert!(found.iter().all(|line| line.value.is_none()));
        let disk = fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|entry| {
            let node = format!("/dev/{}", entry.file_name().to_str()?);
            let is_whole = fs::read_dir(entry.path().join("slaves")).ok()?.next().is_none();
            let number = fs::read_to_string(entry.path().join("dev")).ok()?.trim().to_owned();
            (is_whole && Path::new(&node).exists()).then_some((node, number))
        });
        let Some((node, number)) = disk else {
            eprintln!("skipped: limits of devices: there is none");
            return;
        };
        let settings = format!(
            "IOReadBandwidthMax={node} 5M\nIOWriteIOPSMax={node} 100\nIODeviceWeight={node} 300\n\
             IODeviceLatencyTargetSec={node} 25ms"
        );
        let expected = [
            format!("io.weight={number} 300"),
            format!("io.latency={number} target=25000"),
            format!("io.max={number} rbps=5000000 wbps=max riops=max wiops=100"),
        ];
        assert_eq!(plain(&settings), expected);
    }
}
