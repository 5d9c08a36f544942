//! What /proc says of a process. Nothing is kept: a process that has ended reads as `None`.

use hence_ledger::{LeftOver, Text, record::Invocation};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

/// Longest command line that is reported, in bytes.
const COMMAND_BYTES: usize = 256;
/// Most that is read of an environment.
const ENVIRONMENT_BYTES: u64 = 256 * 1024;
/// How long an exec may take until its process counts as one without environment.
const EXEC_PATIENCE: Duration = Duration::from_millis(50);
/// Between two looks at it.
const EXEC_PAUSE: Duration = Duration::from_micros(200);
/// PF_KTHREAD of the flags in /proc/PID/stat.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The fields of /proc/PID/stat that tell who a process is; proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// Whether it has ended and waits to be reaped.
    pub zombie: bool,
    /// Parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

/// Whether there is no such process, not even one that waits to be reaped. Asked of the kernel without a
/// descriptor: that [`stat`] reads nothing may have other reasons.
pub fn is_gone(pid: u32) -> bool {
    crate::sys::signal::send(pid, 0).is_err_and(|e| e.raw_os_error() == Some(libc::ESRCH))
}

/// Reads /proc/PID/stat.
pub fn stat(pid: u32) -> Option<Stat> {
    let path = format!("/proc/{pid}/stat");
    let read = || {
        let mut buffer = [0u8; 1024];
        let length = File::open(&path)?.read(&mut buffer)?;
        Ok((buffer, length))
    };
    let (buffer, length) = crate::reserve::with(read).ok()?;
    parse_stat(pid, &buffer[..length])
}

/// The name between parentheses may hold spaces and parentheses itself, so fields count from the last one.
fn parse_stat(pid: u32, bytes: &[u8]) -> Option<Stat> {
    let end = bytes.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&bytes[end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Stat { pid, zombie: matches!(state, "Z" | "X"), parent, group, session, start_ticks })
}

/// The command line with spaces for its NULs, cut at 256 bytes; `[name]` where there is none.
pub fn command(pid: u32) -> Text {
    let mut buffer = [0u8; COMMAND_BYTES];
    let read = File::open(format!("/proc/{pid}/cmdline")).and_then(|mut f| f.read(&mut buffer));
    let bytes = &buffer[..read.unwrap_or(0)];
    let bytes = &bytes[..bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1)];
    if bytes.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return format!("[{}]", name.trim_end()).into();
    }
    let spaced: Vec<u8> = bytes.iter().map(|&b| if b == 0 { b' ' } else { b }).collect();
    let text = String::from_utf8_lossy(&spaced);
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    clean.into()
}

/// Memory that is its own: private and swapped, in bytes; resident less shared where the kernel doesn't
/// say more. `None` where it may not be read.
pub fn own_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    if let Some(kib) = private_kib(&rollup) {
        return Some(kib * 1024);
    }
    resident_bytes(pid)
}

/// Memory that it has in the machine's and that is of no file and of no other process, in bytes, nearly.
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split(' ').skip(1).map(|f| f.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

fn private_kib(rollup: &str) -> Option<u64> {
    let mut sum = None;
    for line in rollup.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if matches!(name, "Private_Clean" | "Private_Dirty" | "Private_Hugetlb" | "Swap") {
            let kib: u64 = value.trim().trim_end_matches(" kB").parse().ok()?;
            sum = Some(sum.unwrap_or(0) + kib);
        }
    }
    sum
}

/// What a process's environment says of its invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvocationMark {
    /// It names this one.
    Of(Invocation),
    /// It names none, or may not be read.
    None,
    /// It can't be read yet: the process is on its way from one program into the next.
    InExec,
}

