//! Starting processes: a pool of slots from which children become their programs while the parent goes on.
//!
//! A child shares our memory until it executes its program (CLONE_VM), so nothing is copied and nothing
//! may be allocated in it. Each slot holds a stack and everything that the child reads; the kernel clears
//! its `busy` word when the child lets go of our memory (CLONE_CHILD_CLEARTID), so reuse needs no system
//! call. A confirmed start (CLONE_VFORK) waits for the exec and knows its error.
//!
//! No handler of ours can run in a child: CLONE_CLEAR_SIGHAND resets them all. Pidfds are not asked for:
//! a child's pid isn't used again before we reap it.

use super::clone::{CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CloneArgs, clone, clone3, raw};
use hence_ledger::SpawnStep;
use std::{
    cell::UnsafeCell,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Children that may be on their way to their program at the same time.
const PARALLEL: usize = 8;
const STACK_BYTES: usize = 16 * 1024;
/// Buffers above this are given back after use.
const KEEP_BYTES: usize = 64 * 1024;
/// Failed starts whose end hasn't been reaped yet, at most.
const REMEMBERED: usize = 4096;
const FAILED: u64 = 1 << 63;

/// Exit statuses of a child that never became its program; systemd.exec(5), "Process Exit Codes".
pub mod status {
    #![allow(missing_docs, reason = "the names are systemd's")]
    pub const CHDIR: i32 = 200;
    pub const NICE: i32 = 201;
    pub const FDS: i32 = 202;
    pub const EXEC: i32 = 203;
    pub const LIMITS: i32 = 205;
    pub const OOM_ADJUST: i32 = 206;
    pub const SIGNAL_MASK: i32 = 207;
    pub const STDIN: i32 = 208;
    pub const STDOUT: i32 = 209;
    pub const CHROOT: i32 = 210;
    pub const IOPRIO: i32 = 211;
    pub const TIMER_SLACK: i32 = 212;
    pub const SECURE_BITS: i32 = 213;
    pub const SETSCHEDULER: i32 = 214;
    pub const CPU_AFFINITY: i32 = 215;
    pub const GROUP: i32 = 216;
    pub const USER: i32 = 217;
    pub const CAPABILITIES: i32 = 218;
    pub const CGROUP: i32 = 219;
    pub const SETSID: i32 = 220;
    pub const STDERR: i32 = 222;
    pub const PAM: i32 = 224;
    pub const NAMESPACE: i32 = 226;
    pub const NO_NEW_PRIVILEGES: i32 = 227;
    pub const SECCOMP: i32 = 228;
    pub const PERSONALITY: i32 = 230;
    pub const ADDRESS_FAMILIES: i32 = 232;
    pub const RUNTIME_DIRECTORY: i32 = 233;
    pub const KEYRING: i32 = 237;
    pub const STATE_DIRECTORY: i32 = 238;
    pub const CACHE_DIRECTORY: i32 = 239;
    pub const LOGS_DIRECTORY: i32 = 240;
    pub const NETWORK: i32 = 225;
    pub const CONFIGURATION_DIRECTORY: i32 = 241;
    pub const NUMA_POLICY: i32 = 242;
    pub const CREDENTIALS: i32 = 243;
}

/// A place in an [`Image`]'s bytes where a string ends in a NUL.
pub type At = u32;

/// What a child does before its program runs, and the program.
#[derive(Default)]
pub struct Image {
    bytes: Vec<u8>,
    strings: Vec<At>,
    argv: usize,
    path: At,
    pids: Vec<At>,
    chdir: Option<At>,
    oom_score: Option<At>,
    limits: Vec<(u8, [u64; 2])>,
    /// File descriptors by their number in the child: the first three are the standard streams.
    pub fds: Vec<i32>,
    /// Open `cgroup.procs` files of v1 hierarchies that the child writes itself into.
    pub join: Vec<i32>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Nice level.
    pub nice: Option<i8>,
    /// Scheduling policy and priority.
    pub scheduling: Option<(u32, u8)>,
    /// ioprio value.
    pub io_priority: Option<u16>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// SIGPIPE is reset to its default; otherwise it stays ignored.
    pub default_sigpipe: bool,
    /// Standard input is a terminal, and becomes the one of the child's session.
    pub controlling_terminal: bool,
    /// A missing working directory is no failure.
    pub chdir_optional: bool,
    /// It stays in our process group and session.
    pub same_group: bool,
}

impl Image {
    fn clear(&mut self) {
        let (mut bytes, mut strings) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.strings));
        let (mut fds, mut join) = (std::mem::take(&mut self.fds), std::mem::take(&mut self.join));
        bytes.clear();
        bytes.shrink_to(KEEP_BYTES);
        strings.clear();
        strings.shrink_to(KEEP_BYTES / 16);
        fds.clear();
        join.clear();
        *self = Image { bytes, strings, fds, join, ..Image::default() };
    }

    /// Stores a string; what follows a NUL in it is lost, as execve(2) would.
    fn store(&mut self, text: &[u8]) -> At {
        let at = self.bytes.len() as At;
        self.bytes.extend(text.iter().copied().take_while(|&b| b != 0));
        self.bytes.push(0);
        at
    }

    /// The file to be executed.
    pub fn path(&mut self, path: &str) {
        self.path = self.store(path.as_bytes());
    }

    /// The next argument; all of them before the first [`Image::environment`].
    pub fn argument(&mut self, text: &str) {
        let at = self.store(text.as_bytes());
        self.strings.push(at);
        self.argv = self.strings.len();
    }

    /// The next variable, as NAME=VALUE.
    pub fn environment(&mut self, text: &str) {
        let at = self.store(text.as_bytes());
        self.strings.push(at);
    }

    /// A variable whose value is the process's own pid, which only the child knows.
    pub fn pid_variable(&mut self, name: &str) {
        let at = self.store(format!("{name}=0000000000").as_bytes());
        self.strings.push(at);
        self.pids.push(at + name.len() as At + 1);
    }

    /// Working directory.
    pub fn chdir(&mut self, path: &str) {
        self.chdir = Some(self.store(path.as_bytes()));
    }

    /// OOM score adjustment.
    pub fn oom_score(&mut self, value: i16) {
        self.oom_score = Some(self.store(value.to_string().as_bytes()));
    }

    /// A resource limit: Linux' number, soft, hard.
    pub fn limit(&mut self, resource: u8, soft: u64, hard: u64) {
        self.limits.push((resource, [soft, hard]));
    }

    /// Bytes of all strings, as execve(2) counts them roughly.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

