//! clone3(2) onto a stack of its own, and raw system calls for code that runs between clone and exec.
//!
//! libc's wrappers may take locks, allocate or write errno of the thread whose memory the child shares;
//! these only enter the kernel. x86-64 and aarch64.

use core::arch::asm;

/// clone3's CLONE_INTO_CGROUP. `libc::CLONE_INTO_CGROUP` is 0 on linux-gnu, which would leave the child
/// in its parent's group without an error.
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// clone3's CLONE_CLEAR_SIGHAND.
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// clone3's argument, version 2 (with `cgroup`).
#[repr(C)]
#[derive(Default)]
pub struct CloneArgs {
    /// CLONE_... bits.
    pub flags: u64,
    /// Where a pidfd is stored.
    pub pidfd: u64,
    /// Where the thread id is stored or cleared in the child.
    pub child_tid: u64,
    /// Where the thread id is stored in the parent.
    pub parent_tid: u64,
    /// Signal at the child's end.
    pub exit_signal: u64,
    /// Lowest byte of the stack.
    pub stack: u64,
    /// Bytes of the stack.
    pub stack_size: u64,
    /// Thread-local storage.
    pub tls: u64,
    /// Array of pids to take.
    pub set_tid: u64,
    /// Its length.
    pub set_tid_size: u64,
    /// File descriptor of the control group.
    pub cgroup: u64,
}

/// Calls `entry(argument)` in a new process on the stack that `args` names. Returns the pid or -errno.
///
/// # Safety
/// The stack must be writable, aligned to 16 bytes at its end and large enough for `entry`, and stay
/// untouched until the child has executed a program or ended. With CLONE_VM everything that `entry` reads
/// must stay unchanged as long. `entry` must not return, allocate, unwind or use thread-local storage.
pub unsafe fn clone3<T>(args: &CloneArgs, entry: unsafe extern "C" fn(*mut T) -> !, argument: *mut T) -> i64 {
    let result: i64;
    // SAFETY: the kernel reads `args` only; the parent's path clobbers what is declared, the child's path
    // never comes back. The caller vouches for stack and entry.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args as *const CloneArgs,
            in("rsi") size_of::<CloneArgs>(),
            in("r8") argument,
            in("r9") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x9",
            "blr x10",
            "brk 1",
            "2:",
            inlateout("x0") args as *const CloneArgs => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x9") argument,
            in("x10") entry,
        );
    }
    result
}

/// As [`clone3`] by the older clone(2), for kernels and sandboxes that refuse clone3: the group and the reset
/// of handlers aren't asked for, the rest of `args` is.
///
/// # Safety
/// As [`clone3`].
pub unsafe fn clone<T>(args: &CloneArgs, entry: unsafe extern "C" fn(*mut T) -> !, argument: *mut T) -> i64 {
    let flags = (args.flags & 0xffff_ffff) | args.exit_signal;
    let result: i64;
    // SAFETY: as in `clone3`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone => result,
            in("rdi") flags,
            in("rsi") args.stack + args.stack_size,
            in("rdx") 0usize,
            in("r10") args.child_tid,
            in("r8") 0usize,
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as in `clone3`.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x9",
            "blr x10",
            "brk 1",
            "2:",
            inlateout("x0") flags => result,
            in("x1") args.stack + args.stack_size,
            in("x2") 0usize,
            in("x3") 0usize,
            in("x4") args.child_tid,
            in("x8") libc::SYS_clone,
            in("x9") argument,
            in("x10") entry,
        );
    }
    result
}

/// A system call with up to five arguments; returns its result or -errno.
///
/// # Safety
/// As the call itself demands of its arguments.
#[inline(always)]
pub unsafe fn raw(number: i64, a: usize, b: usize, c: usize, d: usize, e: usize) -> i64 {
    let result: i64;
    // SAFETY: the caller vouches for the call; registers are declared as the kernel's convention has them.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x8") number,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("hence-host starts processes by raw system calls; only x86-64 and aarch64 are written yet");