/// The invocation id in a process's environment, as it was when its program was executed. One that is just
/// executing a program is waited for, 50 ms at most: until its new memory is set up the environment reads as
/// empty or cut, and a process must not be missed for that.
pub fn invocation_mark(pid: u32) -> InvocationMark {
    let begun = Instant::now();
    loop {
        let mut bytes = Vec::new();
        let open = || File::open(format!("/proc/{pid}/environ"));
        let Ok(file) = crate::reserve::with(open) else { return InvocationMark::None };
        if file.take(ENVIRONMENT_BYTES).read_to_end(&mut bytes).is_err() {
            return InvocationMark::None;
        }
        let value = bytes.split(|&b| b == 0).find_map(|v| v.strip_prefix(b"INVOCATION_ID="));
        if let Some(id) = value.and_then(parse_invocation) {
            return InvocationMark::Of(id);
        }
        match fs::read(format!("/proc/{pid}/stat")).ok().and_then(|s| environment_of(&s)) {
            None => return InvocationMark::None,
            Some((start, end))
                if end != 0 && bytes.len() as u64 == end.saturating_sub(start).min(ENVIRONMENT_BYTES) =>
            {
                return InvocationMark::None;
            }
            Some(_) if begun.elapsed() > EXEC_PATIENCE => return InvocationMark::InExec,
            Some(_) => std::thread::sleep(EXEC_PAUSE),
        }
    }
}

/// As [`invocation_mark`], where what can't be read yet counts as none.
pub fn invocation(pid: u32) -> Option<Invocation> {
    match invocation_mark(pid) {
        InvocationMark::Of(id) => Some(id),
        InvocationMark::None | InvocationMark::InExec => None,
    }
}

/// Where in its memory the process of a line of /proc/PID/stat has its environment; both 0 in the middle of
/// an exec. `None`: it has no memory, as a zombie or a thread of the kernel.
fn environment_of(stat: &[u8]) -> Option<(u64, u64)> {
    let end = stat.iter().rposition(|&b| b == b')')?;
    let text = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let alive = !matches!(fields.next()?, "Z" | "X");
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let mut places = fields.skip(40).map(str::parse::<u64>);
    let place = (places.next()?.ok()?, places.next()?.ok()?);
    (alive && flags & KERNEL_THREAD == 0).then_some(place)
}

/// 32 hexadecimal digits.
pub fn parse_invocation(text: &[u8]) -> Option<Invocation> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut id = [0u8; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Invocation(id))
}

/// What the ledger says of a process; `None` where it has ended.
pub fn describe(pid: u32) -> Option<LeftOver> {
    let stat = stat(pid).filter(|s| !s.zombie)?;
    Some(LeftOver { pid, start_ticks: stat.start_ticks, command: command(pid), bytes: own_bytes(pid) })
}

/// The same of a process that was looked up among many: to sum up the pages of each costs the kernel more
/// than all else. `None`: it has ended.
pub fn glance(stat: &Stat) -> Option<LeftOver> {
    let &Stat { pid, start_ticks, zombie, .. } = stat;
    (!zombie).then(|| LeftOver { pid, start_ticks, command: command(pid), bytes: resident_bytes(pid) })
}

/// Every process id below /proc, at most `limit`.
pub fn all(limit: usize) -> Vec<u32> {
    try_all(limit).unwrap_or_default()
}

/// The same.
///
/// # Errors
/// Where /proc can't be read.
pub fn try_all(limit: usize) -> io::Result<Vec<u32>> {
    crate::reserve::with(|| {
        let entries = fs::read_dir("/proc")?;
        Ok(entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).take(limit).collect())
    })
}

/// Every process id of this pid namespace.
pub fn processes() -> Vec<u32> {
    all(usize::MAX)
}

/// Whether this very process still runs.
pub fn is_alive(pid: u32, start_ticks: u64) -> bool {
    stat(pid).is_some_and(|s| s.start_ticks == start_ticks && !s.zombie)
}

/// The unit that a process belongs to by its cgroup, where units live below the cgroup folder `root`.
pub fn unit_in(root: &Path, pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::"))?;
    // The folder's own path in the hierarchy is what remains of it below its mount point.
    let below = root.ancestors().find_map(|at| {
        let rest = root.strip_prefix(at).ok()?;
        let wanted = format!("/{}", rest.display());
        (!rest.as_os_str().is_empty() && path.starts_with(&format!("{wanted}/"))).then_some(wanted)
    });
    let rest = path.strip_prefix(&below?)?;
    let unit = rest.split('/').find(|part| !part.is_empty() && !part.ends_with(".slice"))?;
    Some(unit.to_owned())
}