struct Slot {
    busy: AtomicU32,
    error: AtomicU64,
    pid: u32,
    image: Image,
    /// argv, NULL, envp, NULL.
    pointers: Vec<*const u8>,
    stack: Vec<u128>,
}

/// Starts processes. One per hence.
pub struct Launcher {
    /// Never grows: children hold pointers into it.
    slots: Vec<UnsafeCell<Slot>>,
    next: usize,
    failed: Vec<(u32, SpawnStep, i32)>,
    /// clone3 is refused here (a sandbox, a kernel before 5.7): children join their group by themselves.
    old: bool,
    /// Confirmed starts are waited for only so long. To be set where a program may lie behind an automount
    /// point of ours: who looks there is held until we have mounted it, which we can't while we wait.
    pub bounded: bool,
}

/// A slot that was claimed for one start.
#[derive(Clone, Copy)]
pub struct Claim {
    slot: usize,
    confirm: bool,
}

impl Default for Launcher {
    fn default() -> Self {
        Launcher::new()
    }
}

impl Launcher {
    /// With all slots free. Stacks are touched when they are first used.
    pub fn new() -> Launcher {
        let slot = || {
            UnsafeCell::new(Slot {
                busy: AtomicU32::new(0),
                error: AtomicU64::new(0),
                pid: 0,
                image: Image::default(),
                pointers: Vec::new(),
                stack: Vec::new(),
            })
        };
        // Slot 0 serves the starts that wait.
        Launcher {
            slots: (0..=PARALLEL).map(|_| slot()).collect(),
            next: 0,
            failed: Vec::new(),
            old: false,
            bounded: false,
        }
    }

