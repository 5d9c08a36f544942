//! The heap. It is given back after a burst; nothing else is done with it here.

/// Gives the free pages of the heap back to the kernel. Costs a walk over the heap: for after a burst, not
/// for every event. malloc_trim(3); nothing where the allocator has no such call.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only touches free memory of the allocator, under the allocator's own lock.
    unsafe {
        libc::malloc_trim(0);
    }
}