/// Our own resource limits by Linux' number: soft, hard; `u64::MAX` is infinity.
pub fn own_limits() -> [[u64; 2]; 16] {
    use rustix::process::{Resource, getrlimit};
    [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ]
    .map(getrlimit)
    .map(|limit| [limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces() {
        let line = b"42 (a) S (b) R 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 12345 6 7 8\n";
        let stat = parse_stat(42, line).unwrap();
        let expected = Stat { pid: 42, zombie: false, parent: 7, group: 8, session: 9, start_ticks: 12345 };
        assert_eq!(stat, expected);
        assert_eq!(parse_stat(1, b"1 (x"), None);
        assert_eq!(parse_stat(1, b""), None);
    }

    #[test]
    fn we_describe_ourselves() {
        let me = describe(std::process::id()).unwrap();
        assert!(me.bytes.unwrap() > 100_000 && me.start_ticks > 0 && !me.command.is_empty());
        assert!(me.command.len() <= COMMAND_BYTES * 3);
        assert_eq!(stat(std::process::id()).unwrap().start_ticks, me.start_ticks);
    }

    #[test]
    fn private_memory_is_summed() {
        let rollup = "Rss: 100 kB\nPrivate_Clean:  3 kB\nPrivate_Dirty: 4 kB\nSwap: 5 kB\n";
        assert_eq!(private_kib(rollup), Some(12));
        assert_eq!(private_kib("Rss: 1 kB"), None);
    }

    #[test]
    fn where_an_environment_is() {
        let line = |state: &str, flags: u64| {
            let between = "1 ".repeat(40);
            format!("42 (a) S (b) {state} 7 8 9 0 -1 {flags} {between}140 150 0\n")
        };
        assert_eq!(environment_of(line("R", 4_194_560).as_bytes()), Some((140, 150)));
        assert_eq!(environment_of(line("Z", 4_194_560).as_bytes()), None);
        assert_eq!(environment_of(line("S", 2_129_984).as_bytes()), None);
        assert_eq!(environment_of(b""), None);
        assert_eq!(environment_of(b"1 (x) S 1"), None);
        let own = fs::read("/proc/self/stat").unwrap();
        assert!(environment_of(&own).is_some_and(|(start, end)| start != 0 && start < end));
    }

    #[test]
    fn a_cleared_environment_is_not_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("10").env_clear().spawn().unwrap();
        // Its exec may still go on.
        while invocation_mark(child.id()) == InvocationMark::InExec {}
        let begun = Instant::now();
        let mark = invocation_mark(child.id());
        let took = begun.elapsed();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((mark, took < EXEC_PATIENCE), (InvocationMark::None, true));
    }

    /// A process that does nothing but execute its program again and again is known at any moment, but for
    /// those at which it is said to be in an exec: on a busy machine one takes longer than anyone waits.
    #[test]
    fn a_process_in_the_middle_of_an_exec_keeps_its_invocation() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("hence-exec-{}", std::process::id()));
        fs::write(&path, "#!/bin/sh\nexec \"$0\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(&path);
        let id = "000102030405060708090a0b0c0d0e0f";
        let mut child = command.env_clear().env("INVOCATION_ID", id).spawn().unwrap();
        let missed = (0..3000).filter(|_| invocation_mark(child.id()) == InvocationMark::None).count();
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(missed, 0);
    }

    #[test]
    fn invocation_ids() {
        assert_eq!(parse_invocation(b"000102030405060708090a0b0c0d0e0f").unwrap().0[15], 15);
        assert_eq!(parse_invocation(b"00"), None);
        assert_eq!(parse_invocation(&[b'g'; 32]), None);
    }
}