    /// Uses clone(2) only, as where clone3 is refused.
    pub fn without_clone3(&mut self) {
        self.old = true;
    }

    /// Gives back the memory of the slots that no child uses.
    pub fn shrink(&mut self) {
        for slot in &mut self.slots {
            let slot = slot.get_mut();
            if slot.busy.load(Ordering::Acquire) == 0 {
                (slot.image, slot.pointers, slot.stack) = (Image::default(), Vec::new(), Vec::new());
            }
        }
    }

    /// Takes a free slot with an empty image. With `confirm`, or where none is free, the start will wait
    /// for the exec.
    pub fn claim(&mut self, confirm: bool) -> Claim {
        let mut chosen = 0;
        if !confirm || self.bounded {
            for step in 0..PARALLEL {
                let index = 1 + (self.next + step) % PARALLEL;
                // SAFETY: only the atomic is looked at; a child may still own the rest.
                let busy = unsafe { (*self.slots[index].get()).busy.load(Ordering::Acquire) };
                if busy == 0 {
                    chosen = index;
                    self.next = index % PARALLEL;
                    break;
                }
            }
        }
        self.collect(chosen);
        let slot = self.slots[chosen].get_mut();
        slot.image.clear();
        Claim { slot: chosen, confirm }
    }

    /// What the child of this claim will do; to be filled in.
    pub fn image(&mut self, claim: Claim) -> &mut Image {
        &mut self.slots[claim.slot].get_mut().image
    }

    /// Moves the error of a slot's last child to the table of failed starts, so that the slot can be used.
    fn collect(&mut self, index: usize) {
        let slot = self.slots[index].get_mut();
        let error = slot.error.swap(0, Ordering::Acquire);
        if error & FAILED != 0 {
            let (step, errno) = unpack(error);
            if self.failed.len() >= REMEMBERED {
                self.failed.remove(0);
            }
            self.failed.push((slot.pid, step, errno));
        }
    }

    /// Whether a start need not wait for others to be on their way.
    pub fn has_room(&self) -> bool {
        // SAFETY: only the atomic is looked at; a child may still own the rest.
        self.slots[1..].iter().any(|slot| unsafe { (*slot.get()).busy.load(Ordering::Acquire) } == 0)
    }

    /// Whether a child is still on its way into its program.
    pub fn is_at_work(&self) -> bool {
        // SAFETY: only the atomic is looked at; a child may still own the rest.
        self.slots.iter().any(|slot| unsafe { (*slot.get()).busy.load(Ordering::Acquire) } != 0)
    }

    /// All that kept children from becoming their programs and nobody has asked for yet.
    pub fn failures(&self) -> Vec<(u32, SpawnStep, i32)> {
        let mut all = self.failed.clone();
        for slot in &self.slots[1..] {
            // SAFETY: `pid` is written by this thread only, `error` is atomic.
            let (pid, error) = unsafe { ((*slot.get()).pid, (*slot.get()).error.load(Ordering::Acquire)) };
            if error & FAILED != 0 {
                let (step, errno) = unpack(error);
                all.push((pid, step, errno));
            }
        }
        all
    }

    /// What kept this child from becoming its program, if anything did; known once the child has ended.
    pub fn failure(&mut self, pid: u32) -> Option<(SpawnStep, i32)> {
        for index in 1..self.slots.len() {
            // SAFETY: `pid` is written by this thread only, `error` is atomic.
            let mine = unsafe { (*self.slots[index].get()).pid == pid };
            if mine {
                // SAFETY: as above.
                let error = unsafe { (*self.slots[index].get()).error.swap(0, Ordering::Acquire) };
                if error & FAILED != 0 {
                    return Some(unpack(error));
                }
            }
        }
        let at = self.failed.iter().position(|&(p, ..)| p == pid)?;
        let (_, step, errno) = self.failed.swap_remove(at);
        Some((step, errno))
    }

    /// Starts the child. The file descriptors of the image may be closed as soon as this returns.
    ///
    /// # Errors
    /// The step and errno. A start that wasn't confirmed fails here only where the kernel refused a
    /// process; later errors show by [`Launcher::failure`] and the exit status.
    pub fn launch(&mut self, claim: Claim, cgroup: Option<BorrowedFd<'_>>) -> Result<u32, (SpawnStep, i32)> {
        let wait = claim.slot == 0;
        let slot = self.slots[claim.slot].get_mut();
        let Image { bytes, strings, argv, .. } = &slot.image;
        slot.pointers.clear();
        slot.pointers.reserve(strings.len() + 2);
        // SAFETY: every offset lies inside `bytes`.
        let at = |offset: &At| unsafe { bytes.as_ptr().add(*offset as usize) };
        slot.pointers.extend(strings[..*argv].iter().map(at));
        slot.pointers.push(ptr::null());
        slot.pointers.extend(strings[*argv..].iter().map(at));
        slot.pointers.push(ptr::null());
        if slot.stack.is_empty() {
            slot.stack = vec![0u128; STACK_BYTES / size_of::<u128>()];
        }
        slot.error.store(0, Ordering::Relaxed);
        slot.busy.store(1, Ordering::Release);
        let mut flags = libc::CLONE_VM as u64 | libc::CLONE_CHILD_CLEARTID as u64 | CLONE_CLEAR_SIGHAND;
        if wait {
            flags |= libc::CLONE_VFORK as u64;
        }
        if cgroup.is_some() {
            flags |= CLONE_INTO_CGROUP;
        }
        let args = CloneArgs {
            flags,
            child_tid: slot.busy.as_ptr() as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: slot.stack.as_mut_ptr() as u64,
            stack_size: STACK_BYTES as u64,
            cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
            ..CloneArgs::default()
        };
        let shared = self.slots[claim.slot].get();
        let mut result = -i64::from(libc::ENOSYS);
        if !self.old {
            // SAFETY: the slot and its stack stay untouched while `busy` is set; `child` only makes system
            // calls.
            result = unsafe { clone3(&args, child, shared) };
        }
        const REFUSED: [i64; 3] = [-(libc::ENOSYS as i64), -(libc::EPERM as i64), -(libc::E2BIG as i64)];
        if REFUSED.contains(&result) {
            self.old = true;
            let joined = cgroup.map(open_members).transpose();
            // SAFETY: no child runs in this slot yet; then as above.
            unsafe {
                result = match &joined {
                    Ok(members) => {
                        (*shared).image.join.extend(members.as_ref().map(AsRawFd::as_raw_fd));
                        clone(&args, child, shared)
                    }
                    Err(e) => {
                        (*shared).busy.store(0, Ordering::Relaxed);
                        return Err((SpawnStep::Cgroup, e.raw_os_error()));
                    }
                };
            }
        }
        // SAFETY: `busy` and `error` are atomics, `pid` and `pointers` aren't used by the child in a way
        // that this conflicts with: it never reads `pid`.
        unsafe {
            if result < 0 {
                (*shared).busy.store(0, Ordering::Relaxed);
                return Err((refusal_step(-result as i32), -result as i32));
            }
            (*shared).pid = result as u32;
            if wait || claim.confirm && let_go(&(*shared).busy) {
                let error = (*shared).error.swap(0, Ordering::Acquire);
                if error & FAILED != 0 {
                    // It is past its last instruction, so this doesn't wait for anything but its end.
                    libc::waitpid(result as i32, ptr::null_mut(), libc::__WALL);
                    return Err(unpack(error));
                }
            }
        }
        Ok(result as u32)
    }
}

/// Waits until a child has let go of our memory, for a tenth of a second at most.
fn let_go(busy: &AtomicU32) -> bool {
    let begun = std::time::Instant::now();
    const MOST: std::time::Duration = std::time::Duration::from_millis(100);
    while busy.load(Ordering::Acquire) != 0 {
        let Some(left) = MOST.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            return false;
        };
        let left = libc::timespec { tv_sec: 0, tv_nsec: left.subsec_nanos() as _ };
        // SAFETY: the word and the time live through the call. The kernel wakes who waits for the word as it
        // clears it for the child; not "private", for that is how it wakes.
        unsafe { libc::syscall(libc::SYS_futex, busy.as_ptr(), libc::FUTEX_WAIT, 1, &raw const left, 0, 0) };
    }
    true
}

/// The file by which a process joins a group.
fn open_members(group: BorrowedFd<'_>) -> Result<OwnedFd, rustix::io::Errno> {
    use rustix::fs::{Mode, OFlags, openat};
    openat(group, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether clone3 refused a process or the group that it was to be born in.
fn refusal_step(errno: i32) -> SpawnStep {
    match errno {
        libc::EACCES | libc::EBUSY | libc::EOPNOTSUPP | libc::ENODEV | libc::EBADF => SpawnStep::Cgroup,
        _ => SpawnStep::Fork,
    }
}

fn unpack(error: u64) -> (SpawnStep, i32) {
    let step = SpawnStep::from_tag((error >> 32) as u8).unwrap_or(SpawnStep::Exec);
    (step, (error & 0xffff_ffff) as i32)
}

/// Ends the child with systemd's exit status, leaving what failed in its slot.
///
/// # Safety
/// Runs in a child only.
unsafe fn fail(slot: *mut Slot, step: SpawnStep, result: i64, status: i32) -> ! {
    let error = FAILED | (step as u64) << 32 | result.wrapping_neg() as u64 & 0xffff_ffff;
    // SAFETY: the slot outlives the child; exit_group doesn't return.
    unsafe {
        (*slot).error.store(error, Ordering::Release);
        loop {
            raw(libc::SYS_exit_group, status as usize, 0, 0, 0, 0);
        }
    }
}

/// The child's life until its program runs. No allocation, no panic, no thread-local storage.
///
/// # Safety
/// Runs in a child of [`Launcher::launch`], which keeps the slot as it is until the memory is released.
unsafe extern "C" fn child(slot: *mut Slot) -> ! {
    // SAFETY: the slot belongs to this child; the system calls get pointers into it or to locals.
    unsafe {
        let image = &raw mut (*slot).image;
        let bytes = (*image).bytes.as_ptr();
        for i in 0..(*image).join.len() {
            let fd = *(*image).join.as_ptr().wrapping_add(i);
            let r = raw(libc::SYS_write, fd as usize, c"0".as_ptr() as usize, 1, 0, 0);
            if r < 0 {
                fail(slot, SpawnStep::Cgroup, r, status::CGROUP);
            }
        }
        if !(*image).same_group {
            raw(libc::SYS_setsid, 0, 0, 0, 0, 0);
        }
        if (*image).default_sigpipe {
            let default = [0usize; 4];
            raw(libc::SYS_rt_sigaction, libc::SIGPIPE as usize, default.as_ptr() as usize, 0, 8, 0);
        }
        if let Some(at) = (*image).oom_score {
            oom_score(slot, bytes.wrapping_add(at as usize));
        }
        attributes(slot, image);
        descriptors(slot, &raw mut (*image).fds);
        if (*image).controlling_terminal {
            // Taken from whoever has it. Refused where it is no terminal: the program will see that.
            raw(libc::SYS_ioctl, 0, libc::TIOCSCTTY as usize, 1, 0, 0);
        }
        if let Some(mask) = (*image).umask {
            raw(libc::SYS_umask, mask as usize, 0, 0, 0, 0);
        }
        if let Some(at) = (*image).chdir {
            let r = raw(libc::SYS_chdir, bytes.wrapping_add(at as usize) as usize, 0, 0, 0, 0);
            if r < 0 && !((*image).chdir_optional && r == -(libc::ENOENT as i64)) {
                fail(slot, SpawnStep::Chdir, r, status::CHDIR);
            }
        }
        if (*image).no_new_privileges {
            let r = raw(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0);
            if r < 0 {
                fail(slot, SpawnStep::Exec, r, status::NO_NEW_PRIVILEGES);
            }
        }
        for i in 0..(*image).pids.len() {
            let at = *(*image).pids.as_ptr().wrapping_add(i) as usize;
            write_pid((*image).bytes.as_mut_ptr().wrapping_add(at));
        }
        let none: u64 = 0;
        let mask = &raw const none as usize;
        raw(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, mask, 0, 8, 0);
        let argv = (*slot).pointers.as_ptr();
        let envp = argv.wrapping_add((*image).argv).wrapping_add(1);
        let path = bytes.wrapping_add((*image).path as usize);
        let r = raw(libc::SYS_execve, path as usize, argv as usize, envp as usize, 0, 0);
        fail(slot, SpawnStep::Exec, r, status::EXEC)
    }
}

/// Limits, nice level, scheduling.
///
/// # Safety
/// As [`child`].
unsafe fn attributes(slot: *mut Slot, image: *const Image) {
    // SAFETY: pointers into the image, which stays as it is.
    unsafe {
        for i in 0..(*image).limits.len() {
            let limit = (*image).limits.as_ptr().wrapping_add(i);
            let values = &raw const (*limit).1;
            let mut r = raw(libc::SYS_prlimit64, 0, (*limit).0 as usize, values as usize, 0, 0);
            if r == -(libc::EPERM as i64) {
                r = closest_limit((*limit).0, (*limit).1);
            }
            if r < 0 {
                fail(slot, SpawnStep::Limits, r, status::LIMITS);
            }
        }
        if let Some(nice) = (*image).nice {
            let r = raw(libc::SYS_setpriority, 0, 0, nice as isize as usize, 0, 0);
            if r < 0 && !is_refused(r) {
                fail(slot, SpawnStep::Scheduling, r, status::NICE);
            }
        }
        if let Some((policy, priority)) = (*image).scheduling {
            let parameter = priority as i32;
            let at = &raw const parameter as usize;
            let r = raw(libc::SYS_sched_setscheduler, 0, policy as usize, at, 0, 0);
            if r < 0 {
                fail(slot, SpawnStep::Scheduling, r, status::SETSCHEDULER);
            }
        }
        if let Some(value) = (*image).io_priority {
            let r = raw(libc::SYS_ioprio_set, 1, 0, value as usize, 0, 0);
            if r < 0 {
                fail(slot, SpawnStep::Scheduling, r, status::IOPRIO);
            }
        }
    }
}

/// Sets a limit as near to what is asked for as our own hard limit lets us, as systemd does where it may
/// not raise that.
///
/// # Safety
/// As [`child`].
unsafe fn closest_limit(resource: u8, wanted: [u64; 2]) -> i64 {
    let mut own = [0u64; 2];
    // SAFETY: pointers to locals.
    unsafe {
        let r = raw(libc::SYS_prlimit64, 0, resource as usize, 0, &raw mut own as usize, 0);
        if r < 0 {
            return r;
        }
        if own[1] == u64::MAX {
            return -(libc::EPERM as i64);
        }
        let least = |a: u64, b: u64| if a < b { a } else { b };
        let near = [least(wanted[0], own[1]), least(wanted[1], own[1])];
        raw(libc::SYS_prlimit64, 0, resource as usize, &raw const near as usize, 0, 0)
    }
}

/// Whether the kernel says that we lack the right, as containers often do. Where the service is the same but
/// for its share of the machine, it starts all the same, as under systemd.
fn is_refused(result: i64) -> bool {
    result == -(libc::EPERM as i64) || result == -(libc::EACCES as i64)
}

/// Writes the adjustment to /proc; where the kernel refuses that, the service starts without.
///
/// # Safety
/// As [`child`].
unsafe fn oom_score(slot: *mut Slot, text: *const u8) {
    // SAFETY: `text` ends in a NUL inside the image.
    unsafe {
        let path = c"/proc/self/oom_score_adj".as_ptr() as usize;
        let flags = (libc::O_WRONLY | libc::O_CLOEXEC) as usize;
        let fd = raw(libc::SYS_openat, libc::AT_FDCWD as isize as usize, path, flags, 0, 0);
        let mut length = 0usize;
        while *text.wrapping_add(length) != 0 {
            length = length.wrapping_add(1);
        }
        let r = if fd < 0 { fd } else { raw(libc::SYS_write, fd as usize, text as usize, length, 0, 0) };
        if r < 0 && !is_refused(r) {
            fail(slot, SpawnStep::Scheduling, r, status::OOM_ADJUST);
        }
        raw(libc::SYS_close, fd as usize, 0, 0, 0, 0);
    }
}

/// Puts each file descriptor at its number. All others are closed by the exec.
///
/// # Safety
/// As [`child`].
unsafe fn descriptors(slot: *mut Slot, fds: *mut Vec<i32>) {
    // SAFETY: the vector belongs to the slot; indices stay below its length.
    unsafe {
        let (start, count) = ((*fds).as_mut_ptr(), (*fds).len());
        for i in 0..count {
            let fd = start.wrapping_add(i);
            if (*fd as usize) < count && *fd as usize != i {
                let r = raw(libc::SYS_fcntl, *fd as usize, libc::F_DUPFD_CLOEXEC as usize, count, 0, 0);
                if r < 0 {
                    fail(slot, SpawnStep::Sockets, r, status::FDS);
                }
                *fd = r as i32;
            }
        }
        for i in 0..count {
            let fd = *start.wrapping_add(i) as usize;
            let r = if fd == i {
                raw(libc::SYS_fcntl, fd, libc::F_SETFD as usize, 0, 0, 0)
            } else {
                raw(libc::SYS_dup3, fd, i, 0, 0, 0)
            };
            if r < 0 {
                match i {
                    0 => fail(slot, SpawnStep::Stdio, r, status::STDIN),
                    1 => fail(slot, SpawnStep::Stdio, r, status::STDOUT),
                    2 => fail(slot, SpawnStep::Stdio, r, status::STDERR),
                    _ => fail(slot, SpawnStep::Sockets, r, status::FDS),
                }
            }
        }
    }
}

/// Writes our pid in decimal, NUL at its end.
///
/// # Safety
/// Eleven bytes must be writable at `to`.
unsafe fn write_pid(to: *mut u8) {
    // SAFETY: a pid has at most ten digits.
    unsafe {
        let mut rest = raw(libc::SYS_getpid, 0, 0, 0, 0, 0) as u32;
        let mut digits = 1usize;
        let mut bound = rest;
        while bound >= 10 {
            bound = bound.wrapping_div(10);
            digits = digits.wrapping_add(1);
        }
        *to.wrapping_add(digits) = 0;
        while digits > 0 {
            digits = digits.wrapping_sub(1);
            *to.wrapping_add(digits) = b'0'.wrapping_add((rest % 10) as u8);
            rest = rest.wrapping_div(10);
        }
    }
}
